"""AHBN as its paper prints it (Eq. 3-11), place by place, with convolutions in place of transforms.

`paper_equations` says how equations are read. `parts` are the switches of the ablations. The
hourglass itself is read in `test_hourglass.py`.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from paper_equations import at_every_position, average, linear, normalised, unit_length, vectors
from torch import Tensor, nn

from components.models.ahbn import AHBN
from components.models.bilinear import CountSketch

Parts = Mapping[str, Any]


@torch.no_grad()
def awakened(network: AHBN) -> AHBN:
    """The network with gates whose hidden units speak: of three, chance may silence all."""
    if network.co_attention is not None:
        for layers in (network.co_attention.of_first, network.co_attention.of_second):
            layers[0].bias.fill_(9)
    return network


def attribute_map(network: AHBN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """V^a [C, H, W]."""
    _, third = network.backbone(image_3HW[None])  # torchvision's own
    last = network.backbone.last_stage(third)[0]
    if parts["normalise_features"]:  # not in the paper
        last = at_every_position(lambda vector: normalised(network.norm, vector), last)
    return last


def landmark_map(network: AHBN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """V^l [E, H, W]."""
    features, heat_maps = network.hourglass(image_3HW[None])
    return heat_maps[-1][0] if parts["landmark_maps"] == "heat_maps" else features[0]


def gate(layers: nn.Sequential, vector: Tensor) -> Tensor:
    """Eq. 5 and 6: sigmoid(W2 relu(W1 v))."""
    hidden = torch.maximum(linear(layers[0], vector), torch.zeros(()))
    return 1 / (1 + torch.exp(-linear(layers[2], hidden)))


def interpolated(map_CHW: Tensor, height: int, width: int) -> Tensor:
    """The map between its cells, whose centres are at i + 0.5 cells, constant beyond them."""

    def weights(i: int, many: int, few: int) -> list[tuple[int, float]]:
        place = min(max((i + 0.5) * few / many - 0.5, 0), few - 1)
        low = min(int(place), max(few - 2, 0))
        return [(low, 1 - (place - low)), (min(low + 1, few - 1), place - low)]

    _, few_rows, few_columns = map_CHW.shape
    rows = [
        torch.stack(
            [
                sum(
                    map_CHW[:, y, x] * down * along
                    for y, down in weights(i, height, few_rows)
                    for x, along in weights(j, width, few_columns)
                )
                for j in range(width)
            ],
            dim=-1,
        )
        for i in range(height)
    ]
    return torch.stack(rows, dim=1)


def windows(size: int, grid: int) -> list[slice]:
    """The cells of a side that each place of the grid is the mean of."""
    return [slice(i * size // grid, math.ceil((i + 1) * size / grid)) for i in range(grid)]


def on_grid(map_CHW: Tensor, grid: int) -> Tensor:
    """Average pooling to grid x grid, interpolated first where the map has fewer cells."""
    height, width = (max(side, grid) for side in map_CHW.shape[1:])
    whole = interpolated(map_CHW, height, width)
    rows = [
        torch.stack([average(whole[:, down, along]) for along in windows(width, grid)], dim=-1)
        for down in windows(height, grid)
    ]
    return torch.stack(rows, dim=1)


def sketch(module: CountSketch, vector: Tensor) -> Tensor:
    """Eq. 9: t has the sum of s_l x_l over the l whose place is t."""
    numbers = [torch.zeros((), dtype=vector.dtype)] * module.dim
    for place, sign, x in zip(module.places.tolist(), module.signs, vector, strict=True):
        numbers[place] = numbers[place] + sign * x
    return torch.stack(numbers)


def circular_convolution(first: Tensor, second: Tensor) -> Tensor:
    """Eq. 10: k has the sum of a_i b_j over i + j = k, modulo the length."""
    i = torch.arange(len(first))
    return torch.stack([(first * second[(k - i) % len(first)]).sum() for k in range(len(first))])


def fused(network: AHBN, first: Tensor, second: Tensor, parts: Parts) -> Tensor:
    """What becomes of the two vectors of a place."""
    fusion = network.fusion
    if parts["fusion"] == "compact_bilinear":
        return circular_convolution(sketch(fusion.first, first), sketch(fusion.second, second))
    if parts["fusion"] == "bilinear":
        return torch.stack([a * b for a in first for b in second])
    if parts["fusion"] == "concatenation":
        return torch.cat([first, second])
    projected = linear(fusion.project, second)
    return first * projected if parts["fusion"] == "product" else first + projected


def pooled(network: AHBN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """The mean of F over places, or of the only map."""
    if parts["branches"] == "attribute":
        return average(attribute_map(network, image_3HW, parts))
    if parts["branches"] == "landmark":
        return average(landmark_map(network, image_3HW, parts))
    first, second = (f(network, image_3HW, parts) for f in (attribute_map, landmark_map))
    of_first, of_second = average(first), average(second)  # Eq. 3-4
    if parts["co_attention"] == "joint":
        of_first = of_second = torch.cat([of_first, of_second])
    first, second = (on_grid(each, parts["grid_size"]) for each in (first, second))
    if parts["co_attention"] != "none":
        alpha_C = gate(network.co_attention.of_first, of_first)  # Eq. 5
        alpha_E = gate(network.co_attention.of_second, of_second)  # Eq. 6
        first = torch.stack([a * channel for a, channel in zip(alpha_C, first, strict=True)])
        second = torch.stack([a * channel for a, channel in zip(alpha_E, second, strict=True)])
    pairs = zip(vectors(first), vectors(second), strict=True)
    at_places = [fused(network, *pair, parts) for pair in pairs]
    return sum(at_places) / len(at_places)


def signed_root(vector: Tensor) -> Tensor:
    """sign(x) (sqrt(|x| + e) - sqrt(e)), e = 1e-6."""
    return torch.sign(vector) * (torch.sqrt(torch.abs(vector) + 1e-6) - 1e-3)


def features(network: AHBN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """The vector f [D]."""
    return linear(network.linear, unit_length(signed_root(pooled(network, image_3HW, parts))))


def ahbn(network: AHBN, vector_D: Tensor, attribute: int, parts: Parts) -> Tensor:
    """The vector f of unit length, whatever the attribute."""
    return unit_length(vector_D)
