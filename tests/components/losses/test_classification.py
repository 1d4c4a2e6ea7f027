"""Branch 1's loss."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.losses.combined import attribute_classification_loss


@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_equals_a_loop_over_equation_7(data, num_images, num_attributes):
    shape = (num_images, num_attributes)
    logits = data.draw(arrays(np.float32, shape, elements=st.floats(-20, 20, width=32)))
    labelled = data.draw(arrays(np.bool_, shape))
    terms = []
    for x, y in zip(logits.ravel().tolist(), labelled.ravel().tolist(), strict=True):
        terms.append(math.log1p(math.exp(-x if y else x)))  # -log sigma(x), -log(1 - sigma(x))
    loss = attribute_classification_loss(torch.from_numpy(logits), torch.from_numpy(labelled))
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5, abs=1e-6)  # float32


def test_an_undecided_branch_costs_log_2_per_attribute():
    loss = attribute_classification_loss(torch.zeros(3, 8), torch.eye(3, 8).bool())
    assert loss.item() == pytest.approx(math.log(2))


def test_gradient_is_probability_less_label_over_their_number():
    logits = torch.tensor([[0.5, -2.0, 3.0]], requires_grad=True)
    labelled = torch.tensor([[True, False, True]])
    attribute_classification_loss(logits, labelled).backward()
    expected = (torch.sigmoid(logits.detach()) - labelled.float()) / 3
    torch.testing.assert_close(logits.grad, expected)


def test_half_precision_logits_give_a_full_precision_loss():
    logits = torch.tensor([[1.5, -0.25]])  # both exact in bfloat16
    labelled = torch.tensor([[True, False]])
    loss = attribute_classification_loss(logits.bfloat16(), labelled)
    assert torch.equal(loss, attribute_classification_loss(logits, labelled))
