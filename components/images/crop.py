"""What of an image the square that `decode` crops from it holds."""

import numpy as np
from numpy.typing import NDArray


def boxes_in_crop(
    boxes_N4: NDArray[np.floating], sizes_N2: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Returns boxes as shares of the cropped square [N, 4]: left, top, right, bottom in [0, 1].

    Args:
        boxes_N4: left, top, right and bottom in pixels of the upright image.
        sizes_N2: width and height of each box's image in pixels.
    """
    side_N1 = sizes_N2.min(axis=1, keepdims=True)
    corner_N2 = (sizes_N2 - side_N1) / 2
    inside_N4 = (boxes_N4 - np.tile(corner_N2, 2)) / side_N1
    return np.asarray(inside_N4.clip(0, 1))
