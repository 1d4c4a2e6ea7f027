"""The augmentation of training: a batch on the device, each image with parameters of its own.

All is a pure function of uniform numbers drawn elsewhere. Nothing here loops over images or waits
for the device, and the boxes stay float32 under autocast, which leaves pointwise arithmetic alone.

Shape letters: B images, C = 3 colours, H W pixels, N uniform numbers an image, S pixels of a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.v2.functional import rgb_to_grayscale

from components.images.transforms import per_colour
from components.networks import IMAGENET_PIXELS, Colour

CROP_ASPECT = (3 / 4, 4 / 3)  # height / width; of torchvision's RandomResizedCrop
ERASED_AREA = (0.02, 0.33)  # of torchvision's RandomErasing, as the aspect is
ERASED_ASPECT = (0.3, 3.3)


class Draw(IntEnum):
    """Which uniform number decides what: no augmentation ever moves the numbers of another."""

    FLIP = 0
    CROP_AREA = 1
    CROP_ASPECT = 2
    CROP_TOP = 3
    CROP_LEFT = 4
    BRIGHTNESS = 5
    CONTRAST = 6
    SATURATION = 7
    ERASE = 8
    ERASED_AREA = 9
    ERASED_ASPECT = 10
    ERASED_TOP = 11
    ERASED_LEFT = 12


NUM_DRAWS = len(Draw)
_SIDES = {"left": "right", "right": "left"}

_Boxes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Top, left, height and width [B], whole pixels in float32."""


def mirrored_names(names: Sequence[str]) -> list[int]:
    """Returns which of the names each becomes in a mirror: `left hem` and `right hem` change place.

    A name without a side, or whose other side is not among them, stays what it is.
    """
    places = {name: place for place, name in enumerate(names)}
    return [places.get(_other_side(name), place) for name, place in places.items()]


def _other_side(name: str) -> str:
    side, _, rest = name.partition(" ")
    return f"{_SIDES[side]} {rest}" if side in _SIDES else name


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Flip, crop, colour jitter and erasing, in this order; what is off costs nothing.

    Attributes:
        flip_probability: share of images that are mirrored left to right; 0 is off.
        crop_min_area: least share of an image's area that a crop keeps; 1 is off.
        colour_jitter: how far from 1, either way, the factors of brightness, contrast and
            saturation are drawn, 1 at most; 0 is off.
        erase_probability: share of images of which a rectangle is erased; 0 is off.
        erased_to: the colour of what is erased: the mean that is subtracted of images.
    """

    flip_probability: float
    crop_min_area: float
    colour_jitter: float
    erase_probability: float
    erased_to: Colour = IMAGENET_PIXELS.mean

    def move(
        self,
        points_BM3: Tensor,
        draws_BN: Tensor,
        *,
        size_px: tuple[int, int],
        mirrored: Sequence[int],
    ) -> Tensor:
        """Returns where points of images lie in the augmented images [B, M, 3].

        Args:
            points_BM3: x and y as shares of the image's sides, and a weight, which becomes 0 of a
                point that a crop leaves out.
            draws_BN: as the images are augmented with.
            size_px: height and width of the images.
            mirrored: which point each is in a mirror, such as `mirrored_names` says.
        """
        points = points_BM3
        if self.flip_probability > 0:
            flipped_B = draws_BN[:, Draw.FLIP] < self.flip_probability
            x_BM, y_BM, weight_BM = torch.stack([points[:, m] for m in mirrored], dim=1).unbind(-1)
            seen_in_mirror = torch.stack([1 - x_BM, y_BM, weight_BM], dim=-1)
            points = torch.where(flipped_B[:, None, None], seen_in_mirror, points)
        if self.crop_min_area < 1:
            height, width = size_px
            top_B, left_B, height_B, width_B = self._crop_boxes(draws_BN, size_px=size_px)
            x_BM, y_BM, weight_BM = points.unbind(-1)
            x_BM = (x_BM * width - left_B[:, None]) / width_B[:, None]
            y_BM = (y_BM * height - top_B[:, None]) / height_B[:, None]
            inside_BM = (x_BM >= 0) & (x_BM <= 1) & (y_BM >= 0) & (y_BM <= 1)
            points = torch.stack([x_BM, y_BM, weight_BM * inside_BM], dim=-1)
        return points

    def _crop_boxes(self, draws_BN: Tensor, *, size_px: tuple[int, int]) -> _Boxes:
        """Returns what is cut out of each image."""
        return _boxes(
            draws_BN[:, Draw.CROP_AREA : Draw.CROP_LEFT + 1],
            area=(self.crop_min_area, 1),
            aspect=CROP_ASPECT,
            size_px=size_px,
        )

    def __call__(self, images_BCHW: Tensor, draws_BN: Tensor) -> Tensor:
        """Returns the augmented images, float32 in 0..255, in the memory format they came in.

        Args:
            images_BCHW: float32 in 0..255, so not yet normalised; they are not changed.
            draws_BN: float32, uniform in [0, 1); the columns are those of `Draw`.
        """
        channels_last = images_BCHW.is_contiguous(memory_format=torch.channels_last)
        images = images_BCHW
        if self.flip_probability > 0:
            flipped_B = draws_BN[:, Draw.FLIP] < self.flip_probability
            images = torch.where(_per_image(flipped_B), images.flip(-1), images)
        if self.crop_min_area < 1:
            size_px = images.shape[2], images.shape[3]
            images = _crop(images, self._crop_boxes(draws_BN, size_px=size_px))
        if self.colour_jitter > 0:
            draws_B3 = draws_BN[:, Draw.BRIGHTNESS : Draw.SATURATION + 1]
            images = _jitter(images, 1 + self.colour_jitter * (2 * draws_B3 - 1))
        if self.erase_probability > 0:
            erased_B = draws_BN[:, Draw.ERASE] < self.erase_probability
            draws_B4 = draws_BN[:, Draw.ERASED_AREA : Draw.ERASED_LEFT + 1]
            images = _erase(images, erased_B, draws_B4, colour=self.erased_to)
        if channels_last:  # grid_sample always returns the other format
            images = images.contiguous(memory_format=torch.channels_last)
        return images


def _boxes(
    draws_B4: Tensor,
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    size_px: tuple[int, int],
) -> _Boxes:
    """Returns a box an image: top, left, height and width [B], whole pixels in float32.

    A box covers a share of the image's area, its aspect (height / width) log-uniform, anywhere
    inside; four uniform numbers decide area, aspect, top and left. torchvision samples a box that
    does not fit again, up to ten times. Here it is clamped to the image and covers less, so that
    every box takes the same four numbers.
    """
    height, width = size_px
    area_B, aspect_B, top_B, left_B = draws_B4.unbind(1)
    area_B = (area[0] + (area[1] - area[0]) * area_B) * (height * width)
    aspect_B = aspect[0] * (aspect[1] / aspect[0]) ** aspect_B
    height_B = (area_B * aspect_B).sqrt().round().clamp(1, height)
    width_B = (area_B / aspect_B).sqrt().round().clamp(1, width)
    top_B = (top_B * (height - height_B + 1)).floor()
    left_B = (left_B * (width - width_B + 1)).floor()
    return top_B, left_B, height_B, width_B


def _crop(images_BCHW: Tensor, boxes: _Boxes) -> Tensor:
    """Returns a box of each image, resized bilinearly to the size of the image."""
    height, width = images_BCHW.shape[2], images_BCHW.shape[3]
    top_B, left_B, height_B, width_B = boxes
    y_BH = _sampled(top_B, height_B, size_px=height)
    x_BW = _sampled(left_B, width_B, size_px=width)
    x_BHW, y_BHW = torch.broadcast_tensors(x_BW[:, None, :], y_BH[:, :, None])
    grid_BHW2 = torch.stack((x_BHW, y_BHW), dim=-1)
    return grid_sample(
        images_BCHW, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False
    )


def _sampled(start_B: Tensor, length_B: Tensor, *, size_px: int) -> Tensor:
    """Returns where each pixel of a resized side lies in the image [B, S], -1 and 1 its borders.

    Clamped to the box's outermost pixels as `interpolate` does: what lies outside never mixes in,
    which `affine_grid` would let happen.
    """
    pixel_S = torch.arange(size_px, device=start_B.device)
    inside_BS = (pixel_S + 0.5) * (length_B[:, None] / size_px) - 0.5
    inside_BS = torch.minimum(inside_BS.clamp(min=0), length_B[:, None] - 1)
    return (2 * (start_B[:, None] + inside_BS) + 1) / size_px - 1


def _jitter(images_BCHW: Tensor, factors_B3: Tensor) -> Tensor:
    """Returns images with factors applied to brightness, contrast and saturation, in this order.

    As torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation`, which take one
    factor for all images and floats in 0..1.
    """
    brightness_B, contrast_B, saturation_B = factors_B3.unbind(1)
    images = (images_BCHW * _per_image(brightness_B)).clamp(0, 255)
    mean_B111 = rgb_to_grayscale(images).mean(dim=(1, 2, 3), keepdim=True)
    images = torch.lerp(mean_B111, images, _per_image(contrast_B)).clamp(0, 255)
    return torch.lerp(rgb_to_grayscale(images), images, _per_image(saturation_B)).clamp(0, 255)


def _erase(images_BCHW: Tensor, erased_B: Tensor, draws_B4: Tensor, *, colour: Colour) -> Tensor:
    """Returns images with a box set to the mean colour, which normalisation makes zero.

    Zhong et al., Random Erasing Data Augmentation, AAAI 2020. The range of the aspect is
    torchvision's; the paper fills with noise by default, and with this mean as a variant.
    """
    height, width = size_px = images_BCHW.shape[2], images_BCHW.shape[3]
    top_B, left_B, height_B, width_B = _boxes(
        draws_B4, area=ERASED_AREA, aspect=ERASED_ASPECT, size_px=size_px
    )
    inside_BH = _covered(top_B, height_B, size_px=height)
    inside_BW = _covered(left_B, width_B, size_px=width)
    inside_B1HW = (inside_BH[:, :, None] & inside_BW[:, None, :])[:, None]
    colour_C = per_colour(colour, images_BCHW.device)
    return torch.where(inside_B1HW & _per_image(erased_B), colour_C[:, None, None], images_BCHW)


def _covered(start_B: Tensor, length_B: Tensor, *, size_px: int) -> Tensor:
    """Returns which pixels of a side a box covers, bool [B, S]."""
    pixel_S = torch.arange(size_px, device=start_B.device)
    return (pixel_S >= start_B[:, None]) & (pixel_S < (start_B + length_B)[:, None])


def _per_image(values_B: Tensor) -> Tensor:
    """Returns one number an image, to be broadcast over its pixels [B, 1, 1, 1]."""
    return values_B[:, None, None, None]
