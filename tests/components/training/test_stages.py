"""FashionSearchNet-v2's training in stages, through the training loop."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import HERE, MODEL, build, write_inputs

from components.losses.combined import value_classification_loss
from components.losses.ranking import soft_triplet_loss, supervised_contrastive_loss
from components.training.loop import Run, train
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.step import take_gradients

torch.set_num_threads(1)

NETWORK = replace(MODEL, name="fashionsearchnet_v2", embedding_dim=64)
CHANGES = {"model": NETWORK, "loss_weighting": "fixed", "flip_probability": 0.0}
# what stage 1 trains, and what it leaves
MAPS = ("network.backbone.", "network.conv", "network.classifiers.")
OBJECTIVES = ["soft_triplet", "supcon"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=3, steps_per_epoch=20)


def first_batch(run: Run):
    return next(run.feed.batches(first_step=0, rank=0, world_size=1))


def learned(run: Run) -> dict[str, torch.nn.Parameter]:
    """Returns what the steps of these stages can move: not what the last one learns."""
    named = run.state.learner.named_parameters()
    return {name: p for name, p in named if not name.startswith("network.representation.")}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_losses_are_those_of_the_batch(inputs, tmp_path, objective):
    """Eq. 9 without L_G; with triplets, images are classified in their triplet's attribute."""
    run = build(inputs, tmp_path, objective=objective, ranking_weight=2.5, **CHANGES)
    learner, batch = run.state.learner.eval(), first_batch(run)
    with torch.no_grad():
        losses, (embeddings, others) = learner(batch), learner.outputs(batch)
    of_maps, of_branches = (
        value_classification_loss(others[name], batch.values)
        for name in ("map_values", "branch_values")
    )
    if objective == "soft_triplet":
        assert batch.attributes.shape[1] == 1
        slots = embeddings[0::3, 0], embeddings[1::3, 0], embeddings[2::3, 0]
        ranking = soft_triplet_loss(*slots, temperature=0.1)
        wrong = (slots[0] - slots[1]).norm(dim=-1) > (slots[0] - slots[2]).norm(dim=-1)
        assert losses.active_share == wrong.float().mean()
    else:
        ranking = supervised_contrastive_loss(embeddings, batch.values, temperature=0.1, margin=0.2)
    torch.testing.assert_close(losses.ranking, ranking)
    torch.testing.assert_close(losses.classification, of_maps + of_branches)
    torch.testing.assert_close(losses.total, of_maps + 2.5 * ranking + of_branches)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_first_stage_moves_what_makes_maps_and_nothing_else(inputs, tmp_path, objective):
    run = build(inputs, tmp_path, objective=objective, classification_epochs=1, **CHANGES)
    learner = run.state.learner.train()
    for epoch in (0, 1):
        learner.begin_epoch(epoch)
        before = {name: p.detach().clone() for name, p in learned(run).items()}
        for batch in run.feed.batches(first_step=0, rank=0, world_size=1):
            learner(batch).total.backward()
            run.state.optimizer.step()
            run.state.optimizer.zero_grad()
        still = {name for name, p in learned(run).items() if torch.equal(p, before[name])}
        if epoch == 0:
            assert still == {name for name in before if not name.startswith(MAPS)}
        else:
            assert not still


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_eight_images_can_be_learned_by_heart_in_two_stages(inputs, tmp_path, objective):
    records = []
    run = build(inputs, tmp_path, objective=objective, classification_epochs=1, **CHANGES)
    train(run, place=HERE, log=lambda row, **of: records.append((row, of)))
    epochs = [row for row, of in records if of["kind"] == "epoch"]
    assert epochs[-1]["valid_map"] == 100
    assert epochs[0]["loss"] < 0.62  # mean over the epoch; chance is log 2, 0.69
    steps = [row for row, of in records if of["kind"] == "step"]
    assert steps[0]["step.loss"] < steps[0]["step.classification_loss"]  # of maps, and of both
    assert steps[-1]["step.loss"] > steps[-1]["step.classification_loss"]


def test_a_run_resumed_in_its_second_stage_is_in_its_second_stage(inputs, tmp_path):
    changes = {"objective": "soft_triplet", "classification_epochs": 1, **CHANGES}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run = build(inputs, whole, **changes)
    train(run, place=HERE, log=lambda *_, **__: None)

    class StoppedError(Exception):
        pass

    def stop(row, *, step: int, kind: str) -> None:
        if (kind, step) == ("epoch", 1):  # before it is saved
            raise StoppedError

    run = build(inputs, halves, **changes)
    with pytest.raises(StoppedError):
        train(run, place=HERE, log=stop)
    run = build(inputs, halves, **changes)
    assert run.state.epoch == 1
    train(run, place=HERE, log=lambda *_, **__: None)
    weights, others = (load_file(folder / BEST_WEIGHTS) for folder in (whole, halves))
    assert all(weights[name].equal(others[name]) for name in weights)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_in_parts_is_the_same_step(inputs, tmp_path: Path, objective):
    gradients = []
    for images_at_once in (None, 3):
        run = build(inputs, tmp_path, objective=objective, **CHANGES)
        take_gradients(
            run.state.learner.eval(),
            run.state.learner,
            first_batch(run),
            images_at_once=images_at_once,
            autocast=run.autocast(HERE.device),
            seed_part=torch.manual_seed,
        )
        gradients.append({name: p.grad for name, p in learned(run).items()})
    whole, parted = gradients
    for name, gradient in whole.items():
        largest = float(gradient.abs().max())
        torch.testing.assert_close(parted[name], gradient, rtol=1e-3, atol=1e-4 * largest + 1e-7)
