"""FashionSearchNet-v2's loss of triplets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.losses.ranking import soft_triplet_loss

TRIPLETS = arrays(
    np.float64,
    st.tuples(st.just(3), st.integers(1, 5), st.integers(1, 4)),
    elements=st.floats(-3, 3),
)


@given(TRIPLETS, st.floats(0.1, 2))
def test_equals_a_loop_over_equation_4(slots_3BD, temperature):
    total = 0.0
    for anchor, positive, negative in zip(*slots_3BD, strict=True):
        to_positive = math.exp(math.dist(anchor, positive) / temperature)
        to_negative = math.exp(math.dist(anchor, negative) / temperature)
        total += to_positive / (to_positive + to_negative)
    loss = soft_triplet_loss(*torch.from_numpy(slots_3BD), temperature=temperature)
    assert loss.item() == pytest.approx(total / slots_3BD.shape[1], abs=1e-9)


@given(TRIPLETS)
def test_what_the_paper_squares_is_twice_its_square(slots_3BD):
    """||(d+, d- - 1)||^2 = 2 (d+)^2, and d- is d+ with positive and negative exchanged."""
    anchor, positive, negative = torch.from_numpy(slots_3BD[:, :1])
    plus = soft_triplet_loss(anchor, positive, negative, temperature=1.0).item()
    minus = soft_triplet_loss(anchor, negative, positive, temperature=1.0).item()
    assert plus**2 + (minus - 1) ** 2 == pytest.approx(2 * plus**2)


def test_equal_distances_are_a_half_and_it_grows_with_the_positives_distance():
    def at(to_positive: float, to_negative: float) -> float:
        points = torch.tensor([[0.0], [to_positive], [-to_negative]])
        return soft_triplet_loss(*points[:, None], temperature=1.0).item()

    assert at(0.7, 0.7) == 0.5
    losses = [at(distance, 1.0) for distance in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert losses == sorted(set(losses))
    assert at(1.0, 2.0) == pytest.approx(1 / (1 + math.e))


def test_distances_of_a_thousand_do_not_overflow():
    far = torch.tensor([[1000.0]])
    origin = torch.zeros(1, 1)
    assert soft_triplet_loss(origin, far, origin, temperature=1.0).item() == 1
    assert soft_triplet_loss(origin, origin, far, temperature=1.0).item() == 0


def test_gradient_also_where_anchor_and_positive_are_one():
    drawn = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slots = [s.requires_grad_() for s in torch.nn.functional.normalize(drawn, dim=-1)]
    assert torch.autograd.gradcheck(
        lambda a, p, n: soft_triplet_loss(a, p, n, temperature=0.3), slots
    )
    anchor = torch.ones(1, 3, requires_grad=True)
    soft_triplet_loss(anchor, anchor.detach(), -anchor.detach(), temperature=0.3).backward()
    assert anchor.grad.isfinite().all()
