"""The learning rate and weight decay of every parameter, and how the rates run."""

from dataclasses import replace

import pytest
import torch
from small_run import HERE, MODEL, TRAIN, build, write_inputs
from torch import nn
from torch.optim import Adam, AdamW

from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.params import TrainParams
from components.training.loop import Run, train
from components.training.optimisation import backbone_rates
from components.training.setup import TrainingInputs

torch.set_num_threads(1)

RATE, DECAY = 0.01, 0.05
FINE_TUNING = {
    "learning_rate": RATE,
    "weight_decay": DECAY,
    "backbone_rate": 0.5,
    "layer_decay": 0.8,
    "decay_norms_and_biases": False,
}
SCHEDULES = {
    "one_cycle": {"schedule": "one_cycle", "warmup_share": 0.25},
    "cosine": {"schedule": "cosine", "warmup_share": 0.0},
    "step": {"schedule": "step", "warmup_share": 0.0, "step_epochs": 1, "step_factor": 0.5},
    "warm-up and cosine": {"schedule": "cosine", "warmup_share": 0.3},
    "warm-up and step": {"schedule": "step", "warmup_share": 0.3, "step_epochs": 1},
}

THIRD, CLASSIFIER = "backbone.third_stage.", "classifier.last_stage."
TO_SECOND, LAST = "backbone.to_second_stage.", "backbone.last_stage."
TOKENS = f"{THIRD}0.transformer."
BLOCKS = {  # what the names of each block's parameters begin with, from the image on
    ("ag_man", "tiny"): [f"{TO_SECOND}0.", f"{TO_SECOND}1.", f"{THIRD}0.", f"{CLASSIFIER}0."],
    ("asen", "tiny"): [f"{TO_SECOND}0.", f"{TO_SECOND}1.", f"{THIRD}0."],
    ("csn", "tiny"): [f"{TO_SECOND}0.", f"{TO_SECOND}1.", f"{THIRD}0.", f"{LAST}0."],
    ("ag_man", "resnet18"): [
        *(f"{TO_SECOND}{block}." for block in range(3)),
        f"{THIRD}0.",
        f"{CLASSIFIER}0.",
    ],
    ("csn", "timm:test_resnet"): [
        *((f"{TO_SECOND}{block}.", f"{TO_SECOND}{block + 1}.") for block in (0, 3, 6)),  # and norm
        f"{TO_SECOND}10.",
        f"{TO_SECOND}11.",
        f"{THIRD}0.",
        f"{LAST}0.",
    ],
    ("csn", "timm:test_vit"): [
        tuple(f"{TOKENS}{name}" for name in ("cls_token", "pos_embed", "patch_embed.")),
        *(f"{TOKENS}blocks.{block}." for block in range(5)),
        (f"{TOKENS}blocks.5.", f"{TOKENS}norm."),
    ],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=4, steps_per_epoch=5)


def on(name: str, backbone: str):
    return replace(MODEL, name=name, backbone=backbone, embedding_dim=32)


def expected(network: nn.Module, blocks: list[str | tuple[str, ...]]) -> dict[str, list[float]]:
    """Returns rate and decay of every parameter, block by block from the last one."""
    layers = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
    norms = [name for name, module in network.named_modules() if isinstance(module, layers)]
    found = {}
    for name, _ in network.named_parameters():
        decays = not name.endswith((".bias", ".scale")) and name.rpartition(".")[0] not in norms
        found[name] = [RATE, DECAY if decays else 0.0]
    rate = 0.5 * RATE
    for block in reversed(blocks):
        rate *= 0.8
        of_block = [name for name in found if name.startswith(block)]
        assert of_block, block
        for name in of_block:
            found[name][0] = rate
    backbone = [name for name in found if name.startswith("backbone.") or "last_stage" in name]
    assert all(found[name][0] < RATE for name in backbone), "a block is missing"
    return found


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("names", BLOCKS, ids=" on ".join)
def test_every_parameter_has_its_rate_and_decay(inputs, tmp_path, names, optimizer):
    name, backbone = names
    changes = {"optimizer": optimizer, "schedule": "step", "warmup_share": 0.0, **FINE_TUNING}
    weighting = "uncertainty" if name == "ag_man" else "fixed"
    model = on(name, backbone)
    state = build(inputs, tmp_path, model=model, loss_weighting=weighting, **changes).state
    assert type(state.optimizer) is {"adam": Adam, "adamw": AdamW}[optimizer]
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in state.optimizer.param_groups
        for parameter in group["params"]
    }
    network = state.learner.network
    for of, values in expected(network, BLOCKS[names]).items():
        assert found.pop(id(network.get_parameter(of))) == pytest.approx(values), of
    # what is left are the weights of the losses, which no decay is meant for
    assert [*found.values()] == ([(RATE, 0.0)] if name == "ag_man" else [])


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_first_step_goes_as_far_as_rate_and_decay_say(inputs, tmp_path, optimizer):
    """Of Adam's first step, the moments are the gradient and its square."""
    changes = {"optimizer": optimizer, "schedule": "step", "warmup_share": 0.0, **FINE_TUNING}
    state = (run := build(inputs, tmp_path, **changes)).state
    batch = next(run.feed.batches(first_step=0, rank=0, world_size=1))
    state.learner.train()(batch).total.backward()
    network = state.learner.network
    before = {name: (p.detach().clone(), p.grad.clone()) for name, p in network.named_parameters()}
    state.optimizer.step()
    for name, (rate, decay) in expected(network, BLOCKS["ag_man", "tiny"]).items():
        weight, gradient = before[name]
        if optimizer == "adam":
            gradient = gradient + decay * weight
        else:
            weight = weight * (1 - rate * decay)
        moved = weight - rate * gradient / (gradient.abs() + 1e-8)
        # float32: the root of a small square has an error beside 1e-8
        torch.testing.assert_close(network.get_parameter(name), moved, rtol=1e-5, atol=1e-2 * rate)


def test_by_default_all_parameters_are_one_group_in_their_order(inputs, tmp_path):
    state = build(inputs, tmp_path, schedule="step", warmup_share=0.0, weight_decay=DECAY).state
    (group,) = state.optimizer.param_groups
    parameters = [*state.learner.parameters()]
    assert len(group["params"]) == len(parameters)
    assert all(a is b for a, b in zip(group["params"], parameters, strict=True))
    assert (group["lr"], group["weight_decay"]) == (TRAIN["learning_rate"], DECAY)


def rates_of_steps(run: Run) -> list[list[float]]:
    """Returns the learning rates of all groups at every step."""
    rates = []
    for _ in range(run.plan.num_epochs * run.plan.num_steps):
        rates.append(run.state.scheduler.get_last_lr())
        run.state.optimizer.step()
        run.state.scheduler.step()
    return rates


@pytest.mark.parametrize("changes", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_all_rates_run_alike(inputs, tmp_path, changes):
    """Each is the same share of its highest at every step: the floor is in proportion too."""
    alone = rates_of_steps(build(inputs, tmp_path, learning_rate=RATE, **changes))
    tuned = build(inputs, tmp_path, **changes, **FINE_TUNING)
    peaks = [RATE, *(0.5 * RATE * 0.8**depth for depth in range(4, 0, -1))]
    rates = rates_of_steps(tuned)
    for (rate,), of_groups in zip(alone, rates, strict=True):
        assert of_groups[0] == rate, "the network's, which is logged"
        shares = {share for share, _ in zip(of_groups, rates[0], strict=True)}
        assert len(shares) == 5
        assert sorted(shares) == pytest.approx(sorted(peak * rate / RATE for peak in peaks))


def test_the_rate_that_is_logged_is_that_of_the_network(inputs, tmp_path):
    rows = []
    changes = {"schedule": "cosine", "warmup_share": 0.0, "backbone_rate": 10.0}
    run = build(inputs, tmp_path, learning_rate=1e-5, **changes)
    train(run, place=HERE, log=lambda row, **of: rows.append(row))
    logged = [row["step.learning_rate"] for row in rows if "step.learning_rate" in row]
    alone = build(inputs, tmp_path / "alone", learning_rate=1e-5, schedule="cosine", warmup_share=0)
    assert logged == [*(rate for (rate,) in rates_of_steps(alone)[1:]), 0.0]


def on_vision_transformer(**parts: bool) -> EmbeddingNetwork:
    return build_model(
        name="csn",
        num_values=[2, 2],
        backbone="timm:test_vit",
        weights="none",
        embedding_dim=16,
        attention_dim=8,
        normalise_features=True,
        **parts,
    )


def test_the_rates_of_blocks_fall_from_the_last_one(inputs):
    params = TrainParams(**TRAIN | {"learning_rate": 1.0, "backbone_rate": 0.5, "layer_decay": 0.1})
    rates = backbone_rates(on_vision_transformer(), params)
    assert rates == pytest.approx([5e-8, 5e-7, 5e-6, 5e-5, 5e-4, 5e-3, 5e-2])


def test_nothing_of_a_transformer_is_left_without_a_gradient():
    """Its classifier is cut off: data-parallel training waits for a gradient of everything."""
    network = on_vision_transformer().train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    embeddings = network(images, torch.tensor([[0, 1]] * 4))
    embeddings[:, :, 0].sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
