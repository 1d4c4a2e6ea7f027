"""Boxes and landmarks in the square: compared with what `decode` does to painted ones."""

import io

import numpy as np
import pyarrow as pa
import pytest
from builders import encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from components import tables
from components.images.decode import decode
from components.images.geometry import boxes_in_square, landmarks_in_square, shown_parts

SIZE_PX = 64
NAMES = ["left collar", "right collar"]
ON_ITS_SIDE = 6  # an EXIF orientation


def images_of(*sizes):
    rows = [
        {"image": image, "path": f"{image}.jpg", "width": width, "height": height}
        for image, (width, height) in enumerate(sizes)
    ]
    return pa.Table.from_pylist(rows, schema=tables.IMAGES)


def table_of(schema, *rows):
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)


def boxes_of(*rows):
    return table_of(tables.BOXES, *rows)


def landmarks_of(*rows):
    return table_of(tables.LANDMARKS, *rows)


NO_BOXES = boxes_of()


@pytest.mark.parametrize(("width", "height"), [(128, 128), (192, 128), (128, 320)])
@pytest.mark.parametrize("box", [(40, 40, 80, 100), (0, 0, 96, 128), (60, 20, 128, 60)])
def test_a_painted_box_lies_where_the_crop_shows_it(width, height, box):
    image = Image.new("RGB", (width, height), "black")
    image.paste("white", box)
    pixels = decode(encoded(image), image_size_px=SIZE_PX)[:, :, 0] > 127

    parts = shown_parts(np.array([0]), images_of((width, height)), NO_BOXES, crop="centre")
    left, top, right, bottom = boxes_in_square(np.array([box], float), parts)[0] * SIZE_PX
    expected = np.zeros((SIZE_PX, SIZE_PX), bool)
    expected[round(top) : round(bottom), round(left) : round(right)] = True
    assert (pixels == expected).all()


def test_a_box_outside_the_crop_is_empty():
    parts = shown_parts(np.array([0]), images_of((100, 40)), NO_BOXES, crop="centre")
    inside = boxes_in_square(np.array([[0.0, 5, 10, 20]]), parts)[0]
    assert inside[0] == inside[2] == 0


sizes = st.integers(100, 700)
shares = st.floats(0, 1)


@settings(deadline=None, max_examples=150)
@given(
    width=sizes,
    height=sizes,
    crop=st.sampled_from(["centre", "box"]),
    edges=st.none() | st.tuples(shares, shares, shares, shares),
    at=st.tuples(shares, shares),
    kind=st.sampled_from(["PNG", "JPEG", "JPEG on its side"]),
)
def test_a_dot_at_a_landmark_is_where_the_square_has_the_landmark(
    *, width, height, crop, edges, at, kind
):
    """To a pixel of the square: `decode` rounds the centre crop, and JPEGs blur."""
    box = box_of(edges, width, height)
    x, y = at[0] * width, at[1] * height
    boxes = boxes_of() if box is None else boxes_of((0, *box))
    landmarks = landmarks_of((0, 1, x, y, "visible"))
    numbers, points = landmarks_in_square(
        landmarks, images_of((width, height)), boxes, NAMES, crop=crop
    )
    left, top, right, bottom = shown_parts(
        np.array([0]), images_of((width, height)), boxes, crop=crop
    )[0]
    # eight of the square's pixels wide, whatever it is resized by
    radii = 4 * (right - left) / SIZE_PX, 4 * (bottom - top) / SIZE_PX
    data = dotted(width, height, (x, y), radii, kind=kind)
    pixels = decode(data, image_size_px=SIZE_PX, crop=crop, box=box).astype(float).mean(axis=2)

    assert numbers.tolist() == [0]
    share_x, share_y, weight = points[0, 1]
    assert points[0, 0].tolist() == [0, 0, 0]
    if weight == 0:
        assert not (left <= x <= right and top <= y <= bottom)
        return
    margin = 6 / SIZE_PX
    if margin < share_x < 1 - margin and margin < share_y < 1 - margin:
        bright = np.where(pixels > 100, pixels, 0)
        middle = np.arange(SIZE_PX) + 0.5
        found_x = (bright.sum(axis=0) * middle).sum() / bright.sum()
        found_y = (bright.sum(axis=1) * middle).sum() / bright.sum()
        assert found_x == pytest.approx(share_x * SIZE_PX, abs=1.2)
        assert found_y == pytest.approx(share_y * SIZE_PX, abs=1.2)


def box_of(edges, width, height):
    """Returns a box of at least 64 pixels a side in a picture, from shares; None for None."""
    if edges is None:
        return None
    left, top = edges[0] * (width - SIZE_PX), edges[1] * (height - SIZE_PX)
    right = left + SIZE_PX + edges[2] * (width - SIZE_PX - left)
    bottom = top + SIZE_PX + edges[3] * (height - SIZE_PX - top)
    return tuple(float(np.float32(edge)) for edge in (left, top, right, bottom))


def dotted(width, height, at, radii, *, kind):
    """Returns the file of a picture with a white dot, drawn at four times its size."""
    image = Image.new("L", (4 * width, 4 * height))
    (x, y), (across, down) = at, radii
    ImageDraw.Draw(image).ellipse(
        [4 * (x - across), 4 * (y - down), 4 * (x + across), 4 * (y + down)], fill=255
    )
    image = image.resize((width, height), Image.Resampling.BOX).convert("RGB")
    if kind != "JPEG on its side":
        return encoded(image, kind)
    exif = Image.Exif()
    exif[0x0112] = ON_ITS_SIDE
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_only_visible_landmarks_in_the_square_count():
    landmarks = landmarks_of(
        (1, 0, 100, 50, "visible"),
        (1, 1, 10, 50, "visible"),  # left of the centre crop
        (2, 0, 25, 25, "occluded"),
        (2, 1, None, None, "absent"),
    )
    images = images_of((5, 5), (200, 100), (50, 50))
    numbers, points = landmarks_in_square(landmarks, images, NO_BOXES, NAMES, crop="centre")
    assert numbers.tolist() == [1, 2]
    assert points.dtype == np.float32
    assert points.tolist() == [[[0.5, 0.5, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_a_box_takes_its_landmarks_along_and_a_picture_without_one_is_whole():
    landmarks = landmarks_of((0, 0, 30, 40, "visible"), (1, 0, 30, 40, "visible"))
    images, boxes = images_of((200, 100), (200, 100)), boxes_of((0, 20, 20, 40, 100))
    numbers, points = landmarks_in_square(landmarks, images, boxes, NAMES, crop="box")
    assert numbers.tolist() == [0, 1]
    assert points[:, 0].tolist() == pytest.approx(np.array([[0.5, 0.25, 1], [0.15, 0.4, 1]]))


def test_a_data_set_without_landmarks_has_none():
    numbers, points = landmarks_in_square(
        landmarks_of(), images_of((5, 5)), NO_BOXES, NAMES, crop="box"
    )
    assert numbers.shape == (0,)
    assert points.shape == (0, 2, 3)


def test_a_box_that_leaves_the_picture_is_cut_off_and_one_beside_it_is_the_whole_picture():
    data = encoded(Image.new("RGB", (40, 20), "white"))
    whole = decode(data, image_size_px=SIZE_PX, crop="box")
    for box in [(-10, -5, 90, 90), (50, 50, 60, 60), (5, 5, 5, 9)]:
        pixels = decode(data, image_size_px=SIZE_PX, crop="box", box=box)
        assert np.array_equal(pixels, whole)


def test_a_box_of_the_whole_picture_is_the_picture_stretched():
    image = Image.effect_noise((120, 90), 60).convert("RGB")
    whole = decode(encoded(image), image_size_px=SIZE_PX, crop="box")
    stretched = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR, reducing_gap=3.0)
    assert np.abs(whole.astype(int) - stretched).max() <= 2  # Pillow rounds its weights finer
