"""The hourglass, read slowly; heat maps and where they are highest."""

import math

import pytest
import torch
from comparison import ROUNDING, assert_same, randomise
from paper_equations import normalised, positions
from torch import Tensor, nn
from torch.nn import functional

from components.models.hourglass import Hourglass, Residual, StackedHourglass, maxima

torch.set_num_threads(1)

CHANNELS = 16


def convolved(conv: nn.Conv2d, map_CHW: Tensor) -> Tensor:
    """A convolution with zeros around the map."""
    size = conv.kernel_size[0]
    padded = functional.pad(map_CHW, [size // 2] * 4)
    weight = conv.weight.flatten(1)
    at = [padded[:, y : y + size, x : x + size].flatten() for y, x in positions(map_CHW)]
    filtered = torch.stack([weight @ window + conv.bias for window in at], dim=1)
    return filtered.view(-1, *map_CHW.shape[1:])


def residual(module: Residual, map_CHW: Tensor) -> Tensor:
    """Three times BN, ReLU and a convolution, added to the map."""
    made = map_CHW
    layers = list(module.convolutions)
    for norm, conv in zip(layers[::3], layers[2::3], strict=True):
        at = [normalised(norm, made[:, y, x]) for y, x in positions(made)]
        relu = torch.relu(torch.stack(at, dim=1).view_as(made))
        made = convolved(conv, relu)
    beside = map_CHW if isinstance(module.skip, nn.Identity) else convolved(module.skip, map_CHW)
    return beside + made


def halved(map_CHW: Tensor) -> Tensor:
    """The highest of four cells, fewer at an edge."""
    rows, columns = (math.ceil(side / 2) for side in map_CHW.shape[1:])
    cells = [
        map_CHW[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].amax(dim=(1, 2))
        for y in range(rows)
        for x in range(columns)
    ]
    return torch.stack(cells, dim=1).view(-1, rows, columns)


def enlarged(map_CHW: Tensor, like_CHW: Tensor) -> Tensor:
    """Each cell of the larger map has the number of the one that it lies in."""
    few, many = map_CHW.shape[1:], like_CHW.shape[1:]
    cells = [
        map_CHW[:, y * few[0] // many[0], x * few[1] // many[1]] for y, x in positions(like_CHW)
    ]
    return torch.stack(cells, dim=1).view_as(like_CHW)


def hourglass(module: Hourglass, map_CHW: Tensor) -> Tensor:
    """Newell et al., Fig. 3: beside, and down, in and up."""
    down = residual(module.down, halved(map_CHW))
    read = hourglass if isinstance(module.inside, Hourglass) else residual
    up = residual(module.up, read(module.inside, down))
    return residual(module.beside, map_CHW) + enlarged(up, map_CHW)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 9)])
def test_an_hourglass_is_that_of_its_figure(height, width):
    module = randomise(Hourglass(CHANNELS, depth=2))
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, CHANNELS, height, width, generator=generator, dtype=torch.float64)
    maps.requires_grad_()
    expected = torch.stack([hourglass(module, each) for each in maps])
    assert_same(module, module(maps), expected, maps)


@pytest.mark.parametrize("num_landmarks", [0, 3])
def test_a_block_gets_what_the_one_before_got_made_and_found(num_landmarks):
    network = randomise(StackedHourglass(CHANNELS, num_blocks=3, num_landmarks=num_landmarks))
    images = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    made, heat_maps = network(images)
    got, expected = network.stem(images), []
    assert got.shape == (1, CHANNELS, 8, 16)
    for number, block in enumerate(network.blocks):
        found = block(got)
        handed = network.from_maps[number](found) if number < 2 else 0
        if num_landmarks:
            expected.append(network.heads[number](found))
            if number < 2:
                handed = handed + network.from_heads[number](expected[-1])
        got = got + handed
    torch.testing.assert_close(made, found, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(heat_maps, expected, rtol=ROUNDING, atol=ROUNDING)
    unused = [name for name, p in network.named_parameters() if not p.numel()]
    assert not unused


@pytest.mark.parametrize("size_px", [32, 48, 64, 80, 96, 128])
def test_images_of_every_size_have_a_map_of_a_quarter(size_px):
    network = StackedHourglass(CHANNELS, num_blocks=1, num_landmarks=2).eval()
    with torch.no_grad():
        made, (heat_maps,) = network(torch.zeros(1, 3, size_px, size_px))
    assert made.shape == (1, CHANNELS, size_px // 4, size_px // 4)
    assert heat_maps.shape == (1, 2, size_px // 4, size_px // 4)


def test_without_its_last_head_it_makes_the_same_map():
    network = StackedHourglass(CHANNELS, num_blocks=2, num_landmarks=2).eval()
    images = torch.randn(1, 3, 32, 32)
    before = network(images)
    network.drop_last_head()
    after = network(images)
    assert torch.equal(after[0], before[0])
    assert [torch.equal(x, y) for x, y in zip(after[1], before[1], strict=False)] == [True]


def test_the_maximum_is_the_middle_of_its_cell():
    maps = torch.zeros(1, 2, 4, 8)
    maps[0, 0, 1, 6] = 1
    maps[0, 1, 3, 0] = 1
    assert maxima(maps).tolist() == [[[6.5 / 8, 1.5 / 4], [0.5 / 8, 3.5 / 4]]]
