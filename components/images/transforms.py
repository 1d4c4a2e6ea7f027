"""From a batch of pixels to what networks take, on the device.

Shape letters: B images, H W pixels.
"""

import torch
from torch import Tensor

from components.networks import Colour, PixelStatistics


def to_images(pixels_BHW3: Tensor) -> Tensor:
    """Returns uint8 pixels as float images in 0..255 [B, 3, H, W] in channels-last memory."""
    return pixels_BHW3.permute(0, 3, 1, 2).float()  # a view: channels-last comes for free


def normalise_images(images_B3HW: Tensor, statistics: PixelStatistics) -> Tensor:
    """Returns images in 0..255 less the mean and divided by the deviation of each colour."""
    mean_3, std_3 = (per_colour(colour, images_B3HW.device) for colour in statistics)
    return (images_B3HW - mean_3[:, None, None]) / std_3[:, None, None]


def normalise(pixels_BHW3: Tensor, statistics: PixelStatistics) -> Tensor:
    """Returns uint8 pixels as normalised float images [B, 3, H, W] in channels-last memory."""
    return normalise_images(to_images(pixels_BHW3), statistics)


def per_colour(colour: Colour, device: torch.device) -> Tensor:
    """Returns shares of 255 as numbers in 0..255 [3].

    Filled on the device: a tensor made from the tuple would be copied there, and waited for.
    """
    return torch.stack([torch.full((), share, device=device) for share in colour]) * 255
