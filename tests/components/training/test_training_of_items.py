"""Training for items: every network, AHBN with its branches, the objective classification."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import HERE, MODEL, WITH_ITEMS, build, write_inputs
from torch.nn.parallel import DistributedDataParallel
from two_workers import run_two

from components.images.augmentation import Draw, mirrored_names
from components.losses.combined import value_naming_loss
from components.losses.landmarks import landmark_loss
from components.losses.ranking import supervised_contrastive_loss
from components.networks import NETWORK_PARTS
from components.params import CheckpointParams, ModelParams
from components.training.loop import Run, train
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.step import take_gradients

pytestmark = pytest.mark.slow

torch.set_num_threads(1)

AHBN = replace(MODEL, name="ahbn", bilinear_dim=64, landmark_channels=16, num_hourglasses=2)
OBJECTIVES = ["triplet", "soft_triplet", "supcon", "batch_triplet", "multi_similarity"]
CLASSIFICATION = {"objective": "classification", "loss_weighting": "fixed"}
SAMPLED = CLASSIFICATION | {"sampled_classes": 3}
BRANCHES = ("network.backbone.", "network.values.", "network.hourglass.", "network.norm.")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    folder = tmp_path_factory.mktemp("inputs")
    return write_inputs(folder, num_epochs=3, steps_per_epoch=4, schema=WITH_ITEMS)


def model(name: str) -> ModelParams:
    if name == "ahbn":
        return AHBN
    return replace(MODEL, name=name, embedding_dim=32 if name == "asen_v2" else 16)


def first_batch(run: Run, *, rank: int = 0, world_size: int = 1):
    return next(run.feed.batches(first_step=0, rank=rank, world_size=world_size))


def gradients(run: Run, *, images_at_once=None, rank=0, world_size=1, forward=None):
    """Returns losses and gradients of the first step; batch norm as in evaluation."""
    learner = run.state.learner
    forward = learner if forward is None else forward
    forward.eval()
    losses = take_gradients(
        forward,
        learner,
        first_batch(run, rank=rank, world_size=world_size),
        images_at_once=images_at_once,
        autocast=run.autocast(HERE.device),
        seed_part=torch.manual_seed,
    )
    return losses, {name: p.grad for name, p in learner.named_parameters() if p.requires_grad}


def assert_same_gradients(found, expected) -> None:
    """Float32 sums over parts of a batch differ in the last digits."""
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        noise = 1e-4 * float(gradient.abs().max()) + 1e-7 * largest
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=noise)


@pytest.mark.parametrize("objective", [*OBJECTIVES, "classification"])
@pytest.mark.parametrize("name", NETWORK_PARTS)
def test_every_network_takes_a_step_with_items_among_its_attributes(
    inputs, tmp_path, name, objective
):
    run = build(inputs, tmp_path, model=model(name), objective=objective, loss_weighting="fixed")
    run.state.learner.train()
    losses, found = gradients(run)
    assert losses.total.isfinite()
    assert found
    for parameter, gradient in found.items():
        if not parameter.startswith("network.representation."):
            assert gradient is not None, parameter
            assert gradient.isfinite().all(), parameter


@pytest.mark.parametrize(
    ("backbone", "width"), [("timm:mobilenetv3_small_050", 24), ("timm:vit_tiny_patch16_224", 192)]
)
@pytest.mark.parametrize("name", NETWORK_PARTS)
def test_every_network_takes_a_step_on_timms_backbones(inputs, tmp_path, name, backbone, width):
    params = replace(
        model(name), backbone=backbone, embedding_dim=width if name == "asen_v2" else 16
    )
    if "vit" in backbone and "hierarchical" in NETWORK_PARTS[name]:
        params = replace(params, hierarchical=False)
    run = build(inputs, tmp_path, model=params, objective="supcon", loss_weighting="fixed")
    run.state.learner.train()
    losses, found = gradients(run)
    assert losses.total.isfinite()
    without = [parameter for parameter, gradient in found.items() if gradient is None]
    assert [each for each in without if not each.startswith("network.representation.")] == []
    assert all(gradient.isfinite().all() for gradient in found.values() if gradient is not None)


@pytest.mark.parametrize("attributes", [["item"], ["collar", "item"]])
@pytest.mark.parametrize("name", ["ag_man", "ahbn", "fashionsearchnet_v2"])
def test_what_is_trained_for_is_what_is_asked_and_validated(inputs, tmp_path, name, attributes):
    run = build(inputs, tmp_path, model=model(name), attributes=attributes, **CLASSIFICATION)
    asked = [WITH_ITEMS.index(name) for name in attributes]
    assert first_batch(run).attributes.tolist() == [asked] * 8
    assert [len(vectors) for vectors in run.state.learner.objective.vectors] == [
        {0: 2, 1: 2, 2: 4}[attribute] for attribute in asked
    ]
    rows = []
    train(run, place=HERE, log=lambda row, **of: rows.append(row))
    assert all(0 <= row["valid_map"] <= 100 for row in rows if "valid_map" in row)


def test_no_weight_is_as_large_as_the_number_of_items_that_there_have_been(inputs, tmp_path):
    for name in NETWORK_PARTS:
        run = build(inputs, tmp_path, model=model(name), **CLASSIFICATION)
        assert not [n for n, p in run.state.learner.named_parameters() if 100 in p.shape], name


def test_the_losses_of_ahbn_are_those_of_the_batch(inputs, tmp_path):
    """L_id + a L_attr + b L_lm, from embeddings and landmarks of images mirrored by hand."""
    weights = {"attribute_weight": 0.5, "landmark_weight": 0.25}
    run = build(inputs, tmp_path, model=AHBN, objective="supcon", loss_weighting="fixed", **weights)
    learner, batch = run.state.learner.eval(), first_batch(run)
    flipped = batch.draws[:, Draw.FLIP] < 0.5
    assert flipped.any()
    assert not flipped.all()
    points = batch.landmarks.clone()
    mirrored = mirrored_names(WITH_ITEMS.landmarks)
    for image in flipped.nonzero().flatten().tolist():
        points[image] = batch.landmarks[image][mirrored]
        points[image, :, 0] = 1 - points[image, :, 0]
    with torch.no_grad():
        losses, (embeddings, others) = learner(batch), learner.outputs(batch)
    ranking = supervised_contrastive_loss(embeddings, batch.values, temperature=0.1, margin=0.2)
    named = value_naming_loss(others["values"], batch.listed, batch.known)
    marked = landmark_loss(others["landmarks"], points)
    assert others["landmarks"].shape == (8, 2, 3, 8, 8)
    torch.testing.assert_close(losses.ranking, ranking)
    torch.testing.assert_close(losses.classification, named)
    torch.testing.assert_close(losses.landmark, marked)
    torch.testing.assert_close(losses.total, ranking + 0.5 * named + 0.25 * marked)


def test_the_first_stage_of_ahbn_moves_its_branches_and_nothing_else(inputs, tmp_path):
    run = build(inputs, tmp_path, model=AHBN, classification_epochs=1, **CLASSIFICATION)
    learner = run.state.learner.train()
    for epoch in (0, 1):
        learner.begin_epoch(epoch)
        before = {name: p.detach().clone() for name, p in learner.named_parameters()}
        for batch in run.feed.batches(first_step=0, rank=0, world_size=1):
            learner(batch).total.backward()
            run.state.optimizer.step()
            run.state.optimizer.zero_grad()
        still = {name for name, p in learner.named_parameters() if torch.equal(p, before[name])}
        if epoch == 0:
            assert still == {name for name in before if not name.startswith(BRANCHES)}
        else:
            assert not still


@pytest.mark.parametrize("changes", [CLASSIFICATION, SAMPLED], ids=["all", "sampled"])
@pytest.mark.parametrize("images_at_once", [3, 5])
def test_a_step_in_parts_is_the_same_step(inputs, tmp_path, changes, images_at_once):
    whole, parted = (build(inputs, tmp_path, model=AHBN, **changes) for _ in range(2))
    losses, expected = gradients(whole)
    in_parts, found = gradients(parted, images_at_once=images_at_once)
    torch.testing.assert_close([*in_parts], [*losses], equal_nan=True)
    assert_same_gradients(found, expected)


def test_eight_images_of_four_items_can_be_learned_by_heart(tmp_path):
    inputs = write_inputs(tmp_path, num_epochs=1, steps_per_epoch=60, schema=WITH_ITEMS)
    constant = {"schedule": "step", "warmup_share": 0.0, "step_factor": 1.0}
    run = build(
        inputs,
        tmp_path / "state",
        model=AHBN,
        attributes=["item"],
        flip_probability=0.0,
        **CLASSIFICATION,
        **constant,
    )
    rows = []
    train(run, place=HERE, log=lambda row, **of: rows.append(row))
    assert rows[-1]["valid_map"] == 100
    assert rows[-2]["step.landmark_loss"] < 0.7 * rows[0]["step.landmark_loss"]
    assert rows[-2]["step.classification_loss"] < rows[0]["step.classification_loss"] / 2


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("changes", [CLASSIFICATION, SAMPLED], ids=["all", "sampled"])
def test_resuming_gives_the_bits_of_an_uninterrupted_run(inputs, tmp_path, changes):
    """Class vectors, their moments in the optimiser, and what was sampled."""
    options = {
        "model": AHBN,
        "checkpoint": CheckpointParams(every_steps=3, num_to_keep=2),
        "classification_epochs": 1,
        **changes,
    }

    def stop(row, *, step: int, kind: str) -> None:
        if (kind, step) == ("step", 8):
            raise StoppedError

    states = {}
    for folder, log in (("whole", lambda *_, **__: None), ("halves", stop)):
        run = build(inputs, tmp_path / folder, **options)
        with contextlib.suppress(StoppedError):
            train(run, place=HERE, log=log)
        run = build(inputs, tmp_path / folder, **options)
        assert run.state.steps_done == (12 if folder == "whole" else 6)
        train(run, place=HERE, log=lambda *_, **__: None)
        states[folder] = run.state
    whole, halves = (states[folder].learner.state_dict() for folder in states)
    assert "objective.vectors.0" in whole
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert states["whole"].curve == states["halves"].curve
    weights, others = (load_file(tmp_path / folder / BEST_WEIGHTS) for folder in states)
    assert all(weights[name].equal(others[name]) for name in weights)
    assert not any("vectors" in name for name in weights), "they are no part of the network"


OF_TWO_WORKERS = [(CLASSIFICATION, None), (SAMPLED, None), (CLASSIFICATION, 3)]


def _work(rank: int, folder: Path, inputs: TrainingInputs) -> None:
    """One of the two workers of the test below; leaves losses and gradients in files."""
    for number, (changes, images_at_once) in enumerate(OF_TWO_WORKERS):
        run = build(inputs, folder / "state", model=AHBN, **changes)
        losses, found = gradients(
            run,
            images_at_once=images_at_once,
            rank=rank,
            world_size=2,
            forward=DistributedDataParallel(run.state.learner),
        )
        torch.save({"losses": [*losses], "gradients": found}, folder / f"{number}-{rank}.pt")


@pytest.fixture(scope="module")
def two_workers(inputs, tmp_path_factory) -> Path:
    """The folder where two real processes left what they computed."""
    folder = tmp_path_factory.mktemp("workers")
    run_two(_work, folder, inputs)
    return folder


@pytest.mark.parametrize("number", range(len(OF_TWO_WORKERS)))
def test_two_workers_take_the_step_of_one(inputs, tmp_path, two_workers, number):
    """Of the last image no landmark is known, so that one worker has more of them."""
    workers = [torch.load(two_workers / f"{number}-{rank}.pt") for rank in range(2)]
    run = build(inputs, tmp_path, model=AHBN, **OF_TWO_WORKERS[number][0])
    losses, expected = gradients(run)
    means = [torch.stack(both).mean() for both in zip(*(w["losses"] for w in workers), strict=True)]
    torch.testing.assert_close(means, [*losses])
    for worker in workers:
        assert_same_gradients(worker["gradients"], expected)
