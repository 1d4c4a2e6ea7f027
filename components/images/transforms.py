"""What happens to a batch of pixels on the device: normalisation, and the augmentation of training.

Shape letters: B images, H W pixels.
"""

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels_BHW3: Tensor) -> Tensor:
    """Returns uint8 pixels as normalised float images [B, 3, H, W] in channels-last memory.

    The constants are those that torchvision's ImageNet weights were trained with.
    """
    images = pixels_BHW3.permute(0, 3, 1, 2).float()  # a view: channels-last comes for free
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1) * 255
    return (images - mean) / std


def flip(images_BCHW: Tensor, flipped_B: Tensor) -> Tensor:
    """Returns the images, mirrored left to right where `flipped_B` (bool) says so."""
    return torch.where(flipped_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)
