"""Boxes and landmarks of a data set, as its images can have them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from components.datasets.labelled import Box, LabelledImages, Landmark


class Places(NamedTuple):
    """Rows of `tables.BOXES` and `tables.LANDMARKS`, and what of a data set is none of them.

    left_out counts rows by what is wrong with them.
    """

    boxes: list[tuple[int, float, float, float, float]]
    landmarks: list[tuple[int, int, float | None, float | None, str]]
    left_out: dict[str, int]


def places_in(
    labelled: LabelledImages,
    *,
    number_of: Mapping[str, int],
    size_of: Mapping[str, tuple[int, int]],
    landmarks: Sequence[str],
) -> Places:
    """Returns the boxes and landmarks of usable images, by image number.

    A box is clipped to its picture, and left out where nothing of it remains: the item is then
    taken to fill the picture. A landmark outside its picture is absent.

    Args:
        labelled: what a reader found.
        number_of: number of every usable image by path.
        size_of: width and height in pixels of the upright image, by path.
        landmarks: names of landmarks in the order of the schema.
    """
    boxes: dict[int, tuple[float, float, float, float] | None] = {}
    for box in labelled.boxes:
        if box.path in number_of:
            boxes.setdefault(number_of[box.path], _clipped(box, *size_of[box.path]))
    position = {name: place for place, name in enumerate(landmarks)}
    points: dict[tuple[int, int], tuple[float | None, float | None, str]] = {}
    num_outside = 0
    for point in labelled.landmarks:
        if point.path in number_of:
            is_outside = point.visibility != "absent" and _is_outside(point, *size_of[point.path])
            num_outside += is_outside
            is_absent = is_outside or point.visibility == "absent"
            found = (None, None, "absent") if is_absent else (point.x, point.y, point.visibility)
            points[number_of[point.path], position[point.name]] = found
    of_area = {image: box for image, box in boxes.items() if box is not None}
    counts = {
        "boxes without an area in their picture": len(boxes) - len(of_area),
        "landmarks outside their picture": num_outside,
    }
    return Places(
        boxes=sorted((image, *box) for image, box in of_area.items()),
        landmarks=[(*key, *point) for key, point in sorted(points.items())],
        left_out={what: number for what, number in counts.items() if number},
    )


def _clipped(box: Box, width: int, height: int) -> tuple[float, float, float, float] | None:
    left, right = (min(max(x, 0), width) for x in (box.left, box.right))
    top, bottom = (min(max(y, 0), height) for y in (box.top, box.bottom))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _is_outside(point: Landmark, width: int, height: int) -> bool:
    return not (0 <= point.x <= width and 0 <= point.y <= height)
