"""Images with boxes, embedded from files and from a store: what is read, and made again."""

from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from builders import encoded, images_table, noise, write_files

from components import files, tables
from components.embedding.file_source import catalogued_boxes, list_files
from components.embedding.part_files import Recipe
from components.embedding.source import stored_images
from components.errors import HemlineError
from components.images.decode import decode
from components.images.preprocess import preprocess
from components.images.remote_store import StoreLocation

NONE = tables.EMBEDDED_ITEMS.empty_table()
SIZE_PX = 16
BOX, OTHER = (4.0, 2.0, 20.5, 40.0), (0.0, 0.0, 30.0, 9.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = {f"{image}.png": encoded(noise(60, 44, seed=image)) for image in range(3)}
    return write_files(tmp_path / "data", pictures)


def boxes_of(**boxes) -> pa.Table:
    rows = [(int(name[1:]), *box) for name, box in boxes.items()]
    records = [dict(zip(tables.BOXES.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.BOXES)


def write_catalog(folder: Path, boxes: pa.Table) -> Path:
    images = images_table(["00" * 32] * 3)
    files.write_table(images, folder / tables.IMAGES_FILE, schema=tables.IMAGES)
    files.write_table(boxes, folder / tables.BOXES_FILE, schema=tables.BOXES)
    return folder


def read(source, *, crop):
    images = source.items["image"].to_numpy()
    addresses = source.addresses.to_pylist()
    return list(source.reader.read(images, addresses, image_size_px=SIZE_PX, crop=crop))


def test_files_of_a_catalog_are_cropped_to_its_boxes(folder: Path, tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", boxes_of(_1=BOX))
    source = list_files(str(folder), numbered=NONE, boxes=catalogued_boxes(catalog, folder))
    for image, (cropped, centre) in enumerate(
        zip(read(source, crop="box"), read(source, crop="centre"), strict=True)
    ):
        data = (folder / f"{image}.png").read_bytes()
        box = BOX if image == 1 else None
        expected = decode(data, image_size_px=SIZE_PX, crop="box", box=box)
        assert np.array_equal(cropped, expected)
        assert np.array_equal(centre, decode(data, image_size_px=SIZE_PX))


def test_without_a_catalog_there_are_no_boxes(folder: Path, tmp_path: Path) -> None:
    assert catalogued_boxes(tmp_path / "nowhere", folder) == {}


def test_a_manifest_may_list_regions_and_files_of_such_names(folder: Path) -> None:
    named = "2.png#xywh=1,2,3,4"
    (folder / named).write_bytes(encoded(noise(30, 20, seed=9)))
    paths = ["0.png", "0.png#xywh=4,2,16.5,38", named, f"{folder}/1.png#xywh=0,0,30,9"]
    rows = "".join(f'"{path}"\n' for path in paths)
    (folder / "list.csv").write_text(f"path\n{rows}")
    source = list_files(str(folder / "list.csv"), numbered=NONE)
    assert source.items["path"].to_pylist() == paths
    expected = [("0.png", None), ("0.png", BOX), (named, None), ("1.png", OTHER)]
    for pixels, (name, box) in zip(read(source, crop="box"), expected, strict=True):
        data = (folder / name).read_bytes()
        assert np.array_equal(pixels, decode(data, image_size_px=SIZE_PX, crop="box", box=box))


def test_an_address_may_end_in_a_region() -> None:
    data = encoded(noise(60, 44, seed=1))
    fsspec.filesystem("memory").pipe("/regions/a.png", data)
    rows = b'path\nmemory://regions/a.png\n"memory://regions/a.png#xywh=4,2,16.5,38"\n'
    fsspec.filesystem("memory").pipe("/regions/list.csv", rows)
    source = list_files("memory://regions/list.csv", numbered=NONE)
    for pixels, box in zip(read(source, crop="box"), (None, BOX), strict=True):
        assert np.array_equal(pixels, decode(data, image_size_px=SIZE_PX, crop="box", box=box))
    assert len({*source.items["content"].to_pylist()}) == 1
    assert len({*source.cropped("box", of="it").items["content"].to_pylist()}) == 2


def test_a_box_is_a_part_of_the_content_where_it_is_seen(folder: Path, tmp_path: Path) -> None:
    def contents(boxes: pa.Table, crop: str) -> list[str]:
        catalog = write_catalog(tmp_path / "catalog", boxes)
        source = list_files(str(folder), numbered=NONE, boxes=catalogued_boxes(catalog, folder))
        return source.cropped(crop, of="it").items["content"].to_pylist()

    plain = contents(boxes_of(), "centre")
    assert contents(boxes_of(_1=BOX), "centre") == contents(boxes_of(), "box") == plain
    first, other = contents(boxes_of(_1=BOX), "box"), contents(boxes_of(_1=OTHER), "box")
    assert first == [plain[0], f"{plain[1]}#xywh=4,2,16.5,38", plain[2]]
    assert [x == y for x, y in zip(first, other, strict=True)] == [True, False, True]


def test_a_store_tells_its_boxes_and_refuses_models_of_another_crop(
    folder: Path, tmp_path: Path
) -> None:
    boxes = boxes_of(_1=BOX)
    preprocess(
        images_table(["00" * 32] * 3),
        folder,
        tmp_path / "store",
        image_size_px=SIZE_PX,
        crop="box",
        boxes=boxes,
        images_per_shard=2,
        num_workers=0,
        on_progress=lambda _: None,
    )
    location = StoreLocation(address=str(tmp_path / "store"), cache=tmp_path / "cache")
    source = stored_images(location, images_table(["00" * 32] * 3), boxes)
    seen = source.cropped("box", of="models:/hemline/3").items["content"].to_pylist()
    assert seen == ["00" * 32, "00" * 32 + "#xywh=4,2,16.5,38", "00" * 32]
    with pytest.raises(HemlineError, match=r"models:/hemline/3 sees .* crop centre, and the store"):
        source.cropped("centre", of="models:/hemline/3")


def test_the_crop_is_a_part_of_the_recipe_and_the_centre_is_the_default() -> None:
    made_by = {
        "model_name": "m",
        "model_version": 1,
        "model_sha256": "0",
        "image_size_px": SIZE_PX,
        "attributes": {"a": 0},
        "precision": "fp32",
    }
    assert Recipe(**made_by).digest.startswith("fb19012b"), "changes with PIXELS_VERSION alone"
    assert Recipe(**made_by).digest == Recipe(**made_by, crop="centre").digest
    assert Recipe(**made_by, crop="box").digest != Recipe(**made_by).digest
    assert Recipe(**made_by, runtime="openvino").digest != Recipe(**made_by).digest
    integers = {"runtime": "openvino", "precision": "int8"}
    one, other = (Recipe(**made_by | integers | {"quantised": name}) for name in ("1-2", "3-4"))
    assert one.digest != other.digest
