"""A stacked hourglass: maps of landmarks, looked for at all scales, several times over.

Source: Newell et al., Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016, section 3,
which AHBN's landmark branch names. Departure: a map is halved up to its last cell, so that images
of any size will do; the paper's are of 256 pixels.

Shape letters: B images, C channels, H W positions of a map, a quarter of the image's sides, M
landmarks.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

_DEPTH = 4  # how often an hourglass halves its map
# Heat maps are 0 nearly everywhere, and so they begin (Xiao et al., Simple Baselines for Human Pose
# Estimation, ECCV 2018). From torch's start, landmarks of products are 0.20 of a side off after 150
# steps, from this one 0.08.
_HEAD_STD = 1e-3


class Residual(nn.Module):
    """Three convolutions around a bottleneck, normalised ahead of each, added to what comes in."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        width = max(filters // 2, 1)
        self.convolutions = nn.Sequential(
            *_normalised(nn.Conv2d(channels, width, kernel_size=1)),
            *_normalised(nn.Conv2d(width, width, kernel_size=3, padding=1)),
            *_normalised(nn.Conv2d(width, filters, kernel_size=1)),
        )
        self.skip = nn.Identity() if channels == filters else nn.Conv2d(channels, filters, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Returns a map of `filters` channels and the same size."""
        return self.skip(map_BCHW) + self.convolutions(map_BCHW)


class Hourglass(nn.Module):
    """A map halved again and again and added to itself on the way back."""

    def __init__(self, channels: int, *, depth: int = _DEPTH) -> None:
        super().__init__()
        self.beside = Residual(channels, channels)
        self.down = Residual(channels, channels)
        self.inside: nn.Module = (
            Hourglass(channels, depth=depth - 1) if depth > 1 else Residual(channels, channels)
        )
        self.up = Residual(channels, channels)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Returns a map of the same shape."""
        halved = self.down(max_pool2d(map_BCHW, kernel_size=2, ceil_mode=True))
        inside = self.up(self.inside(halved))
        return self.beside(map_BCHW) + interpolate(inside, size=map_BCHW.shape[2:])


class StackedHourglass(nn.Module):
    """From images to a map at a quarter of their size, and heat maps of landmarks if asked.

    Each block but the last hands on what it got, what it made of it, and the heat maps that it
    found. Heat maps have any range; those that they are compared with are in [0, 1].

    Attributes:
        heads: what makes heat maps of each block's map; none where `num_landmarks` is 0.
    """

    def __init__(self, channels: int, *, num_blocks: int, num_landmarks: int) -> None:
        super().__init__()
        narrow, half = max(channels // 4, 1), max(channels // 2, 1)
        self.stem = nn.Sequential(
            nn.Conv2d(3, narrow, kernel_size=7, stride=2, padding=3),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            Residual(narrow, half),
            nn.MaxPool2d(kernel_size=2),
            Residual(half, half),
            Residual(half, channels),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Hourglass(channels),
                Residual(channels, channels),
                nn.Conv2d(channels, channels, kernel_size=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
            for _ in range(num_blocks)
        )
        num_headed = num_blocks if num_landmarks else 0
        self.heads = _projections(channels, num_landmarks, count=num_headed)
        for parameter in self.heads.parameters():
            nn.init.normal_(parameter, std=_HEAD_STD)
        self.from_maps = _projections(channels, channels, count=num_blocks - 1)
        self.from_heads = _projections(num_landmarks, channels, count=max(num_headed - 1, 0))

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the last block's map [B, C, H, W], and each head's heat maps [B, M, H, W]."""
        looked_at = self.stem(images_B3HW)
        map_BCHW, heat_maps = looked_at, []
        for number, block in enumerate(self.blocks):
            map_BCHW = block(looked_at)
            if number < len(self.heads):
                heat_maps.append(self.heads[number](map_BCHW))
            if number < len(self.from_maps):
                looked_at = looked_at + self.from_maps[number](map_BCHW)
            if number < len(self.from_heads):
                looked_at = looked_at + self.from_heads[number](heat_maps[number])
        return map_BCHW, heat_maps

    def drop_last_head(self) -> None:
        """Takes out the head that no later block learns from."""
        self.heads = self.heads[:-1]


def _projections(channels: int, filters: int, *, count: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(channels, filters, kernel_size=1) for _ in range(count))


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(convolution.in_channels), nn.ReLU(), convolution


def maxima(heat_maps_BMHW: Tensor) -> Tensor:
    """Returns where each map is highest [B, M, 2], x and y as shares of the image's sides.

    That is the middle of a cell: half a cell is as exact as it gets.
    """
    height, width = heat_maps_BMHW.shape[2:]
    cell_BM = heat_maps_BMHW.flatten(2).argmax(dim=-1)
    x_BM, y_BM = (cell_BM % width + 0.5) / width, (cell_BM // width + 0.5) / height
    return torch.stack([x_BM, y_BM], dim=-1)
