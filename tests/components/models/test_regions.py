"""Boxes of regions against flooding, and cuts against torchvision and against single points."""

import fashionsearchnet_equations as paper
import pytest
import torch
from torchvision.ops import roi_align

from components.models.regions import connected_regions, crop_and_resize, largest_region_boxes

torch.set_num_threads(1)

BY_HAND = """
    9 0 0 0 0 0
    3 0 0 2 3 0
    0 0 0 4 2 0
    0 2 0 0 0 5
    0 0 0 0 0 0
"""
SPIRAL = """
    1 1 1 1 1 1 1
    0 0 0 0 0 0 1
    1 1 1 1 1 0 1
    1 0 0 0 1 0 1
    1 0 1 1 1 0 1
    1 0 0 0 0 0 1
    1 1 1 1 1 1 1
"""


def as_map(text: str) -> torch.Tensor:
    rows = [[float(cell) for cell in row.split()] for row in text.strip().splitlines()]
    return torch.tensor(rows)[None, None]


def random_maps(*shape: int, density: float, seed: int = 0) -> torch.Tensor:
    """Maps of 0, 0.1 and 1."""
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(drawn < density, 1.0, 0.1 * (drawn < (1 + density) / 2))


def test_the_box_of_a_map_drawn_by_hand_is_that_of_its_larger_region():
    """20 % of 9 is 1.8: of three regions above it, five cells are the most; 5 touches at a corner.

    The strongest cell of all belongs to a smaller region.
    """
    assert largest_region_boxes(as_map(BY_HAND), threshold=0.2).tolist() == [[[3, 1, 6, 4]]]


def test_the_threshold_is_a_share_of_the_maximum_and_is_itself_outside():
    maps = as_map("0 1 2 5")
    assert largest_region_boxes(maps, threshold=0.2)[0, 0].tolist() == [2, 0, 4, 1]
    assert largest_region_boxes(7 * maps, threshold=0.2)[0, 0].tolist() == [2, 0, 4, 1]
    assert largest_region_boxes(maps, threshold=0.1)[0, 0].tolist() == [1, 0, 4, 1]


def test_one_cell_makes_a_box_of_one_cell_and_a_flat_map_one_of_all():
    alone = as_map("0 0 0\n0 3 0")
    assert largest_region_boxes(alone, threshold=0.2)[0, 0].tolist() == [1, 1, 2, 2]
    assert largest_region_boxes(torch.ones(1, 1, 4, 7), threshold=0.2).tolist() == [[[0, 0, 7, 4]]]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.45, 0.7])
def test_regions_are_those_that_flooding_finds(density):
    maps = random_maps(3, 4, 9, 11, density=density)
    numbers = connected_regions(maps > 0.2).flatten(0, 1)
    for numbers_HW, map_HW in zip(numbers, maps.flatten(0, 1), strict=True):
        regions = paper.regions(map_HW > 0.2)
        found = [{int(numbers_HW[cell]) for cell in region} for region in regions]
        assert found == [{max(y * 11 + x for y, x in region) + 1} for region in regions]
        assert int((numbers_HW > 0).sum()) == sum(map(len, regions))


@pytest.mark.parametrize("density", [0.1, 0.3, 0.45, 0.7])
def test_boxes_are_those_of_the_largest_region_flooded(density):
    maps = random_maps(3, 4, 9, 11, density=density, seed=1).flatten(0, 1)
    boxes = largest_region_boxes(maps[None], threshold=0.2)[0]
    compared = 0
    for map_HW, box in zip(maps, boxes, strict=True):
        regions = sorted(paper.regions(map_HW > 0.2), key=len)
        if len(regions) == 1 or len(regions[-1]) > len(regions[-2]):
            assert tuple(box.tolist()) == paper.box(map_HW)
            compared += 1
        else:  # as large as another: the one whose last cell comes first
            largest = [region for region in regions if len(region) == len(regions[-1])]
            assert tuple(box.tolist()) == paper.box_around(min(largest, key=max))
    assert compared


@pytest.mark.parametrize("turns", range(4))
def test_a_region_as_winding_as_can_be_is_one(turns):
    """A spiral of 7 x 7 and a serpentine of 13 x 13: their ends are far, by the way inside."""
    serpentine = torch.zeros(13, 13)
    serpentine[::2] = 1
    serpentine[1::4, -1] = serpentine[3::4, 0] = 1
    for inside in (as_map(SPIRAL)[0, 0] > 0, serpentine > 0):
        turned = inside.rot90(turns)
        numbers = connected_regions(turned[None, None])[0, 0]
        assert set(numbers[turned].tolist()) == {int(turned.flatten().nonzero().max()) + 1}


def features() -> torch.Tensor:
    return torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


BOXES = torch.tensor([[[0, 0, 7, 6], [2, 1, 5, 2], [6, 5, 7, 6]], [[1, 0, 7, 3]] * 3])


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_cut_is_the_map_at_the_centres_of_the_boxs_parts(size):
    cuts = crop_and_resize(features(), BOXES, size=size)
    assert cuts.shape == (2, 3, 5, size, size)
    for image, map_CHW in enumerate(features()):
        for k, box in enumerate(BOXES[image].tolist()):
            torch.testing.assert_close(cuts[image, k], paper.cut(map_CHW, tuple(box), size))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_cut_is_torchvisions_roi_align(size):
    expected = roi_align(
        features(),
        list(BOXES.double()),
        output_size=size,
        sampling_ratio=1,
        aligned=True,
    )
    cuts = crop_and_resize(features(), BOXES, size=size)
    torch.testing.assert_close(cuts.flatten(0, 1), expected)


@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_whole_box_is_the_map_resized(size):
    whole = torch.tensor([0, 0, 7, 6]).expand(2, 1, -1)
    resized = torch.nn.functional.interpolate(
        features(), (size, size), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(crop_and_resize(features(), whole, size=size)[:, 0], resized)


def test_a_cut_has_the_maps_gradients():
    leaf = features().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: crop_and_resize(x, BOXES, size=3), leaf)
