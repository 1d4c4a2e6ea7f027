"""The supervised contrastive loss per attribute."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from loss_batches import CLOSE, anchors, one_value_each, unit_vectors
from pytorch_metric_learning.losses import SupConLoss

from components.losses.ranking import supervised_contrastive_loss


def loop(embeddings_BKD, values_BKV, *, temperature, margin):
    """Barbano et al.'s Eq. 8, one anchor, attribute and positive at a time, and m/t on top."""
    losses = []
    for similarity, positives, negatives in anchors(embeddings_BKD, values_BKV):
        scores = {b: s / temperature for b, s in similarity.items()}
        against = sum(torch.exp(scores[n]) for n in negatives)
        terms = [
            margin / temperature
            - torch.log(
                torch.exp(scores[p]) / (torch.exp(scores[p] - margin / temperature) + against)
            )
            for p in positives
        ]
        losses.append(sum(terms) / len(positives))
    return sum(losses) / len(losses) if losses else 0 * embeddings_BKD.sum()


@given(
    values=arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4))),
    seed=st.integers(0, 100),
    temperature=st.sampled_from([0.1, 0.5, 1.0]),
    margin=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_equals_a_loop_over_the_definition(values, seed, temperature, margin):
    """Random values: several per image, none, no positive, no negative all occur."""
    numbers = {"temperature": temperature, "margin": margin}
    embeddings = unit_vectors(*values.shape[:2], 4, seed=seed).requires_grad_()
    values = torch.from_numpy(values)
    loss = supervised_contrastive_loss(embeddings, values, **numbers).double()
    expected = loop(embeddings, values, **numbers)
    torch.testing.assert_close(loss, expected, **CLOSE)
    (found,) = torch.autograd.grad(loss, embeddings)
    (wanted,) = torch.autograd.grad(expected, embeddings)
    torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_two_alike_and_one_at_right_angles_by_hand(margin):
    """s+ = 1, s- = 0, t = 1: both anchors cost log(1 + e^(0 - 1 + m)); the third has none."""
    embeddings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    loss = supervised_contrastive_loss(
        embeddings, one_value_each([0, 0, 1]), temperature=1.0, margin=margin
    )
    assert loss.item() == pytest.approx(math.log(1 + math.exp(margin - 1)), rel=1e-6)


def test_it_is_least_at_0_as_uncertainty_weighting_needs():
    """The best there is: positives alike, negatives opposite."""
    embeddings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[-1.0, 0.0]]])
    loss = supervised_contrastive_loss(
        embeddings, one_value_each([0, 0, 1]), temperature=0.1, margin=0.7
    )
    assert 0 <= loss.item() < 1e-5


def test_without_margin_and_with_one_positive_it_is_that_of_pytorch_metric_learning():
    """For one attribute and one value per image; several positives they set against each other."""
    numbers = [0, 1, 2, 1, 0]  # the third has no positive
    embeddings = unit_vectors(len(numbers), 1, 8).requires_grad_()
    loss = supervised_contrastive_loss(
        embeddings, one_value_each(numbers), temperature=0.1, margin=0.0
    )
    expected = SupConLoss(temperature=0.1)(embeddings[:, 0], torch.tensor(numbers))
    torch.testing.assert_close(loss.double(), expected, **CLOSE)
    (found,) = torch.autograd.grad(loss, embeddings)
    (wanted,) = torch.autograd.grad(expected, embeddings)
    # they normalise once more, which takes the gradient along the embedding away
    along = (found * embeddings).sum(dim=-1, keepdim=True) * embeddings
    torch.testing.assert_close(found - along, wanted, **CLOSE)


def test_the_mean_is_over_anchors_and_not_over_attributes():
    """Attribute 0 has 2 anchors that count, attribute 1 has 4."""
    embeddings = unit_vectors(4, 2, 8)
    values = torch.cat([one_value_each([0, 0, 1, -1]), one_value_each([0, 0, 1, 1])], dim=1)
    numbers = {"temperature": 0.5, "margin": 0.1}
    first, second = (
        supervised_contrastive_loss(embeddings[:, [k]], values[:, [k]], **numbers) for k in (0, 1)
    )
    both = supervised_contrastive_loss(embeddings, values, **numbers)
    torch.testing.assert_close(both, (2 * first + 4 * second) / 6)


def test_an_image_without_a_label_is_as_if_it_were_not_there():
    embeddings = unit_vectors(5, 1, 8)
    numbers = {"temperature": 0.1, "margin": 0.2}
    among_all = supervised_contrastive_loss(
        embeddings, one_value_each([0, 0, -1, 1, -1]), **numbers
    )
    alone = supervised_contrastive_loss(embeddings[[0, 1, 3]], one_value_each([0, 0, 1]), **numbers)
    torch.testing.assert_close(among_all, alone)


@pytest.mark.parametrize(
    "values",
    [[0, 1, 2], [0, 0, 0], [-1, -1, -1], [0, 0, -1]],
    ids=["no positive", "no negative", "no label", "no negative among the labelled"],
)
def test_a_batch_without_a_pair_to_compare_costs_nothing(values):
    embeddings = unit_vectors(3, 1, 4).requires_grad_()
    loss = supervised_contrastive_loss(
        embeddings, one_value_each(values), temperature=0.01, margin=0.2
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


def test_gradient():
    # float32 inside: wide steps, and a tolerance of what rounding leaves of a difference quotient
    values = torch.tensor([[[1, 0, 0]], [[1, 1, 0]], [[0, 1, 0]], [[0, 0, 1]], [[0, 0, 0]]]).bool()
    assert torch.autograd.gradcheck(
        lambda e: supervised_contrastive_loss(e, values, temperature=1.0, margin=0.2).double(),
        unit_vectors(5, 1, 4).requires_grad_(),
        eps=1e-2,
        atol=1e-3,
        rtol=1e-3,
    )


def test_a_small_temperature_overflows_nothing():
    embeddings = unit_vectors(6, 1, 4).requires_grad_()
    loss = supervised_contrastive_loss(
        embeddings, one_value_each([0, 0, 1, 1, 2, 2]), temperature=1e-3, margin=0.2
    )
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()


def test_autocast_does_not_round_the_similarities():
    """Divided by a small temperature, bfloat16's eight bits would be whole units of a logit."""
    embeddings = unit_vectors(8, 2, 16).float()
    values = torch.cat([one_value_each([0, 1, 2, 0] * 2), one_value_each([1, 1, 0, 0] * 2)], dim=1)
    expected = supervised_contrastive_loss(embeddings, values, temperature=0.1, margin=0.2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_contrastive_loss(embeddings, values, temperature=0.1, margin=0.2)
    torch.testing.assert_close(loss, expected)
