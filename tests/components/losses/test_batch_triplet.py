"""The triplet loss over all triplets of a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from loss_batches import CLOSE, anchors, one_value_each, unit_vectors

from components.losses.ranking import batch_triplet_loss, share_of_pairs_that_count, triplet_loss


def loop(embeddings_BKD, values_BKV, *, margin):
    """Every triplet of the batch by itself; the mean of those that have a loss."""
    losses = [
        margin - similarity[p] + similarity[n]
        for similarity, positives, negatives in anchors(embeddings_BKD, values_BKV)
        for p in positives
        for n in negatives
    ]
    active = [loss for loss in losses if loss > 0]
    return sum(active) / len(active) if active else 0 * embeddings_BKD.sum()


@given(
    values=arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4))),
    seed=st.integers(0, 100),
    margin=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_equals_a_loop_over_the_definition(values, seed, margin):
    """Random values: several per image, none, no positive, no negative all occur."""
    embeddings = unit_vectors(*values.shape[:2], 4, seed=seed).requires_grad_()
    values = torch.from_numpy(values)
    loss = batch_triplet_loss(embeddings, values, margin=margin).double()
    expected = loop(embeddings, values, margin=margin)
    torch.testing.assert_close(loss, expected, **CLOSE)
    (found,) = torch.autograd.grad(loss, embeddings)
    (wanted,) = torch.autograd.grad(expected, embeddings)
    torch.testing.assert_close(found, wanted, **CLOSE)


@given(
    values=arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4))),
    seed=st.integers(0, 100),
    margin=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_the_share_of_pairs_that_count_equals_a_loop(values, seed, margin):
    embeddings, values = unit_vectors(*values.shape[:2], 4, seed=seed), torch.from_numpy(values)
    counts = [
        bool(similarity[p] <= max(similarity[n] for n in negatives) + margin)
        for similarity, positives, negatives in anchors(embeddings, values)
        for p in positives
    ]
    share = share_of_pairs_that_count(embeddings, values, margin=margin).item()
    assert share == pytest.approx(sum(counts) / max(len(counts), 1))


def test_all_pairs_of_one_point_count_and_none_of_values_far_apart():
    values = one_value_each([0, 0, 1, 1])
    point = torch.tensor([1.0, 0.0]).expand(4, 1, 2)
    apart = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    shares = [share_of_pairs_that_count(x, values, margin=0.2).item() for x in (point, apart)]
    assert shares == [1, 0]


def test_one_triplet_costs_what_the_papers_triplet_loss_says():
    """Two anchors of one pair and its negative: the mean over the two, both with a loss."""
    embeddings = unit_vectors(3, 1, 4)
    first, second, negative = embeddings[:, 0].split(1)
    both = [
        triplet_loss(first, second, negative, margin=2.0),
        triplet_loss(second, first, negative, margin=2.0),
    ]
    loss = batch_triplet_loss(embeddings, one_value_each([0, 0, 1]), margin=2.0)
    assert loss.item() == pytest.approx(sum(both).item() / 2, rel=1e-6)


def test_triplets_that_hold_by_the_margin_do_not_thin_out_the_mean():
    """s+ = 1, negatives at 0 and -1, margin 1.5: each anchor has a loss of 0.5 and none."""
    embeddings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
    loss = batch_triplet_loss(embeddings, one_value_each([0, 0, 1, 2]), margin=1.5)
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 0, 0], [-1, -1, -1], [0, 0, -1]])
def test_a_batch_without_a_triplet_costs_nothing(values):
    embeddings = unit_vectors(3, 1, 4).requires_grad_()
    loss = batch_triplet_loss(embeddings, one_value_each(values), margin=2.0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))
