"""From a batch of pixels to what networks take, on the device.

Shape letters: B images, H W pixels.
"""

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_images(pixels_BHW3: Tensor) -> Tensor:
    """Returns uint8 pixels as float images in 0..255 [B, 3, H, W] in channels-last memory."""
    return pixels_BHW3.permute(0, 3, 1, 2).float()  # a view: channels-last comes for free


def normalise_images(images_B3HW: Tensor) -> Tensor:
    """Returns images in 0..255 with the constants that torchvision's ImageNet weights expect."""
    mean_3 = per_colour(IMAGENET_MEAN, images_B3HW.device)
    std_3 = per_colour(IMAGENET_STD, images_B3HW.device)
    return (images_B3HW - mean_3[:, None, None]) / std_3[:, None, None]


def normalise(pixels_BHW3: Tensor) -> Tensor:
    """Returns uint8 pixels as normalised float images [B, 3, H, W] in channels-last memory."""
    return normalise_images(to_images(pixels_BHW3))


def per_colour(shares: tuple[float, float, float], device: torch.device) -> Tensor:
    """Returns shares of 1 as numbers in 0..255 [3].

    Filled on the device: a tensor made from the tuple would be copied there, and waited for.
    """
    return torch.stack([torch.full((), share, device=device) for share in shares]) * 255
