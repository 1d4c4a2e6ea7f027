"""The loss of classifying values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.losses.combined import value_classification_loss


@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_equals_a_loop_over_equation_2(data, num_images, num_attributes, num_values):
    shape = (num_images, num_attributes, num_values)
    logits = data.draw(arrays(np.float32, shape, elements=st.floats(-20, 20, width=32)))
    values = data.draw(arrays(np.bool_, shape))
    terms = []
    for x_V, has_V in zip(
        logits.reshape(-1, num_values), values.reshape(-1, num_values), strict=True
    ):
        if has_V.any():
            total = sum(math.exp(x) for x in x_V.tolist())
            logs = [math.log(total) - x for x, has in zip(x_V.tolist(), has_V, strict=True) if has]
            terms.append(sum(logs) / len(logs))
    expected = sum(terms) / len(terms) if terms else 0
    loss = value_classification_loss(torch.from_numpy(logits), torch.from_numpy(values))
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)  # float32


def test_an_undecided_classifier_costs_the_logarithm_of_the_number_of_values():
    """Padded values have no probability, and attributes without a label do not count."""
    logits = torch.tensor([[[0.0, 0.0, -1e9], [3.0, 1.0, 7.0]]])
    values = torch.tensor([[[True, False, False], [False, False, False]]])
    assert value_classification_loss(logits, values).item() == pytest.approx(math.log(2))


def test_gradient():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    values = torch.zeros(2, 3, 4, dtype=torch.bool)
    values[0, 0, 1] = values[1, 2, [0, 3]] = True
    value_classification_loss(logits, values).backward()
    expected = torch.zeros(2, 3, 4)
    for image, attribute in ((0, 0), (1, 2)):
        wanted = values[image, attribute].float()
        probability = logits.detach()[image, attribute].softmax(dim=-1)
        expected[image, attribute] = (probability - wanted / wanted.sum()) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_without_a_label_there_is_no_loss_and_no_gradient():
    logits = torch.randn(2, 3, 4).requires_grad_()
    loss = value_classification_loss(logits, torch.zeros(2, 3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_half_precision_logits_give_a_full_precision_loss():
    logits = torch.tensor([[[1.5, -0.25]]])  # both exact in bfloat16
    values = torch.tensor([[[True, False]]])
    loss = value_classification_loss(logits.bfloat16(), values)
    assert torch.equal(loss, value_classification_loss(logits, values))
