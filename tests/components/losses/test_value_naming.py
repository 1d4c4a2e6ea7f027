"""AHBN's Eq. 1: every value a question, of the attributes that an image is labelled for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.losses.combined import value_naming_loss


@given(st.data(), st.integers(1, 3), st.integers(1, 5))
def test_equals_a_loop_over_equation_1(data, num_images, num_values):
    shape = (num_images, num_values)
    logits = data.draw(arrays(np.float32, shape, elements=st.floats(-20, 20, width=32)))
    has, known = (data.draw(arrays(np.bool_, shape)) for _ in range(2))
    total = 0.0
    for x_L, y_L, known_L in zip(logits.astype(float), has, known, strict=True):
        terms = []
        for x, y in zip(x_L[known_L], y_L[known_L], strict=True):
            p = 1 / (1 + math.exp(-x))
            terms.append(-math.log(p) if y else -math.log1p(-p) if p < 1 else x)
        total += sum(terms) / max(len(terms), 1)
    loss = value_naming_loss(*map(torch.from_numpy, (logits, has, known)))
    assert loss.item() == pytest.approx(total / num_images, rel=1e-4, abs=1e-5)  # float32


def test_what_is_not_known_has_no_gradient():
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    has = torch.tensor([[True, False, False], [True, True, False]])
    known = torch.tensor([[True, True, False], [False, False, False]])
    (slopes,) = torch.autograd.grad(value_naming_loss(logits, has, known), logits)
    assert (slopes != 0).tolist() == known.tolist()


def test_gradients_are_those_of_finite_differences():
    """Of float32 sums: steps are large."""
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    has = torch.rand(3, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    known = torch.rand(3, 4, generator=torch.Generator().manual_seed(2)) < 0.7
    (found,) = torch.autograd.grad(value_naming_loss(logits.requires_grad_(), has, known), logits)
    expected = (
        (logits.sigmoid() - has.float()) * known / known.sum(1, keepdim=True).clamp(min=1) / 3
    )
    torch.testing.assert_close(found, expected)
