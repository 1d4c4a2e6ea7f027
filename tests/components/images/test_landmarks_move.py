"""Landmarks go where the augmented image shows them: dots that are drawn are looked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.images.augmentation import NUM_DRAWS, Augmentation, Draw, mirrored_names

NAMES = ("left collar", "right collar", "hem", "left sleeve")
SIDE_PX = 64
DOT_PX = 3  # a radius that survives every crop
NUM_IMAGES = 8


def augmentation(*, flip: float, crop: float) -> Augmentation:
    return Augmentation(
        flip_probability=flip, crop_min_area=crop, colour_jitter=0.0, erase_probability=0.0
    )


def dotted(points_B3: torch.Tensor) -> torch.Tensor:
    """Returns images [B, 3, S, S], each with a Gaussian dot at its point."""
    cells = torch.arange(SIDE_PX) + 0.5
    along = torch.exp(-((cells - SIDE_PX * points_B3[:, :1]) ** 2) / (2 * DOT_PX**2))
    down = torch.exp(-((cells - SIDE_PX * points_B3[:, 1:2]) ** 2) / (2 * DOT_PX**2))
    return (255 * down[:, :, None] * along[:, None])[:, None].expand(-1, 3, -1, -1).contiguous()


def brightest(images: torch.Tensor) -> torch.Tensor:
    """Returns where the middle of each image's brightest cell is [B, 2], as shares."""
    place = images[:, 0].flatten(1).argmax(dim=1)
    return torch.stack([place % SIDE_PX + 0.5, place // SIDE_PX + 0.5], dim=1) / SIDE_PX


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.3, 0.7, 1.0]))
def test_a_dot_lands_where_its_point_does(seed, flip, crop):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(NUM_IMAGES, 1, 3, generator=generator)
    points[..., 2] = 1
    draws = torch.rand(NUM_IMAGES, NUM_DRAWS, generator=generator)
    augment = augmentation(flip=flip, crop=crop)
    seen = brightest(augment(dotted(points[:, 0]), draws))
    moved = augment.move(points, draws, size_px=(SIDE_PX, SIDE_PX), mirrored=[0])[:, 0]
    inside = moved[:, 2] == 1
    # one cell of the image before and one of that after, which a crop of 0.3 makes up to 2.2 wide
    off = (seen - moved[:, :2]).abs()[inside]
    assert (off <= 2.5 / SIDE_PX).all()
    if crop == 1:
        assert inside.all()


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_point_that_the_crop_leaves_out_has_no_weight(share):
    """And one that it keeps does: at its middle, and beyond its edge."""
    draws = torch.zeros(2, NUM_DRAWS)
    draws[:, Draw.CROP_ASPECT] = 0.5  # a square, in the upper left corner
    points = torch.tensor([[[0.2, 0.2, 1.0]], [[0.9, 0.9, 1.0]]])
    moved = augmentation(flip=0, crop=share).move(
        points, draws, size_px=(SIDE_PX, SIDE_PX), mirrored=[0]
    )
    assert moved[:, 0, 2].tolist() == [1, 1 if share == 1 else 0]


def test_in_a_mirror_left_and_right_change_place():
    mirrored = mirrored_names(NAMES)
    assert mirrored == [1, 0, 2, 3]  # the left sleeve has no other side
    points = torch.rand(2, 4, 3)
    points[..., 2] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    draws = torch.zeros(2, NUM_DRAWS)
    draws[1, Draw.FLIP] = 0.9
    moved = augmentation(flip=0.5, crop=1).move(
        points, draws, size_px=(SIDE_PX, SIDE_PX), mirrored=mirrored
    )
    assert torch.equal(moved[1], points[1])
    for place, other in enumerate(mirrored):
        x, y, weight = points[0, other].tolist()
        assert moved[0, place].tolist() == pytest.approx([1 - x, y, weight])


def test_twice_in_a_mirror_is_as_before():
    mirrored = mirrored_names(("right knee", "hem", "left knee", "left", "right"))
    assert [mirrored[place] for place in mirrored] == [0, 1, 2, 3, 4]
    assert mirrored[:3] == [2, 1, 0]


def test_what_is_off_moves_nothing():
    points, draws = torch.rand(2, 4, 3), torch.rand(2, NUM_DRAWS)
    off = augmentation(flip=0, crop=1)
    assert torch.equal(off.move(points, draws, size_px=(32, 32), mirrored=[1, 0, 2, 3]), points)
