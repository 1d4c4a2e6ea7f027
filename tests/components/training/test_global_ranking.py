"""FashionSearchNet-v2's last stage: what moves, what the memory begins as, that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_run import HERE, MODEL, NUM_IMAGES, SCHEMA, WITH_ITEMS, build, write_inputs

from components.images.transforms import normalise
from components.networks import IMAGENET_PIXELS
from components.sampling.manipulations import Manipulated
from components.training.global_ranking import global_ranking_loss, mean_of_values, rank_globally
from components.training.loop import Run, train
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.trained import save_weights

torch.set_num_threads(1)

NETWORK = replace(MODEL, name="fashionsearchnet_v2", embedding_dim=32)
CHANGES = {"loss_weighting": "fixed", "objective": "soft_triplet"}
LEARNED = {f"representation.{name}" for name in ("memory", "importance", "projection")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=1, steps_per_epoch=15)


@pytest.fixture(scope="module")
def trained(inputs, tmp_path_factory) -> Path:
    """Weights after the stages before."""
    folder = tmp_path_factory.mktemp("trained")
    run = build(inputs, folder, model=NETWORK, **CHANGES)
    train(run, place=HERE, log=lambda *_, **__: None)
    return folder / BEST_WEIGHTS


def ranked(
    inputs: TrainingInputs, trained: Path, folder: Path, *, epochs: int, memory: str | None = None
) -> tuple[Run, dict[str, torch.Tensor], list[dict[str, float]]]:
    """Returns the run, the weights that it leaves, and what it logs."""
    network = replace(NETWORK, memory=memory)
    changes = CHANGES | {"global_ranking_epochs": epochs, "learning_rate": 0.02}
    run = build(inputs, folder, model=network, **changes)
    weights = folder / BEST_WEIGHTS
    folder.mkdir(exist_ok=True)
    weights.write_bytes(trained.read_bytes())
    logged = []

    def log(metrics, *, step: int, kind: str) -> None:
        assert (step, kind) == (len(logged), "stage")
        logged.append(metrics)

    rank_globally(run, weights, place=HERE, log=log)
    return run, load_file(weights), logged


@pytest.mark.parametrize("memory", ["updated", "fixed"])
def test_nothing_but_memory_importance_and_projection_moves(inputs, trained, tmp_path, memory):
    before = load_file(trained)
    _, start, _ = ranked(inputs, trained, tmp_path / "start", epochs=0, memory=memory)
    run, after, _ = ranked(inputs, trained, tmp_path / "end", epochs=3, memory=memory)
    moved = {name for name in after if not torch.equal(after[name], start[name])}
    assert moved == LEARNED - ({"representation.memory"} if memory == "fixed" else set())
    others = after.keys() - LEARNED
    assert all(torch.equal(after[name], before[name]) for name in others)
    for parameter in run.state.network.representation.parameters():
        assert not parameter.requires_grad


def test_items_are_no_values_to_ask_for(inputs, trained, tmp_path):
    """The same images have as many manipulations where their items are known as well."""
    _, _, (figures,) = ranked(inputs, trained, tmp_path / "without", epochs=1)
    with_items = write_inputs(
        tmp_path / "inputs", num_epochs=1, steps_per_epoch=1, schema=WITH_ITEMS
    )
    untrained = tmp_path / "untrained.safetensors"
    run = build(with_items, tmp_path / "with", model=NETWORK, **CHANGES)
    save_weights(run.state.network, untrained)
    run, _, (others,) = ranked(with_items, untrained, tmp_path / "with", epochs=1)
    for name in ("manipulations", "manipulations_left_out"):
        assert others[name] == figures[name]
    assert [len(vectors) for vectors in run.state.network.prototypes()] == [2, 2, 0]


def test_the_memory_begins_as_the_mean_embedding_of_each_value(inputs, trained, tmp_path):
    """Counted by hand: small_run gives image i the values i % 2 and i // 2 % 2."""
    run, weights, _ = ranked(inputs, trained, tmp_path, epochs=0)
    pixels = torch.from_numpy(run.store.gather(np.arange(NUM_IMAGES)))
    asked = torch.arange(2).expand(NUM_IMAGES, -1)
    with torch.inference_mode():
        embeddings = run.state.network(normalise(pixels, IMAGENET_PIXELS), asked)
    expected = [
        sum(embeddings[i, attribute] for i in range(NUM_IMAGES) if i // divisor % 2 == value) / 4
        for attribute, divisor in ((0, 1), (1, 2))
        for value in range(2)
    ]
    torch.testing.assert_close(weights["representation.memory"], torch.stack(expected))
    prototypes = run.state.network.prototypes()
    assert [len(rows) for rows in prototypes] == SCHEMA.num_values


def test_means_are_of_those_that_have_the_value():
    vectors = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    values = torch.zeros(5, 5, dtype=torch.bool)
    values[[0, 3], 1] = values[[1, 2, 4], 3] = values[4, 2] = True
    means = mean_of_values(vectors, values, num_values=[2, 3])
    expected = torch.zeros(5, 3)
    expected[1] = (vectors[0, 0] + vectors[3, 0]) / 2
    expected[2] = vectors[4, 1]
    expected[3] = (vectors[1, 1] + vectors[2, 1] + vectors[4, 1]) / 3
    torch.testing.assert_close(means, expected)  # 0 for values that no image has


def test_it_learns_and_says_how_much_it_had_to_learn_from(inputs, trained, tmp_path):
    """Eight images with two values of two attributes: 16 manipulations, all of them answered."""
    _, _, logged = ranked(inputs, trained, tmp_path, epochs=8)
    losses = [metrics["global_ranking_loss"] for metrics in logged]
    assert losses[-1] < 0.9 * losses[0] < 0.45  # 0.5 is chance
    for metrics in logged:
        assert (metrics["manipulations"], metrics["manipulations_left_out"]) == (16, 0)


def test_run_again_as_after_a_kill_it_gives_the_same_bits(inputs, trained, tmp_path):
    _, first, _ = ranked(inputs, trained, tmp_path / "first", epochs=2)
    once = tmp_path / "first" / BEST_WEIGHTS
    _, again, _ = ranked(inputs, once, tmp_path / "again", epochs=2)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_loss_is_equation_8(inputs, trained, tmp_path):
    run, _, _ = ranked(inputs, trained, tmp_path, epochs=1)
    module = run.state.network.representation
    vectors = torch.randn(6, 2, 32, generator=torch.Generator().manual_seed(1))
    asked = Manipulated(*map(np.array, ([0, 1], [1, 0], [3, 0], [2, 3], [4, 5])))
    terms = []
    for anchor, attribute, row, positive, negative in zip(*asked, strict=True):
        changed = vectors[anchor].clone()
        changed[attribute] = module.memory[row]
        f, f_plus, f_minus = (
            module(x[None])[0] for x in (changed, vectors[positive], vectors[negative])
        )
        difference = (f - f_plus).norm() - (f - f_minus).norm()
        terms.append(torch.sigmoid(difference / 0.1))
    loss = global_ranking_loss(module, vectors, asked, temperature=0.1)
    torch.testing.assert_close(loss, sum(terms) / 2)
