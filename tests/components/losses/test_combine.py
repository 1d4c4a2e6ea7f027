"""One loss from two."""

import math

import pytest
import torch

from components.losses.combined import CombinedLoss, StagedLoss

CLASSIFICATION, RANKING = torch.tensor(0.25), torch.tensor(3.0)
OTHERS = {"attributes": CLASSIFICATION}


def test_fixed_is_half_of_each_and_learns_nothing():
    combine = CombinedLoss(weighting="fixed")
    assert combine(RANKING, OTHERS).item() == 0.5 * 0.25 + 0.5 * 3.0
    assert not [*combine.parameters()]
    assert not combine.state_dict()


def test_uncertainty_starts_as_fixed():
    combine = CombinedLoss(weighting="uncertainty")
    assert combine(RANKING, OTHERS) == CombinedLoss(weighting="fixed")(RANKING, OTHERS)
    assert [*combine.state_dict()] == ["log_variances"]


def test_uncertainty_weights_are_learned_and_have_a_minimum():
    """0.5 e^-s L + 0.5 s is least at s = log L, where it is 0.5 + 0.5 log L."""
    combine = CombinedLoss(weighting="uncertainty")
    optimizer = torch.optim.SGD(combine.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        loss = combine(RANKING, OTHERS)
        loss.backward()
        optimizer.step()
    best = [math.log(0.25), math.log(3.0)]  # classification first
    assert combine.log_variances.tolist() == pytest.approx(best, abs=1e-4)
    assert loss.item() == pytest.approx(sum(0.5 + 0.5 * s for s in best), abs=1e-6)


def test_gradient():
    combine = CombinedLoss(weighting="uncertainty").double()
    combine.log_variances.data = torch.tensor([0.3, -0.7], dtype=torch.float64)
    losses = [loss.double().requires_grad_() for loss in (CLASSIFICATION, RANKING)]
    assert torch.autograd.gradcheck(
        lambda c, r, _: combine(r, {"attributes": c}), (*losses, combine.log_variances)
    )


def staged(losses: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Returns L_T, and L_C and L_TC, given L_C, L_TC, L_T."""
    of_maps, of_branches, ranking = losses
    return ranking, {"map_values": of_maps, "branch_values": of_branches}


def test_stages_are_classification_alone_and_then_the_weighted_sum():
    """The paper's weights: L_C + 1.5 L_T + L_TC; nothing else is learned of either."""
    combine = StagedLoss(first=["map_values"], classification_epochs=2, ranking_weight=1.5)
    losses = torch.tensor([0.5, 0.25, 3.0], requires_grad=True)
    for epoch, total, gradient in (
        (0, 0.5, [1, 0, 0]),
        (1, 0.5, [1, 0, 0]),
        (2, 0.5 + 1.5 * 3 + 0.25, [1, 1, 1.5]),
        (1, 0.5, [1, 0, 0]),  # gone back to, as a resumed run goes
    ):
        combine.begin_epoch(epoch)
        loss = combine(*staged(losses))
        assert loss.item() == total
        assert torch.autograd.grad(loss, losses)[0].tolist() == gradient
    assert not [*combine.parameters()]
    assert not combine.state_dict()


def test_without_stages_all_losses_count_from_the_start():
    combine = StagedLoss(first=["map_values"], classification_epochs=0, ranking_weight=0.0)
    assert combine(*staged(torch.tensor([0.5, 0.25, 3.0]))).item() == 0.75
    combine.begin_epoch(0)
    assert combine(*staged(torch.tensor([0.5, 0.25, 3.0]))).item() == 0.75
