"""Boxes are learned from labels of values alone: they find what decides, each attribute its own."""

import pytest
import torch
from small_network import build
from torch import Tensor

from components.losses.combined import value_classification_loss

torch.set_num_threads(1)

SIDE_PX, PATCH_PX, NUM_PICTURES, NUM_STEPS = 128, 32, 32, 100
COLOURS = ((0, 2), (1, None))  # of attribute 0: red or blue; of attribute 1: green or black


def pictures(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns images, the values of two attributes [B, 2], and their regions [B, 2, 4] as shares.

    Noise with a patch for each attribute, somewhere in the left or the right half, whose colour is
    the value.
    """
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(NUM_PICTURES, 3, SIDE_PX, SIDE_PX, generator=generator)
    values = torch.randint(2, (NUM_PICTURES, 2), generator=generator)
    half = SIDE_PX // 2
    places = torch.randint(half - PATCH_PX, (NUM_PICTURES, 2, 2), generator=generator)
    left_first = torch.randint(2, (NUM_PICTURES, 1), generator=generator)
    places[:, :, 0] += half * torch.cat([left_first, 1 - left_first], dim=1)
    places[:, :, 1] += half // 2
    for image, of, at in zip(images, values.tolist(), places.tolist(), strict=True):
        for colours, value, (x, y) in zip(COLOURS, of, at, strict=True):
            patch = image[:, y : y + PATCH_PX, x : x + PATCH_PX]
            patch -= 2
            if (channel := colours[value]) is not None:
                patch[channel] += 4
    regions = torch.cat([places, places + PATCH_PX], dim=2) / SIDE_PX
    return images, values, regions


def iou(boxes_BK4: Tensor, regions_BK4: Tensor) -> Tensor:
    """Returns the area shared over the area covered [B, K]."""

    def area(boxes: Tensor) -> Tensor:
        return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)

    low = torch.maximum(boxes_BK4[..., :2], regions_BK4[..., :2])
    high = torch.minimum(boxes_BK4[..., 2:], regions_BK4[..., 2:])
    shared = area(torch.cat([low, high], dim=-1))
    return shared / (area(boxes_BK4) + area(regions_BK4) - shared)


@pytest.fixture(scope="module")
def network():
    network = build("fashionsearchnet_v2", normalise_features=True, embedding_dim=16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003, fused=True)
    for step in range(NUM_STEPS):
        images, values, _ = pictures(seed=step)
        asked_BK = torch.arange(2).expand(len(images), -1)
        logits = network.train().forward_branches(images, asked_BK)[1]["map_values"]
        has_value = torch.nn.functional.one_hot(values, logits.shape[-1]).bool()
        loss = value_classification_loss(logits, has_value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    return network.eval()


@torch.no_grad()
def test_boxes_and_maps_of_pictures_never_seen_find_what_decides(network):
    """Not tightly: conv5 to conv7 see three cells around each of 8 x 8, and a patch has 2 x 2."""
    images, _, regions = pictures(seed=NUM_STEPS)
    asked_BK = torch.arange(2).expand(len(images), -1)
    boxes, maps = network.boxes(images, asked_BK), network.spatial_attention(images, asked_BK)
    whole = (PATCH_PX / SIDE_PX) ** 2  # the IoU of a box of the whole picture
    assert iou(boxes, regions).mean(dim=0).min() > 1.5 * whole
    assert iou(boxes, regions.flip(1)).mean(dim=0).max() < whole
    own, others = (is_highest_in(maps, of).mean(dim=0) for of in (regions, regions.flip(1)))
    assert own.min() > 0.5
    assert others.max() < 0.3


def is_highest_in(maps_BKHW: Tensor, regions_BK4: Tensor) -> Tensor:
    """Returns 1 where the centre of a map's highest cell lies in the region, 0 elsewhere [B, K]."""
    side = maps_BKHW.shape[-1]
    highest_BK = maps_BKHW.flatten(2).argmax(dim=-1)
    points_BK2 = (torch.stack([highest_BK % side, highest_BK // side], dim=-1) + 0.5) / side
    inside_BK2 = (points_BK2 >= regions_BK4[..., :2]) & (points_BK2 <= regions_BK4[..., 2:])
    return inside_BK2.all(dim=-1).float()
