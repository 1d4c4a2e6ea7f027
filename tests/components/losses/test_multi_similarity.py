"""The multi-similarity loss per attribute."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from loss_batches import CLOSE, anchors, one_value_each, unit_vectors
from pytorch_metric_learning.losses import MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner

from components.losses.ranking import multi_similarity_loss

NUMBERS = {"positive_scale": 2.0, "negative_scale": 10.0, "threshold": 0.5}


def loop(embeddings_BKD, values_BKV, *, margin, positive_scale, negative_scale, threshold):
    """Wang et al., Eq. 13 to 15: mine the pairs of an anchor, then weigh them."""
    losses = []
    for similarity, positives, negatives in anchors(embeddings_BKD, values_BKV):
        closest_negative = max(similarity[n] for n in negatives)
        farthest_positive = min(similarity[p] for p in positives)
        pulled = [
            torch.exp(-positive_scale * (similarity[p] - threshold))
            for p in positives
            if similarity[p] < closest_negative + margin
        ]
        pushed = [
            torch.exp(negative_scale * (similarity[n] - threshold))
            for n in negatives
            if similarity[n] > farthest_positive - margin
        ]
        one = torch.ones((), dtype=torch.float64)
        losses.append(
            torch.log(one + sum(pulled)) / positive_scale
            + torch.log(one + sum(pushed)) / negative_scale
        )
    return sum(losses) / len(losses) if losses else 0 * embeddings_BKD.sum()


@given(
    values=arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4))),
    seed=st.integers(0, 100),
    margin=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_equals_a_loop_over_the_definition(values, seed, margin):
    """Random values: several per image, none, no positive, no negative all occur."""
    embeddings = unit_vectors(*values.shape[:2], 4, seed=seed).requires_grad_()
    values = torch.from_numpy(values)
    loss = multi_similarity_loss(embeddings, values, margin=margin, **NUMBERS).double()
    expected = loop(embeddings, values, margin=margin, **NUMBERS)
    torch.testing.assert_close(loss, expected, **CLOSE)
    (found,) = torch.autograd.grad(loss, embeddings, allow_unused=True)
    (wanted,) = torch.autograd.grad(expected + 0 * embeddings.sum(), embeddings)
    torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0])
def test_is_that_of_pytorch_metric_learning(margin):
    """For one attribute and one value per image; there, too, each image is an anchor."""
    numbers = [0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 2, 1]
    embeddings = unit_vectors(len(numbers), 1, 8).requires_grad_()
    loss = multi_similarity_loss(embeddings, one_value_each(numbers), margin=margin, **NUMBERS)
    theirs, labels = embeddings[:, 0], torch.tensor(numbers)
    mined = MultiSimilarityMiner(epsilon=margin)(theirs, labels)
    expected = MultiSimilarityLoss(alpha=2.0, beta=10.0, base=0.5)(theirs, labels, mined)
    torch.testing.assert_close(loss.double(), expected, **CLOSE)
    (found,) = torch.autograd.grad(loss, embeddings)
    (wanted,) = torch.autograd.grad(expected, embeddings)
    # they normalise once more, which takes the gradient along the embedding away
    along = (found * embeddings).sum(dim=-1, keepdim=True) * embeddings
    torch.testing.assert_close(found - along, wanted, **CLOSE)


def test_a_pair_and_its_negative_by_hand():
    """s+ = 1 for both anchors, s- = 0; the third image has no positive. Margin 2 mines all."""
    embeddings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    loss = multi_similarity_loss(embeddings, one_value_each([0, 0, 1]), margin=2.0, **NUMBERS)
    pulled = math.log(1 + math.exp(-2 * 0.5)) / 2
    pushed = math.log(1 + math.exp(10 * -0.5)) / 10
    assert loss.item() == pytest.approx(pulled + pushed, rel=1e-5)


def test_pairs_in_order_by_more_than_the_margin_are_left_alone():
    embeddings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]).requires_grad_()
    loss = multi_similarity_loss(embeddings, one_value_each([0, 0, 1]), margin=0.9, **NUMBERS)
    loss.backward()
    assert loss.item() == 0
    assert not embeddings.grad.any()


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 0, 0], [-1, -1, -1], [0, 0, -1]])
def test_a_batch_without_a_pair_to_compare_costs_nothing(values):
    embeddings = unit_vectors(3, 1, 4).requires_grad_()
    loss = multi_similarity_loss(embeddings, one_value_each(values), margin=0.1, **NUMBERS)
    loss.backward()
    assert loss.item() == 0
    assert not embeddings.grad.any()


def test_a_large_scale_overflows_nothing():
    embeddings = unit_vectors(6, 1, 4).requires_grad_()
    numbers = NUMBERS | {"negative_scale": 1e4}
    loss = multi_similarity_loss(
        embeddings, one_value_each([0, 0, 1, 1, 2, 2]), margin=1, **numbers
    )
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()
