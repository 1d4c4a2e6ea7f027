"""From activation maps to boxes, and from boxes to cut-out features; tensor operations only.

An exported network holds them as they stand here: no SciPy, no torchvision where it is served.

Shape letters: B images, K maps of an image, C channels, H W positions of a map, Q side of a cut.
"""

import torch
from torch import Tensor, nn


def largest_region_boxes(maps_BKHW: Tensor, *, threshold: float) -> Tensor:
    """Returns the box of the largest connected region of each map, int64 [B, K, 4].

    A region is of cells above the threshold, a share of the map's maximum in [0, 1), that touch at
    a side or a corner (FashionSearchNet-v2, section 3.2, after CAM of Zhou et al., CVPR 2016, which
    leave open what touches). Of regions of the same size it is the one whose last cell, row by row,
    comes first. A box is left, top, right, bottom in cells, right and bottom excluded, so that it
    has one cell or more. Every map needs a maximum above 0. Boxes have no gradient.
    """
    inside_BKHW = maps_BKHW > threshold * maps_BKHW.amax(dim=(2, 3), keepdim=True)
    regions_BKHW = connected_regions(inside_BKHW)
    numbers_BKP = regions_BKHW.flatten(2)
    sizes_BKP = torch.zeros_like(nn.functional.pad(numbers_BKP, (0, 1)))  # number 0 is no region
    sizes_BKP = sizes_BKP.scatter_add(-1, numbers_BKP, torch.ones_like(numbers_BKP))
    largest_BK = sizes_BKP[..., 1:].argmax(dim=-1) + 1
    region_BKHW = regions_BKHW == largest_BK[..., None, None]
    left_BK, right_BK = _extent(region_BKHW.any(dim=2))
    top_BK, bottom_BK = _extent(region_BKHW.any(dim=3))
    return torch.stack([left_BK, top_BK, right_BK, bottom_BK], dim=-1)


def connected_regions(inside_BKHW: Tensor) -> Tensor:
    """Returns a number for each cell, int64 [B, K, H, W]: 0 outside, the same within a region.

    Cells touch at a side or a corner. A region's number is that of its last cell, row by row from
    1: every cell takes the highest number around it until no number can move any more. A shortest
    way from cell to cell has at most two cells in each block of 2 x 2, as three of them would all
    touch, and this bounds the number of steps.
    """
    height, width = inside_BKHW.shape[2:]
    # up to 2^24, float32 counts exactly; integers have no max pooling
    numbers_HW = torch.arange(1, height * width + 1, device=inside_BKHW.device).view(height, width)
    numbers_BKHW = inside_BKHW * numbers_HW.float()
    for _ in range(2 * -(-height // 2) * -(-width // 2) - 1):
        highest_BKHW = nn.functional.max_pool2d(numbers_BKHW, kernel_size=3, stride=1, padding=1)
        numbers_BKHW = highest_BKHW * inside_BKHW
    return numbers_BKHW.long()


def _extent(occupied_BKL: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first occupied cell along a side [B, K], and the one after the last."""
    occupied_BKL = occupied_BKL.long()  # of equal ones, argmax takes the first
    after_last_BK = occupied_BKL.shape[-1] - occupied_BKL.flip(-1).argmax(dim=-1)
    return occupied_BKL.argmax(dim=-1), after_last_BK


def crop_and_resize(features_BCHW: Tensor, boxes_BK4: Tensor, *, size: int) -> Tensor:
    """Returns what lies in each box of its image's map, brought to Q = size cells a side.

    [B, K, C, Q, Q]. The box is cut into Q x Q equal parts; each is the map at its centre, between
    the four cells around it (bilinear). It is `torchvision.ops.roi_align` with `aligned` and
    `sampling_ratio` 1; the paper's `tf.image.crop_and_resize` puts its outermost samples on the
    box's edges. Boxes are those of `largest_region_boxes`.
    """
    height, width = features_BCHW.shape[2:]
    dtype = torch.float64 if features_BCHW.dtype == torch.float64 else torch.float32
    centres_Q = (torch.arange(size, dtype=dtype, device=features_BCHW.device) + 0.5) / size
    left_BK1, top_BK1, right_BK1, bottom_BK1 = boxes_BK4.split(1, dim=-1)
    x_BKQ = (left_BK1 + (right_BK1 - left_BK1) * centres_Q) * (2 / width) - 1
    y_BKQ = (top_BK1 + (bottom_BK1 - top_BK1) * centres_Q) * (2 / height) - 1
    across, down = x_BKQ[:, :, None, :], y_BKQ[:, :, :, None]
    shape = (-1, -1, size, size)
    places_BKQQ2 = torch.stack([across.expand(shape), down.expand(shape)], dim=-1)
    sampled = nn.functional.grid_sample(  # all boxes of an image as one: no map is made per box
        features_BCHW, places_BKQQ2.flatten(1, 2), padding_mode="border", align_corners=False
    )
    return sampled.unflatten(2, (-1, size)).transpose(1, 2)
