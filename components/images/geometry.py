"""Where places of a picture lie in the square that `decode` makes of it.

Places are in pixels of the upright picture, squares have sides of 1. `decode` moves the centre crop
by up to three quarters of the square's pixels, to whole ones of the resized picture, which is left
out of account here.

Shape letters: N places or pictures, n pictures, M landmarks.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.images.decode import Box

EDGES = ("left", "top", "right", "bottom")


def boxes_by_image(boxes: pa.Table) -> dict[int, Box]:
    """Returns `tables.BOXES` by image number."""
    columns = [boxes[edge].to_pylist() for edge in EDGES]
    return dict(zip(boxes["image"].to_pylist(), zip(*columns, strict=True), strict=True))


def shown_parts(
    images_N: NDArray[np.int64], images: pa.Table, boxes: pa.Table, *, crop: str
) -> NDArray[np.float64]:
    """Returns the part of each picture that its square shows: left, top, right, bottom [N, 4].

    Args:
        images_N: image numbers, in any order.
        images: `tables.IMAGES`, for their sizes.
        boxes: `tables.BOXES`; with crop `box`, pictures without one are shown whole.
        crop: `preprocess.crop`.
    """
    rows = images.take(np.searchsorted(images["image"].to_numpy(), images_N))
    sizes_N2 = np.stack([rows[side].to_numpy() for side in ("width", "height")], axis=1).astype(
        float
    )
    if crop == "centre":
        side_N1 = sizes_N2.min(axis=1, keepdims=True)
        corner_N2 = (sizes_N2 - side_N1) / 2
        return np.concatenate([corner_N2, corner_N2 + side_N1], axis=1)
    parts_N4 = np.concatenate([np.zeros_like(sizes_N2), sizes_N2], axis=1)
    row_N = pc.index_in(pa.array(images_N), boxes["image"])
    has_box_N = row_N.is_valid().to_numpy(zero_copy_only=False)
    found = boxes.take(row_N.drop_null())
    parts_N4[has_box_N] = np.stack([found[edge].to_numpy() for edge in EDGES], axis=1)
    return parts_N4


def boxes_in_square(
    boxes_N4: NDArray[np.floating], parts_N4: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns boxes as shares of the squares' sides [N, 4], cut off at their edges.

    Args:
        boxes_N4: left, top, right and bottom.
        parts_N4: what the square of each box's picture shows, from `shown_parts`.
    """
    corners_N22 = boxes_N4.reshape(-1, 2, 2).astype(float)
    return _in_square(corners_N22, parts_N4[:, None]).reshape(-1, 4).clip(0, 1)


def landmarks_in_square(
    landmarks: pa.Table, images: pa.Table, boxes: pa.Table, names: Sequence[str], *, crop: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the landmarks of every image that has some, as shares of its square.

    Args:
        landmarks: `tables.LANDMARKS`.
        images: `tables.IMAGES`, by ascending number.
        boxes: `tables.BOXES`.
        names: of all landmarks: those of the schema.
        crop: `preprocess.crop`.

    Returns:
        Image numbers [n], ascending, and x, y and weight of every landmark [n, M, 3], float32: 1
        where it is visible and in the square, and zeros elsewhere.
    """
    visible = landmarks.filter(pc.field("visibility") == "visible")
    images_N = visible["image"].to_numpy()
    points_N2 = np.stack([visible[axis].to_numpy() for axis in ("x", "y")], axis=1).astype(float)
    parts_N4 = shown_parts(images_N, images, boxes, crop=crop)
    inside_N2 = _in_square(points_N2, parts_N4)
    is_seen_N = ((inside_N2 >= 0) & (inside_N2 <= 1)).all(axis=1)
    numbers_n = np.unique(landmarks["image"].to_numpy())
    points_nM3 = np.zeros((len(numbers_n), len(names), 3), np.float32)
    row_N = np.searchsorted(numbers_n, images_N[is_seen_N])
    slot_N = visible["landmark"].to_numpy()[is_seen_N]
    points_nM3[row_N, slot_N, :2] = inside_N2[is_seen_N]
    points_nM3[row_N, slot_N, 2] = 1
    return numbers_n, points_nM3


def _in_square(points: NDArray[np.float64], parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns points [..., 2] as shares of the sides of parts [..., 4]."""
    return np.asarray((points - parts[..., :2]) / (parts[..., 2:] - parts[..., :2]))
