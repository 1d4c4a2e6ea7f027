"""What of the backbone stays as it was loaded, for how long, and that the rest learns meanwhile."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import HERE, MODEL, build, write_inputs
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from two_workers import run_two

from components.models.backbones import Stage, backbone_stages, build_backbone
from components.models.timm_backbones import synchronise_norms
from components.training import loop
from components.training.global_ranking import rank_globally
from components.training.loop import Run, train
from components.training.plan import Place
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS

torch.set_num_threads(1)

NUM_EPOCHS, STEPS_PER_EPOCH, FROZEN_EPOCHS = 4, 3, 2
BACKBONE = ("backbone.", "classifier.last_stage.")  # AG-MAN's classifier has the last stage
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
STAGES = {
    "model": replace(MODEL, name="fashionsearchnet_v2", embedding_dim=64),
    "loss_weighting": "fixed",
}
AHBN = {"landmark_supervision": False, "bilinear_dim": 64, "landmark_channels": 16}


def on(name: str, backbone: str = "tiny", **parts) -> dict:
    """Returns the changes that make another network of two attributes."""
    model = replace(MODEL, name=name, backbone=backbone, **parts)
    return {"model": model, "loss_weighting": "fixed"}


RECIPES = {
    "ag_man": {},
    "in parts": {"images_at_once": 3},
    "averaged": {"ema_decay": 0.5},
    "triplets": {"objective": "triplet", "optimizer": "adamw", "weight_decay": 0.1},
    "asen": on("asen"),
    "csn": on("csn"),
    "ahbn": on("ahbn", num_hourglasses=1, **AHBN),
    "a stage of classification within": {"classification_epochs": 1, **STAGES},
    "a stage of classification beyond": {"classification_epochs": 3, **STAGES},
    "resnet18": on("ag_man", "resnet18"),
    "convnext_tiny": on("ag_man", "convnext_tiny"),
    "resnet of timm": on("csn", "timm:test_resnet"),
    "transformer": on("asen", "timm:test_vit"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(
        tmp_path_factory.mktemp("inputs"), num_epochs=NUM_EPOCHS, steps_per_epoch=STEPS_PER_EPOCH
    )


@dataclass
class Seen:
    """What a run was before it trained and after every epoch.

    Attributes:
        states: the network's tensors.
        kept: those of what is validated and kept.
        steps: how many steps the optimiser's moments of a parameter have seen.
    """

    run: Run
    states: list[dict[str, Tensor]] = field(default_factory=list)
    kept: list[dict[str, Tensor]] = field(default_factory=list)
    steps: list[dict[str, int]] = field(default_factory=list)

    @property
    def network(self) -> nn.Module:
        return self.run.state.learner.network

    def look(self) -> None:
        moments, named = self.run.state.optimizer.state, self.network.named_parameters()
        self.states.append(copied(self.network))
        self.kept.append(copied(self.run.state.network))
        self.steps.append({name: int(moments[p]["step"]) for name, p in named if p in moments})


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def moved(states: list[dict[str, Tensor]], epoch: int) -> set[str]:
    """Returns the names of what an epoch changed."""
    before, after = states[epoch : epoch + 2]
    return {name for name in after if not torch.equal(before[name], after[name])}


def trained(inputs: TrainingInputs, folder: Path, **changes) -> Seen:
    seen = Seen(build(inputs, folder, **changes))

    def log(row, *, step: int, kind: str) -> None:
        if kind == "epoch":
            seen.look()

    seen.look()
    train(seen.run, place=HERE, log=log)
    return seen


def of_backbone(names) -> set[str]:
    return {name for name in names if name.startswith(BACKBONE)}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_the_backbone_stays_as_it_was_and_then_learns(inputs, tmp_path, changes):
    """Parameters, statistics and moments, to the bit; everything else learns in all epochs."""
    seen = trained(inputs, tmp_path, frozen_epochs=FROZEN_EPOCHS, **changes)
    parameters = {name for name, _ in seen.network.named_parameters()}
    parameters = {name for name in parameters if not name.startswith("representation.")}
    backbone = of_backbone(parameters)
    statistics = {n for n, _ in seen.network.named_buffers() if n.endswith(STATISTICS)}
    assert backbone
    for epoch in range(NUM_EPOCHS):
        is_frozen = epoch < FROZEN_EPOCHS
        steps = dict.fromkeys(parameters - backbone, (epoch + 1) * STEPS_PER_EPOCH)
        if not is_frozen:
            steps |= dict.fromkeys(backbone, (epoch + 1 - FROZEN_EPOCHS) * STEPS_PER_EPOCH)
        assert seen.steps[epoch + 1] == steps
        expected = parameters | statistics
        if is_frozen:
            expected -= of_backbone(expected)
        if epoch >= changes.get("classification_epochs", 0):
            assert moved(seen.states, epoch) == expected
        assert of_backbone(moved(seen.states, epoch)) == of_backbone(expected)
        assert of_backbone(moved(seen.kept, epoch)) == of_backbone(expected)


@pytest.mark.parametrize("frozen_epochs", [0, FROZEN_EPOCHS])
@pytest.mark.parametrize(
    "changes",
    [{}, {"images_at_once": 3}, on("csn", "timm:test_resnet"), on("csn")],
    ids=["ag_man", "in parts", "resnet of timm", "csn"],
)
def test_the_backbones_norms_stay_as_they_were_and_no_others(
    inputs, tmp_path, changes, frozen_epochs
):
    seen = trained(inputs, tmp_path, frozen_norms=True, frozen_epochs=frozen_epochs, **changes)
    norms = {
        f"{name}.{part}"
        for name, module in seen.network.named_modules()
        if isinstance(module, _BatchNorm)
        for part in ("weight", "bias", *STATISTICS)
    }
    own = norms - of_backbone(norms)
    assert own
    assert norms > own
    for epoch in range(NUM_EPOCHS):
        names = moved(seen.states, epoch)
        assert own <= names
        assert not of_backbone(norms) & names
        assert bool(of_backbone(names)) == (epoch >= frozen_epochs)
        assert not of_backbone(norms) & {*seen.steps[epoch + 1]}


def first_batch(run: Run):
    return next(run.feed.batches(first_step=0, rank=0, world_size=1))


@pytest.mark.parametrize("backbone", ["tiny", "convnext_tiny"])
def test_the_rest_learns_from_the_backbone_as_it_is_used(inputs, tmp_path, backbone):
    """Of the gradients that a backbone in evaluation gives, those outside it are taken."""
    changes = on("ag_man", backbone)
    whole, frozen = (build(inputs, tmp_path, frozen_epochs=n, **changes) for n in (0, 1))
    learner = whole.state.learner.train()
    for stage in backbone_stages(learner.network):
        stage.eval()
    learner(first_batch(whole)).total.backward()
    frozen.state.learner.train()(first_batch(frozen)).total.backward()
    expected = dict(learner.network.named_parameters())
    for name, parameter in frozen.state.learner.network.named_parameters():
        if of_backbone([name]):
            assert parameter.grad is None
        else:
            # a convolution may sum in another order where its input wants no gradient
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-6)


def test_no_graph_is_kept_of_what_is_frozen(inputs, tmp_path):
    """But of the last stage: AG-MAN's lies behind what learns."""
    learner = build(inputs, tmp_path, frozen_epochs=1).state.learner.train()
    kept = {}
    for stage in backbone_stages(learner.network):
        stage.register_forward_hook(lambda s, _, made: kept.update({s.position: made.grad_fn}))
    learner(first_batch(build(inputs, tmp_path)))
    assert kept[0] is kept[1] is None
    assert kept[2] is not None


def test_frozen_in_all_epochs_the_backbone_is_what_was_loaded(inputs, tmp_path):
    """Linear probing; with FashionSearchNet-v2's last stage after it."""
    changes = {"objective": "soft_triplet", "global_ranking_epochs": 1, "classification_epochs": 1}
    run = build(inputs, tmp_path, frozen_epochs=NUM_EPOCHS, **STAGES | changes)
    before = copied(run.state.network)
    train(run, place=HERE, log=lambda *_, **__: None)
    rank_globally(run, tmp_path / BEST_WEIGHTS, place=HERE, log=lambda *_, **__: None)
    after = load_file(tmp_path / BEST_WEIGHTS)
    still = {name for name in after if torch.equal(after[name], before[name])}
    assert of_backbone(after) <= still
    assert not {name for name in still if name.startswith(("conv5.", "representation.proj"))}


def test_validation_of_frozen_epochs_counts(inputs, tmp_path, monkeypatch):
    maps = iter([50.0, 40.0, 60.0, 70.0])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: {"valid_map": next(maps)})
    run = build(inputs, tmp_path, frozen_epochs=2, early_stopping_epochs=1)
    train(run, place=HERE, log=lambda *_, **__: None)
    assert [row["valid_map"] for row in run.state.curve] == [50, 40]


@pytest.mark.slow
def test_compiled_it_is_frozen_as_long(inputs, tmp_path):
    """What is compiled for one stage is compiled again for the next."""
    plain = trained(inputs, tmp_path / "plain", frozen_epochs=FROZEN_EPOCHS)
    seen = Seen(build(inputs, tmp_path / "compiled", frozen_epochs=FROZEN_EPOCHS))
    seen.run.state.learner.compile(backend="aot_eager")
    train(seen.run, place=HERE, log=lambda *_, **__: None)
    torch.testing.assert_close(copied(seen.network), plain.states[-1], rtol=1e-3, atol=1e-4)


BATCHES_ALONE = {  # no statistics of a batch anywhere, which two workers have of their own
    **on("csn", normalise_features=False),
    "frozen_epochs": 2,
    "frozen_norms": True,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "backbone_rate": 0.5,
    "ema_decay": 0.5,
}


def _train(rank: int, folder: Path, inputs: TrainingInputs, parts: list[int | None]) -> None:
    """One of the two workers of the test below; leaves weights in files."""
    place = Place(rank=rank, world_size=2, device=torch.device("cpu"))
    for number, part in enumerate(parts):
        state = folder / f"{number}-{rank}"
        run = build(inputs, state, place=place, images_at_once=part, **BATCHES_ALONE)
        wrapped = []

        def wrap(run=run, wrapped=wrapped) -> nn.Module:
            wrapped.append(sum(p.requires_grad for p in run.state.learner.parameters()))
            return DistributedDataParallel(run.state.learner)

        train(run, place=place, log=lambda *_, **__: None, wrap=wrap)
        torch.save((wrapped, copied(run.state.network)), folder / f"{number}-{rank}.pt")


@pytest.mark.slow
def test_two_workers_train_what_one_trains(inputs, tmp_path):
    """What is wrapped are the parameters that learn; it is wrapped anew where others begin to."""
    parts = [None, 3]
    run_two(_train, tmp_path, inputs, parts)
    alone = trained(inputs, tmp_path / "alone", **BATCHES_ALONE)
    num_parameters = len([*alone.network.parameters()])
    for number in range(len(parts)):
        (wrapped, first), (_, second) = (
            torch.load(tmp_path / f"{number}-{rank}.pt") for rank in range(2)
        )
        num_outside, num_norms = 3, 2 * 4  # weight, bias and masks; each block's weight and bias
        assert wrapped == [num_outside, num_parameters - num_norms]
        assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
        start = alone.states[0]
        for name, tensor in alone.kept[-1].items():
            # sums over two halves differ in the last digits, and Adam's roots of small ones more
            far = (tensor - start[name]).abs().max()
            torch.testing.assert_close(first[name], tensor, rtol=0, atol=1e-3 * float(far))


@pytest.mark.parametrize("name", ["tiny", "timm:test_resnet", "timm:test_efficientnet"])
def test_norms_of_all_workers_are_frozen_too(name):
    """And activate as before: timm has layers that normalise and activate in one."""
    network = nn.Sequential(build_backbone(name, weights="none"), nn.BatchNorm2d(1))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = network[0].eval()(images)
    synchronise_norms(network)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert all(isinstance(stage, Stage) for stage in backbone_stages(network))
    torch.testing.assert_close(network[0].eval()(images), maps, rtol=0, atol=0)
