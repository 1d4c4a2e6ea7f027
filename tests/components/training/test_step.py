"""One optimisation step: what is learned, that it learns, and that workers agree."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import HERE, MODEL, build, write_inputs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from two_workers import run_two

from components.images.augmentation import Draw
from components.losses.combined import attribute_classification_loss
from components.losses.ranking import (
    batch_triplet_loss,
    multi_similarity_loss,
    supervised_contrastive_loss,
    triplet_loss,
)
from components.training.loop import Run, train
from components.training.setup import TrainingInputs
from components.training.step import Losses, take_gradients

pytestmark = pytest.mark.slow

torch.set_num_threads(1)

BATCH_OBJECTIVES = ["supcon", "batch_triplet", "multi_similarity"]
OBJECTIVES = ["triplet", *BATCH_OBJECTIVES]
NUM_STEPS = 60


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=1, steps_per_epoch=NUM_STEPS)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_the_optimiser_holds_every_trainable_parameter_once(inputs, tmp_path, weighting):
    state = build(inputs, tmp_path, loss_weighting=weighting).state
    trainable = dict(state.learner.named_parameters())
    held = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(trainable)
    assert {id(parameter) for parameter in held} == {id(p) for p in trainable.values()}
    assert all(parameter.requires_grad for parameter in held)
    assert ("combine.log_variances" in trainable) == (weighting == "uncertainty")
    assert {"network.backbone.third_stage.0.0.weight", "network.classifier.linear.weight"} < {
        *trainable
    }


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_step_moves_every_parameter(inputs, tmp_path, objective):
    run = build(inputs, tmp_path, objective=objective, margin=1.0)
    before = {name: p.detach().clone() for name, p in run.state.learner.named_parameters()}
    batch = next(run.feed.batches(first_step=0, rank=0, world_size=1))
    run.state.learner.train()(batch).total.backward()
    run.state.optimizer.step()
    still = [n for n, p in run.state.learner.named_parameters() if torch.equal(p, before[n])]
    assert not still


def learning_rates(inputs, folder, **changes) -> list[float]:
    """Returns the learning rate of every step of a run."""
    run = build(inputs, folder, learning_rate=0.01, **changes)
    rates = []
    for _ in range(run.plan.num_epochs * run.plan.num_steps):
        rates += run.state.scheduler.get_last_lr()
        run.state.optimizer.step()
        run.state.scheduler.step()
    return rates


def test_one_cycle_is_highest_at_the_end_of_the_warmup(inputs, tmp_path):
    rates = learning_rates(inputs, tmp_path, schedule="one_cycle", warmup_share=0.25)
    highest = rates.index(max(rates))
    assert highest == 0.25 * NUM_STEPS - 1
    assert rates[highest] == pytest.approx(0.01)
    assert rates == sorted(rates[:highest]) + sorted(rates[highest:], reverse=True)


def test_step_falls_every_so_many_epochs(tmp_path):
    inputs = write_inputs(tmp_path, num_epochs=5, steps_per_epoch=2)
    changes = {"schedule": "step", "warmup_share": 0.0, "step_epochs": 2, "step_factor": 0.5}
    rates = learning_rates(inputs, tmp_path / "state", **changes)
    assert rates == pytest.approx([0.01] * 4 + [0.005] * 4 + [0.0025] * 2)


def test_a_warmup_comes_before_cosine_and_step(tmp_path):
    inputs = write_inputs(tmp_path, num_epochs=5, steps_per_epoch=2)
    changes = {"warmup_share": 0.3, "step_epochs": 2, "step_factor": 0.5}
    rates = learning_rates(inputs, tmp_path / "state", schedule="step", **changes)
    up = [0.01 / 3, 0.01 * 5 / 9, 0.01 * 7 / 9]
    assert rates == pytest.approx([*up, *[0.01] * 4, *[0.005] * 3])
    rates = learning_rates(inputs, tmp_path / "state", schedule="cosine", **changes)
    down = [0.005 * (1 + math.cos(math.pi * step / 7)) for step in range(7)]
    assert rates == pytest.approx([*up, *down])


def test_cosine_falls_to_nothing(inputs, tmp_path):
    rates = learning_rates(inputs, tmp_path, schedule="cosine", warmup_share=0.0)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(0.01)
    assert rates[NUM_STEPS // 2] == pytest.approx(0.005)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_losses_are_those_of_the_batch(inputs, tmp_path, objective):
    """The total from the definitions, of embeddings of the images mirrored by hand."""
    run = build(inputs, tmp_path, objective=objective)
    learner = run.state.learner.eval()
    batch = next(run.feed.batches(first_step=0, rank=0, world_size=1))
    flipped = batch.draws[:, Draw.FLIP] < 0.5
    assert flipped.any()
    mirrored = [p.flip(1) if f else p for p, f in zip(batch.pixels, flipped, strict=True)]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.stack(mirrored) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        losses = learner(batch)
        embeddings, outputs = learner.network.forward_branches(images, batch.attributes)
    slots = embeddings[0::3, 0], embeddings[1::3, 0], embeddings[2::3, 0]
    definitions = {
        "triplet": lambda: triplet_loss(*slots, margin=0.2),
        "supcon": lambda: supervised_contrastive_loss(
            embeddings, batch.values, temperature=0.1, margin=0.2
        ),
        "batch_triplet": lambda: batch_triplet_loss(embeddings, batch.values, margin=0.2),
        "multi_similarity": lambda: multi_similarity_loss(
            embeddings,
            batch.values,
            margin=0.2,
            positive_scale=2.0,
            negative_scale=10.0,
            threshold=0.5,
        ),
    }
    ranking = definitions[objective]()
    classification = attribute_classification_loss(outputs["attributes"], batch.labelled)
    torch.testing.assert_close(losses.ranking, ranking)
    torch.testing.assert_close(losses.classification, classification)
    torch.testing.assert_close(losses.total, 0.5 * ranking + 0.5 * classification)


@pytest.mark.parametrize("name", ["csn", "asen_v2", "ag_man"])
def test_without_classification_the_ranking_is_all_there_is(inputs, tmp_path, name):
    """And the learning curve says that there is no other loss."""
    classification = False if name == "ag_man" else None
    model = replace(MODEL, name=name, classification=classification, embedding_dim=32)
    run = build(inputs, tmp_path, model=model, loss_weighting="fixed")
    losses = run.state.learner(next(run.feed.batches(first_step=0, rank=0, world_size=1)))
    assert losses.classification.isnan()
    assert torch.equal(losses.total.detach(), losses.ranking)
    losses.total.backward()
    without = [name for name, p in run.state.learner.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize(
    ("objective", "backbone"), [*((each, "tiny") for each in OBJECTIVES), ("supcon", "resnet18")]
)
def test_eight_images_can_be_learned_by_heart(inputs, tmp_path, objective, backbone):
    """Their two attributes cut across one another, so that MAP 100 needs a space for each."""
    margin = 1.0 if "triplet" in objective else 0.2  # 1: all triplets have work, for a short run
    constant = {"schedule": "step", "warmup_share": 0.0, "step_factor": 1.0}
    changes = {"objective": objective, "margin": margin, "flip_probability": 0.0, **constant}
    run = build(inputs, tmp_path, model=replace(MODEL, backbone=backbone), **changes)
    records = []
    train(run, place=HERE, log=lambda row, **of: records.append(row))
    assert records[-1]["valid_map"] == 100


def one_step(
    run: Run,
    forward: nn.Module,
    *,
    rank: int = 0,
    world_size: int = 1,
    images_at_once: int | None = None,
) -> Losses:
    """Returns the losses of the first step, its gradients taken; batch norm as in evaluation."""
    forward.eval()
    return take_gradients(
        forward,
        run.state.learner,
        next(run.feed.batches(first_step=0, rank=rank, world_size=world_size)),
        images_at_once=images_at_once,
        autocast=run.autocast(HERE.device),
        seed_part=torch.manual_seed,
    )


# what two workers do, and how many images at once
OF_TWO_WORKERS = [*((objective, None) for objective in BATCH_OBJECTIVES), ("multi_similarity", 3)]


def _work(rank: int, folder: Path, inputs: TrainingInputs) -> None:
    """One of the two workers of the test below; leaves losses and gradients in files."""
    for number, (objective, images_at_once) in enumerate(OF_TWO_WORKERS):
        run = build(inputs, folder / "state", objective=objective)
        losses = one_step(
            run,
            DistributedDataParallel(run.state.learner),
            rank=rank,
            world_size=2,
            images_at_once=images_at_once,
        )
        gradients = {name: p.grad for name, p in run.state.learner.named_parameters()}
        torch.save({"losses": [*losses], "gradients": gradients}, folder / f"{number}-{rank}.pt")


@pytest.fixture(scope="module")
def two_workers(inputs, tmp_path_factory) -> Path:
    """The folder where two real processes left what they computed."""
    folder = tmp_path_factory.mktemp("workers")
    run_two(_work, folder, inputs)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(OF_TWO_WORKERS)), ids=lambda n: str(OF_TWO_WORKERS[n]))
def test_two_workers_take_the_step_of_one(inputs, tmp_path, two_workers, number):
    """Each image meets positives and negatives of both workers, forward and backward."""
    workers = [torch.load(two_workers / f"{number}-{rank}.pt") for rank in range(2)]
    run = build(inputs, tmp_path / "state", objective=OF_TWO_WORKERS[number][0])
    losses = one_step(run, run.state.learner)
    total, ranking, classification, active_share, _ = (
        torch.stack(both) for both in zip(*(w["losses"] for w in workers), strict=True)
    )
    torch.testing.assert_close(ranking, losses.ranking.expand(2))
    torch.testing.assert_close(classification.mean(), losses.classification)
    torch.testing.assert_close(total.mean(), losses.total)
    torch.testing.assert_close(active_share, losses.active_share.expand(2))
    for name in workers[0]["gradients"]:
        assert torch.equal(workers[0]["gradients"][name], workers[1]["gradients"][name])
    assert_same_gradients(workers[0]["gradients"], run)


def assert_same_gradients(gradients: dict[str, Tensor], run: Run) -> None:
    """Float32 sums over parts of a batch differ in the last digits."""
    expected = {name: p.grad for name, p in run.state.learner.named_parameters()}
    assert gradients.keys() == expected.keys()
    largest_of_all = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        noise = 1e-4 * gradient.abs().max().item() + 1e-7 * largest_of_all
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=noise)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("images_at_once", [3, 5])
def test_a_step_in_parts_is_the_same_step(inputs, tmp_path, objective, images_at_once):
    """The batch's eight images in parts of 3, 3 and 2, or 5 and 3; its triplets cut in two."""
    whole, parted = (build(inputs, tmp_path, objective=objective) for _ in range(2))
    losses = one_step(whole, whole.state.learner)
    in_parts = one_step(parted, parted.state.learner, images_at_once=images_at_once)
    torch.testing.assert_close([*in_parts], [*losses], equal_nan=True)
    gradients = {name: p.grad for name, p in parted.state.learner.named_parameters()}
    assert_same_gradients(gradients, whole)


def test_a_step_in_parts_of_a_network_with_one_branch(inputs, tmp_path):
    model = replace(MODEL, name="csn", masks=None)
    changes = {"model": model, "loss_weighting": "fixed"}
    whole, parted = (build(inputs, tmp_path, **changes) for _ in range(2))
    one_step(whole, whole.state.learner)
    one_step(parted, parted.state.learner, images_at_once=3)
    gradients = {name: p.grad for name, p in parted.state.learner.named_parameters()}
    assert_same_gradients(gradients, whole)


def test_parts_draw_what_they_drew_and_count_their_statistics_once(inputs, tmp_path):
    """Stochastic depth drops the same blocks in both passes; running statistics move in one."""
    run = build(inputs, tmp_path, model=replace(MODEL, backbone="convnext_tiny"))
    learner = run.state.learner.train()
    norm = next(module for module in learner.modules() if isinstance(module, nn.BatchNorm2d))
    batch = next(run.feed.batches(first_step=0, rank=0, world_size=1))
    seen, outputs = [], learner.outputs

    def note(part):
        made = outputs(part)
        seen.append((made.embeddings.detach().clone(), norm.running_mean.clone()))
        return made

    learner.outputs = note
    before = norm.running_mean.clone()
    take_gradients(
        learner,
        learner,
        batch,
        images_at_once=4,
        autocast=run.autocast(HERE.device),
        seed_part=torch.manual_seed,
    )
    embeddings, means = zip(*seen, strict=True)
    assert torch.equal(embeddings[0], embeddings[2])
    assert torch.equal(embeddings[1], embeddings[3])
    assert torch.equal(means[1], before)
    assert not torch.equal(means[2], before)
