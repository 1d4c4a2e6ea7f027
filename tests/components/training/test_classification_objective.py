"""The objective `classification`, against loops over images and classes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from components.training.classification import Classification
from components.training.feed import Batch

torch.set_num_threads(1)

NUM_VALUES, NUM_ITEMS, DIM, TEMPERATURE = 3, 6, 5, 0.2
ITEMS = [4, 0, -1, 4]
VALUES = [[0], [], [1, 2], [2]]


def batch(candidates: list[int] | None = None) -> Batch:
    """Returns four images asked for a listed attribute, and for their item."""
    values = torch.zeros(4, 2, 4, dtype=torch.bool)
    for image, of_image in enumerate(VALUES):
        values[image, 0, of_image] = True
    empty = torch.empty(4, 0)
    return Batch(
        pixels=empty,
        draws=empty,
        attributes=torch.tensor([[0, 2]] * 4),
        labelled=empty,
        values=values,
        listed=empty,
        known=empty,
        items=torch.tensor(ITEMS),
        candidates=torch.tensor(candidates or [], dtype=torch.int64),
        landmarks=empty,
    )


@pytest.fixture
def objective() -> Classification:
    torch.manual_seed(1)
    return Classification([NUM_VALUES, NUM_ITEMS], DIM, identity=1, temperature=TEMPERATURE)


def embeddings() -> Tensor:
    drawn = torch.randn(4, 2, DIM, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(drawn, dim=-1)


def expected(objective: Classification, made: Tensor, compared: list[int]) -> tuple[Tensor, float]:
    """Returns the loss and the share that is wrong, one image and one class at a time."""
    losses, wrong = [], []
    for image in range(4):
        for k, classes, own in (
            (0, list(range(NUM_VALUES)), VALUES[image]),
            (1, compared, [ITEMS[image]] if ITEMS[image] >= 0 else []),
        ):
            if not own:
                continue
            logits = {}
            for c in classes:
                vector = objective.vectors[k][c]
                cosine = made[image, k] @ vector / (vector @ vector).sqrt()
                logits[c] = cosine / TEMPERATURE
            total = sum(torch.exp(logit) for logit in logits.values())
            losses.append(sum(torch.log(total) - logits[c] for c in own) / len(own))
            wrong.append(max(logits, key=lambda c: logits[c].item()) not in own)
    return sum(losses) / len(losses), sum(wrong) / len(wrong)


@pytest.mark.parametrize("compared", [None, [0, 4], [0, 2, 4, 5]])
def test_equals_a_loop_over_images_and_classes(objective, compared):
    """Gradients too: of embeddings, and of the vectors of classes."""
    made = embeddings().requires_grad_()
    found = objective(made, batch(compared))
    loss, wrong = expected(objective, made, compared or list(range(NUM_ITEMS)))
    torch.testing.assert_close(found.loss, loss)
    assert found.active_share.item() == pytest.approx(wrong)
    wanted = [made, *objective.parameters()]
    slopes, others = (torch.autograd.grad(x, wanted) for x in (found.loss, loss))
    torch.testing.assert_close(slopes, others)
    assert not found.active_share.requires_grad


def test_a_sample_leaves_the_vectors_of_others_alone(objective):
    objective(embeddings(), batch([0, 2, 4])).loss.backward()
    moved = objective.vectors[1].grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, False, True, False, True, False]


def test_nothing_labelled_costs_nothing(objective):
    nothing = replace(
        batch(), values=torch.zeros(4, 2, 4, dtype=torch.bool), items=torch.full((4,), -1)
    )
    found = objective(embeddings(), nothing)
    assert found.loss.item() == found.active_share.item() == 0
    found.loss.backward()
    assert not any(vectors.grad.any() for vectors in objective.vectors)


def test_lengths_of_class_vectors_do_not_count(objective):
    before = objective(embeddings(), batch()).loss
    objective.vectors[1].data *= 7
    torch.testing.assert_close(objective(embeddings(), batch()).loss, before)


def test_cosines_are_not_rounded_under_autocast(objective):
    plain = objective(embeddings(), batch()).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(objective(embeddings(), batch()).loss, plain)
