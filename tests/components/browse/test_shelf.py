"""The pictures of items, from a folder or a URL, and never from elsewhere."""

import base64
import io
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from builders import encoded, noise, write_files
from PIL import Image

from components.browse.shelf import ItemPictures, data_url, jpeg
from components.images.decode import UnreadableImageError, decode


def pictures(paths: dict[int, str], root: Path | str) -> ItemPictures:
    return ItemPictures(items_of(paths), str(root))


def items_of(paths: dict[int, str], *, content: str = "") -> pa.Table:
    columns = {"image": [*paths], "path": [*paths.values()], "content": [content] * len(paths)}
    return pa.table(columns)


def test_pages_go_by_number() -> None:
    shelf = pictures({7: "g", 2: "b", 5: "e"}, "nowhere")
    assert [shelf.path(number) for number in (2, 5, 7)] == ["b", "e", "g"]
    for number in (0, 3, 8):
        with pytest.raises(UnreadableImageError, match=f"no image {number}"):
            shelf.path(number)


def test_thumbnails_are_the_centre_square(tmp_path: Path) -> None:
    """A wide picture, black in the middle: its thumbnail is black all over."""
    pixels = np.full((40, 120, 3), 255, np.uint8)
    pixels[:, 40:80] = 0
    write_files(tmp_path, {"wide.png": encoded(Image.fromarray(pixels))})
    data = pictures({0: "wide.png"}, tmp_path).thumbnail(0, side_px=20)
    thumbnail = np.asarray(Image.open(io.BytesIO(data)))
    assert thumbnail.shape == (20, 20, 3)
    assert thumbnail[:, 1:-1].max() < 30  # the edges blend


def test_thumbnails_are_what_a_model_with_boxes_sees(tmp_path: Path) -> None:
    """With the box that an item was embedded with; the whole picture where it had none."""
    data = encoded(noise(90, 60))
    write_files(tmp_path, {"a.png": data})
    paths = {0: "a.png"}
    whole = ItemPictures(items_of(paths), str(tmp_path), crop="box").pixels(0, side_px=20)
    assert np.array_equal(whole, decode(data, image_size_px=20, crop="box"))
    items = items_of(paths, content="0123#xywh=10,5,40,30")
    cropped = ItemPictures(items, str(tmp_path), crop="box").pixels(0, side_px=20)
    expected = decode(data, image_size_px=20, crop="box", box=(10, 5, 50, 35))
    assert np.array_equal(cropped, expected)


def test_pictures_at_a_url() -> None:
    system = fsspec.filesystem("memory")
    data = encoded(noise(8, 8))
    system.pipe("/shop/a.png", data)
    system.pipe("/secret.png", data)
    shelf = pictures({0: "a.png", 1: "../secret.png", 2: "memory://secret.png"}, "memory://shop")
    assert shelf.read(0) == data
    for number in (1, 2):
        with pytest.raises(UnreadableImageError, match="outside_root"):
            shelf.read(number)


def test_a_data_url_holds_the_jpeg() -> None:
    pixels = np.asarray(noise(8, 8))
    head, _, data = data_url(pixels).partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(data) == jpeg(pixels)
    with Image.open(io.BytesIO(jpeg(pixels))) as image:
        assert (image.format, image.size) == ("JPEG", (8, 8))
