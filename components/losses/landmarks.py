"""The loss of heat maps of landmarks.

Shape letters: B images, T blocks of a stacked hourglass, M landmarks, H W positions of a heat map.
"""

import torch
from torch import Tensor

_SIGMA = 1.0  # cells; the paper does not give it, Newell et al. (ECCV 2016) have 1
_EPSILON = 1e-8  # a norm has no slope at 0


def landmark_loss(heat_maps_BTMHW: Tensor, points_BM3: Tensor) -> Tensor:
    """Returns the norm of the error of every visible landmark's heat map (AHBN, Eq. 2), a scalar.

    The sum over landmarks and blocks, mean over all images of the batch that one worker has, those
    without a visible landmark included: they add nothing. Intermediate supervision, of every block,
    is Newell's, and not in the paper.

    Args:
        heat_maps_BTMHW: what the network finds.
        points_BM3: x and y as shares of the image's sides, and the weight, 1 where it is visible.
    """
    wanted_BMHW = heat_maps_of(points_BM3, *heat_maps_BTMHW.shape[3:])
    error_BTMHW = heat_maps_BTMHW.to(wanted_BMHW.dtype) - wanted_BMHW[:, None]
    norm_BTM = (error_BTMHW.square().sum(dim=(3, 4)) + _EPSILON).sqrt()
    return (norm_BTM * points_BM3[:, None, :, 2]).sum(dim=(1, 2)).mean()


def heat_maps_of(points_BM3: Tensor, height: int, width: int) -> Tensor:
    """Returns a Gaussian around each point, 1 at its highest [B, M, H, W].

    The middle of cell i is at i + 0.5 cells.
    """
    rows_H, columns_W = (
        torch.arange(side, device=points_BM3.device) + 0.5 for side in (height, width)
    )
    x_BM1, y_BM1 = points_BM3[..., :1] * width, points_BM3[..., 1:2] * height
    along_BMW = torch.exp(-((columns_W - x_BM1) ** 2) / (2 * _SIGMA**2))
    down_BMH = torch.exp(-((rows_H - y_BM1) ** 2) / (2 * _SIGMA**2))
    return down_BMH[..., :, None] * along_BMW[..., None, :]
