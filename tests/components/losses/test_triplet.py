"""The triplet ranking loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.losses.ranking import share_of_triplets_that_count, triplet_loss

TRIPLETS = arrays(
    np.float64,
    st.tuples(st.just(3), st.integers(1, 5), st.integers(1, 4)),
    elements=st.floats(-1, 1),
)


@given(TRIPLETS, st.floats(0, 2))
def test_equals_a_loop_over_the_definition(slots_3BD, margin):
    total = 0.0
    for anchor, positive, negative in zip(*slots_3BD, strict=True):
        similarity_to_positive = sum(a * p for a, p in zip(anchor, positive, strict=True))
        similarity_to_negative = sum(a * n for a, n in zip(anchor, negative, strict=True))
        total += max(0.0, margin - similarity_to_positive + similarity_to_negative)
    loss = triplet_loss(*torch.from_numpy(slots_3BD), margin=margin)
    assert loss.item() == pytest.approx(total / slots_3BD.shape[1], abs=1e-12)


def test_a_wrong_and_a_right_triplet_by_hand():
    """Cosines 0.6 and 0.8: 0.2 - 0.6 + 0.8 = 0.4. Cosines 0.8 and 0.6: exactly the margin, 0."""
    near, far = [0.8, 0.6], [0.6, 0.8]
    anchors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    loss = triplet_loss(anchors, torch.tensor([far, near]), torch.tensor([near, far]), margin=0.2)
    torch.testing.assert_close(loss, torch.tensor(0.2))


def test_the_triplets_that_count_are_those_with_a_loss():
    """Cosines 0.6 and 0.8 count; 0.8 and 0.6 do for a margin of 0.3, not for one of 0.1."""
    near, far = torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.8])
    anchors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    slots = anchors, torch.stack([far, near]), torch.stack([near, far])
    shares = [share_of_triplets_that_count(*slots, margin=margin).item() for margin in (0.1, 0.3)]
    assert shares == [0.5, 1.0]


def test_gradient():
    # the margin of 2 keeps every triplet of unit vectors off the hinge's corner
    drawn = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slots = [s.requires_grad_() for s in torch.nn.functional.normalize(drawn, dim=-1)]
    assert torch.autograd.gradcheck(lambda a, p, n: triplet_loss(a, p, n, margin=2.0), slots)


def test_a_satisfied_triplet_has_no_gradient():
    anchor = torch.tensor([[1.0, 0.0]], requires_grad=True)
    triplet_loss(anchor, anchor.detach(), -anchor.detach(), margin=0.2).backward()
    assert not anchor.grad.any()
