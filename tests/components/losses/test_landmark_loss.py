"""AHBN's Eq. 2, against loops over cells."""

import math
from itertools import chain

import pytest
import torch

from components.losses.landmarks import heat_maps_of, landmark_loss

HEIGHT, WIDTH = 6, 8


def some_points(num_images: int = 3) -> torch.Tensor:
    points = torch.rand(num_images, 4, 3, generator=torch.Generator().manual_seed(1)).double()
    points[..., 2] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    return points


def some_maps(num_images: int = 3) -> torch.Tensor:
    shape = (num_images, 2, 4, HEIGHT, WIDTH)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def wanted(point_3: torch.Tensor) -> list[list[float]]:
    """A Gaussian of one cell around the point; the middle of cell i is at i + 0.5."""
    x, y = float(point_3[0]) * WIDTH, float(point_3[1]) * HEIGHT
    return [
        [math.exp(-((i + 0.5 - y) ** 2 + (j + 0.5 - x) ** 2) / 2) for j in range(WIDTH)]
        for i in range(HEIGHT)
    ]


def test_equals_a_loop_over_equation_2():
    maps, points, total = some_maps(), some_points(), 0.0
    for blocks, of_image in zip(maps.tolist(), points, strict=True):
        for found in blocks:
            for found_HW, point_3 in zip(found, of_image, strict=True):
                pairs = zip(chain(*found_HW), chain(*wanted(point_3)), strict=True)
                norm = math.sqrt(sum((a - b) ** 2 for a, b in pairs) + 1e-8)
                total += float(point_3[2]) * norm
    assert landmark_loss(maps, points).item() == pytest.approx(total / 3, rel=1e-12)


def test_gradients_are_those_of_finite_differences():
    points = some_points()
    maps = some_maps().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: landmark_loss(x, points), maps)


def test_what_is_not_visible_has_neither_loss_nor_gradient():
    maps, points = some_maps().requires_grad_(), some_points()
    points[..., 2] = 0
    loss = landmark_loss(maps, points)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, maps)[0].any()


def test_a_map_that_is_right_has_a_finite_gradient():
    points = some_points()
    maps = heat_maps_of(points, HEIGHT, WIDTH)[:, None].repeat(1, 2, 1, 1, 1).requires_grad_()
    loss = landmark_loss(maps, points)
    assert loss.item() == pytest.approx(6 * 1e-4)  # sqrt(e) for each of 3 landmarks and 2 blocks
    assert torch.autograd.grad(loss, maps)[0].isfinite().all()


def test_images_without_landmarks_add_nothing_and_are_counted():
    """So that a step's mean does not depend on which worker has them."""
    maps, points = some_maps(4), some_points(4)
    points[2:, :, 2] = 0
    expected = landmark_loss(maps[:2], points[:2]) / 2
    torch.testing.assert_close(landmark_loss(maps, points), expected)


def test_the_norm_is_taken_in_float32_under_autocast():
    maps, points = some_maps().bfloat16(), some_points().float()
    assert landmark_loss(maps, points).dtype == torch.float32
    assert torch.equal(landmark_loss(maps, points), landmark_loss(maps.float(), points))
