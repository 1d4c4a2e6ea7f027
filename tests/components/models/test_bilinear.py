"""Compact bilinear pooling: what it is by definition, and what it approximates."""

import pytest
import torch
from comparison import relative_error
from torch import Tensor

from components.models.bilinear import Bilinear, CompactBilinear, CountSketch

torch.set_num_threads(1)

CHANNELS, OTHERS, DIM = 5, 3, 16
NUM_DRAWS = 400


def maps(seed: int, side: int = 1) -> tuple[Tensor, Tensor]:
    """Returns two maps of two images, float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, CHANNELS, side, side), (2, OTHERS, side, side))
    first, second = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return first, second


def compact(dim: int = DIM, *, seed: int = 0) -> CompactBilinear:
    return CompactBilinear(CHANNELS, OTHERS, dim=dim, seed=seed).double()


def test_it_is_the_sketch_of_all_products():
    """With the signs s_i s_j and the places p_i + p_j, counted round."""
    pooling, (first, second) = compact(), maps(1, side=3)
    expected = torch.zeros(2, DIM, dtype=torch.float64)
    for image, row, column in torch.cartesian_prod(*map(torch.arange, (2, 3, 3))).tolist():
        for i in range(CHANNELS):
            for j in range(OTHERS):
                place = (pooling.first.places[i] + pooling.second.places[j]) % DIM
                sign = pooling.first.signs[i] * pooling.second.signs[j]
                product = first[image, i, row, column] * second[image, j, row, column]
                expected[image, place] += sign * product / 9
    assert relative_error(pooling(first, second), expected) < 1e-12


@pytest.mark.parametrize("dim", [DIM, 17])
def test_it_is_the_product_of_spectra_at_every_place(dim):
    """As the paper computes it (Eq. 11): a transform of each sketch, and back."""
    pooling, pair = compact(dim), maps(7, side=3)
    spectra = []
    for each, channels in zip((pooling.first, pooling.second), pair, strict=True):
        vectors = channels.flatten(2).mT * each.signs
        sketches = vectors.new_zeros(*vectors.shape[:2], dim).index_add(-1, each.places, vectors)
        spectra.append(torch.fft.rfft(sketches))
    expected = torch.fft.irfft(spectra[0] * spectra[1], n=dim).mean(dim=1)
    assert relative_error(pooling(*pair), expected) < 1e-12


def test_all_products_are_the_outer_product_of_each_place():
    first, second = maps(2, side=2)
    places = [
        torch.stack([torch.outer(a, b).flatten() for a, b in zip(*pair, strict=True)])
        for pair in zip(first.flatten(2).unbind(2), second.flatten(2).unbind(2), strict=True)
    ]
    assert relative_error(Bilinear(CHANNELS, OTHERS)(first, second), sum(places) / 4) < 1e-12


def test_products_of_sketches_are_on_average_those_of_all_products():
    """E <CBP(x), CBP(y)> = <x, y> of the whole vectors: 400 draws of signs and places."""
    first, second = maps(3)
    first[1], second[1] = first[0] + first[1] / 2, second[0] + second[1] / 2  # not far apart
    whole = Bilinear(CHANNELS, OTHERS)(first, second)
    expected = float(whole[0] @ whole[1])
    found = []
    for seed in range(NUM_DRAWS):
        sketched = compact(64, seed=seed)(first, second)
        found.append(float(sketched[0] @ sketched[1]))
    found = torch.tensor(found)
    standard_error = float(found.std()) / NUM_DRAWS**0.5
    assert abs(float(found.mean()) - expected) < 4 * standard_error
    assert standard_error < abs(expected) / 10  # or else nothing would be told


def test_more_numbers_approximate_better():
    first, second = maps(3)
    whole = Bilinear(CHANNELS, OTHERS)(first, second)
    exact = float(whole[0] @ whole[1])
    errors = []
    for dim in (16, 256):
        sketched = (compact(dim, seed=seed)(first, second) for seed in range(100))
        errors.append(sum((float(a @ b) - exact) ** 2 for a, b in sketched))
    assert errors[1] < errors[0] / 4  # the variance falls as 1 / d


def test_places_and_signs_are_drawn_once_and_saved():
    pooling, other = compact(seed=1), compact(seed=2)
    pair = maps(4)
    assert torch.equal(pooling(*pair), pooling(*pair))
    assert torch.equal(pooling(*pair), compact(seed=1)(*pair))
    assert not torch.allclose(pooling(*pair), other(*pair))
    other.load_state_dict(pooling.state_dict())
    assert torch.equal(pooling(*pair), other(*pair))


def test_signs_and_places_are_drawn_uniformly():
    sketch = CountSketch(20_000, 8, generator=torch.Generator().manual_seed(0))
    assert abs(float(sketch.signs.mean())) < 0.03  # four standard errors
    assert sketch.signs.unique().tolist() == [-1, 1]
    counts = torch.bincount(sketch.places, minlength=8)
    assert ((counts - 2500).abs() < 200).all()


@pytest.mark.parametrize("dim", [16, 17])
def test_gradients_are_those_of_finite_differences(dim):
    pair = [each.requires_grad_() for each in maps(5, side=2)]
    assert torch.autograd.gradcheck(compact(dim), pair)


def test_half_precision_is_sketched_in_float32():
    pooling = CompactBilinear(CHANNELS, OTHERS, dim=DIM)
    first, second = (each.bfloat16() for each in maps(6, side=2))
    assert torch.equal(pooling(first, second), pooling(first.float(), second.float()))
