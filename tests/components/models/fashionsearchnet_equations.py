"""FashionSearchNet-v2 as its paper prints it (Eq. 1-3), boxes by flooding, cuts point by point.

`paper_equations` says how equations are read. `parts` are the switches of the ablations.
"""

from collections.abc import Mapping
from typing import Any

import torch
from paper_equations import average, linear, normalised, positions, unit_length
from torch import Tensor, nn

from components.models.fashionsearchnet import Branch, FashionSearchNetV2

Parts = Mapping[str, Any]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in cells; right and bottom excluded."""


@torch.no_grad()
def sharpened(network: FashionSearchNetV2, images_B3HW: Tensor) -> FashionSearchNetV2:
    """The network with conv7 silent at most positions: untrained, it speaks nearly alike at all."""
    before_BCHW = network.conv7[0](network.conv6(network.features(images_B3HW)))
    network.conv7[0].bias -= before_BCHW.transpose(0, 1).flatten(1).quantile(0.7, dim=1)
    return network


def convolved(conv: nn.Conv2d, map_CHW: Tensor, norm: nn.BatchNorm2d | None = None) -> Tensor:
    """A convolution of 3 x 3 with zeros around the map, and ReLU."""
    padded = nn.functional.pad(map_CHW, (1, 1, 1, 1))
    vectors_at = []
    for y, x in positions(map_CHW):
        around = padded[:, y : y + 3, x : x + 3]
        vector = conv.weight.flatten(1) @ around.flatten() + conv.bias
        vector = vector if norm is None else normalised(norm, vector)
        vectors_at.append(torch.relu(vector))
    return torch.stack(vectors_at, dim=1).view(-1, *map_CHW.shape[1:])


def features(network: FashionSearchNetV2, image_3HW: Tensor, parts: Parts) -> Tensor:
    """conv5 [C, H, W]."""
    _, third = network.backbone(image_3HW[None])  # torchvision's own
    norm = network.conv5[1] if parts["normalise_features"] else None  # not in the paper
    return convolved(network.conv5[0], third[0], norm)


def map_logits(
    network: FashionSearchNetV2, conv5_CHW: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """Eq. 1 and 2: x w_a [V_a]."""
    conv7_CHW = convolved(network.conv7[0], convolved(network.conv6[0], conv5_CHW))
    return network.classifiers[attribute].weight @ average(conv7_CHW)


def activation_map(
    network: FashionSearchNetV2, conv5_CHW: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """Eq. 3 for the value of highest confidence [H, W]."""
    conv7_CHW = convolved(network.conv7[0], convolved(network.conv6[0], conv5_CHW))
    value = int(map_logits(network, conv5_CHW, attribute, parts).argmax())
    weights_C = network.classifiers[attribute].weight[value]
    return sum(weight * channel for weight, channel in zip(weights_C, conv7_CHW, strict=True))


def regions(inside_HW: Tensor) -> list[list[tuple[int, int]]]:
    """Connected regions as lists of row and column, found by flooding from every cell."""
    left = {(y, x) for y, x in positions(inside_HW[None]) if inside_HW[y, x]}
    found = []
    while left:
        region, edge = [], [min(left)]
        left.discard(edge[0])
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            edge += near
            left -= near
        found.append(region)
    return found


def box_around(cells: list[tuple[int, int]]) -> Box:
    """The smallest box that holds the cells."""
    rows, columns = zip(*cells, strict=True)
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def box(map_HW: Tensor) -> Box:
    """The box of the largest region above 20 % of the maximum; all of a map that has none."""
    height, width = map_HW.shape
    if map_HW.max() <= 0:
        return 0, 0, width, height
    return box_around(max(regions(map_HW > 0.2 * map_HW.max()), key=len))


def at(map_CHW: Tensor, x: float, y: float) -> Tensor:
    """The map between its cells, whose centres are at whole numbers [C]; constant beyond them."""
    _, height, width = map_CHW.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right_share, lower_share = x - left, y - top
    upper = map_CHW[:, top, left] * (1 - right_share) + map_CHW[:, top, left + 1] * right_share
    lower = map_CHW[:, top + 1, left : left + 2] @ map_CHW.new_tensor(
        [1 - right_share, right_share]
    )
    return upper * (1 - lower_share) + lower * lower_share


def cut(map_CHW: Tensor, of: Box, size: int) -> Tensor:
    """The map at the centres of the box's size x size parts [C, size, size]."""
    left, top, right, bottom = of
    rows = []
    for i in range(size):
        y = top + (i + 0.5) / size * (bottom - top) - 0.5
        steps = [left + (j + 0.5) / size * (right - left) - 0.5 for j in range(size)]
        rows.append(torch.stack([at(map_CHW, x, y) for x in steps], dim=-1))
    return torch.stack(rows, dim=1)


def fc10(branch: Branch, cut_I: Tensor) -> Tensor:
    """The branch's three layers [D], without dropout."""
    hidden = torch.relu(linear(branch.fc9, torch.relu(linear(branch.fc8, cut_I))))
    return linear(branch.fc10, hidden)


def representation(
    network: FashionSearchNetV2, conv5_CHW: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """fc10.a of the image [D]."""
    _, height, width = conv5_CHW.shape
    whole = (0, 0, width, height)
    of = whole
    if parts["localisation"]:
        of = box(activation_map(network, conv5_CHW, attribute, parts))
    taken = [cut(conv5_CHW, of, 3)]
    if parts["feature_fusion"]:
        taken.append(cut(conv5_CHW, whole, 3))
    return fc10(network.branches[attribute], torch.cat(taken).flatten())


def fashionsearchnet_v2(
    network: FashionSearchNetV2, conv5_CHW: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """fc10.a of unit length [D]."""
    return unit_length(representation(network, conv5_CHW, attribute, parts))


def branch_logits(
    network: FashionSearchNetV2, conv5_CHW: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """Eq. 2 with fc10.a in place of x w_a, through a linear layer [V_a]."""
    vector_D = representation(network, conv5_CHW, attribute, parts)
    return linear(network.branch_classifiers[attribute], vector_D)
