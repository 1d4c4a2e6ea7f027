"""Resizing by torch in whole numbers: every processor gives the same bytes."""

import numpy as np
from numpy.typing import NDArray


def resize_bilinear(
    pixels: NDArray[np.uint8], height: int, width: int, *, scale: float | None = None
) -> NDArray[np.uint8]:
    """Returns pictures [n, H, W, C] of another height and width, bilinearly and antialiased.

    With a scale, by which the sides are multiplied, they are the upper left of what it gives.
    """
    import torch  # noqa: PLC0415 - seconds, which those who only look at files need not wait

    # `interpolate` with a place for what it makes, which it would give as planes
    resize = torch.ops.aten._upsample_bilinear2d_aa.out
    pixels_NHWC = torch.from_numpy(pixels)
    resized_NHWC = pixels_NHWC.new_empty(len(pixels), height, width, pixels.shape[-1])
    of_planes, place = pixels_NHWC.permute(0, 3, 1, 2), resized_NHWC.permute(0, 3, 1, 2)
    resize(of_planes, [height, width], False, scale, scale, out=place)  # align_corners: False
    resized: NDArray[np.uint8] = resized_NHWC.numpy()
    return resized
