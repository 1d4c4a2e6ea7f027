"""All that is resumed: an interrupted run goes on as if it had not been interrupted."""

import contextlib
import resource

import pytest
import torch
from builders import flip_a_bit
from safetensors.torch import load_file
from small_run import HERE, build, write_inputs

from components.errors import HemlineError
from components.params import CheckpointParams
from components.training import loop
from components.training.loop import train
from components.training.plan import Plan
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS, TrainingState
from components.training.step import Learner

pytestmark = pytest.mark.slow

torch.set_num_threads(1)

NUM_EPOCHS, STEPS_PER_EPOCH = 3, 3
EVERY_STEP = CheckpointParams(every_steps=1, num_to_keep=2)
EVERY_FOURTH = CheckpointParams(every_steps=4, num_to_keep=2)
SPEEDS = {"images_per_s", "step.images_per_s", "step.data_wait_share"}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(
        tmp_path_factory.mktemp("inputs"), num_epochs=NUM_EPOCHS, steps_per_epoch=STEPS_PER_EPOCH
    )


def train_all(inputs, folder, *, kill_at: tuple[str, int] | None = None, **changes):
    """Returns the run and the rows it logged, by kind and number; killed as it logs `kill_at`."""
    logged = {}

    def log(row, *, step, kind):
        logged[kind, step] = {key: row[key] for key in row if key not in SPEEDS}
        if (kind, step) == kill_at:
            raise Killed

    run = build(inputs, folder, **changes)
    with contextlib.suppress(Killed):
        train(run, place=HERE, log=log)
    return run, logged


def assert_equal_dicts(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key


def assert_equal_states(left: TrainingState, right: TrainingState) -> None:
    assert left.curve == right.curve
    assert left.steps_done == right.steps_done
    assert left.scheduler.state_dict() == right.scheduler.state_dict()
    assert_equal_dicts(left.learner.state_dict(), right.learner.state_dict())
    assert_equal_dicts(left.network.state_dict(), right.network.state_dict())
    optimizers = [state.optimizer.state_dict() for state in (left, right)]
    assert optimizers[0]["param_groups"] == optimizers[1]["param_groups"]
    assert optimizers[0]["state"].keys() == optimizers[1]["state"].keys()
    for index, state in optimizers[1]["state"].items():
        assert_equal_dicts(optimizers[0]["state"][index], state)


RECIPES = {
    "supcon": {"objective": "supcon", "schedule": "one_cycle", "precision": "bf16"},
    "triplet": {
        "objective": "triplet",
        "schedule": "step",
        "step_epochs": 1,
        "optimizer": "adamw",
        "max_gradient_norm": 0.5,
    },
    "averaged": {"schedule": "cosine", "warmup_share": 0.3, "ema_decay": 0.9, "log_every_steps": 2},
    "frozen at first": {"frozen_epochs": 1, "layer_decay": 0.5, "ema_decay": 0.9},
    "frozen for long": {"frozen_epochs": 2, "frozen_norms": True, "images_at_once": 3},
}
KILLS = {  # where it is killed, how often it saves, the steps it then starts from
    "mid-epoch": (("step", 6), EVERY_FOURTH, 4),
    "before a save": (("step", 4), EVERY_STEP, 3),
    "before an epoch is saved": (("epoch", 1), EVERY_FOURTH, 4),
    "in the first steps": (("step", 2), EVERY_FOURTH, 0),
}


@pytest.fixture(scope="module", params=RECIPES.values(), ids=RECIPES.keys())
def whole(request, inputs, tmp_path_factory):
    """A recipe, and the run, rows and folder of it that were not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return request.param, *train_all(inputs, folder, **request.param), folder


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS.keys())
def test_resuming_gives_the_bits_of_an_uninterrupted_run(inputs, tmp_path, whole, kill):
    recipe, run, rows, folder = whole
    kill_at, checkpoint, expected = kill
    killed, before = train_all(inputs, tmp_path, kill_at=kill_at, checkpoint=checkpoint, **recipe)
    assert killed.state.epoch < NUM_EPOCHS
    assert build(inputs, tmp_path, checkpoint=checkpoint, **recipe).state.steps_done == expected
    resumed, after = train_all(inputs, tmp_path, checkpoint=checkpoint, **recipe)

    for logged in (before, after):
        assert logged == {key: row for key, row in rows.items() if key in logged}
    assert {*before, *after} == {*rows}
    assert ("step", expected) not in after
    assert_equal_states(resumed.state, run.state)
    assert_equal_dicts(load_file(tmp_path / BEST_WEIGHTS), load_file(folder / BEST_WEIGHTS))


def test_a_finished_run_is_not_trained_again(inputs, tmp_path):
    first, _ = train_all(inputs, tmp_path)
    second, logged = train_all(inputs, tmp_path)
    assert not logged
    assert second.state.curve == first.state.curve
    assert_equal_dicts(second.state.learner.state_dict(), first.state.learner.state_dict())


def record_of(epoch: int, valid_map: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "loss": 1.0,
        "ranking_loss": 1.0,
        "classification_loss": 1.0,
        "valid_map": valid_map,
    }


def checkpoints(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pt"))


def finish(state, epoch: int, valid_map: float, *, save: bool = True) -> None:
    """Finishes an epoch of one step; its weights all bear its number."""
    state.learner.network.reduce[0].weight.data.fill_(epoch)
    state.steps_done += 1
    state.finish_epoch(record_of(epoch, valid_map), save=save)


def test_the_best_weights_are_those_of_the_first_best_epoch(inputs, tmp_path):
    state = build(inputs, tmp_path).state
    for epoch, valid_map in enumerate([40.0, 60.0, 50.0, 60.0]):
        finish(state, epoch, valid_map)
    best = load_file(tmp_path / BEST_WEIGHTS)
    assert state.best_map == 60
    assert (best["reduce.0.weight"] == 1).all()
    assert best.keys() == state.learner.network.state_dict().keys()


def test_a_resumed_run_trains_on_the_rows_of_the_epochs_left(inputs, tmp_path, monkeypatch):
    finish(build(inputs, tmp_path).state, 0, 60.0)
    loaded = []
    load_epoch = Plan.load_epoch

    def record(plan, epoch):
        loaded.append(epoch)
        load_epoch(plan, epoch)

    monkeypatch.setattr(Plan, "load_epoch", record)
    train_all(inputs, tmp_path)
    assert loaded == [0, 1, 2]  # the first when the plan is opened


def test_a_resumed_run_remembers_what_was_best(inputs, tmp_path):
    finish(build(inputs, tmp_path).state, 0, 60.0)
    resumed = build(inputs, tmp_path).state
    assert (resumed.epoch, resumed.best_map) == (1, 60.0)
    finish(resumed, 1, 50.0)
    assert (load_file(tmp_path / BEST_WEIGHTS)["reduce.0.weight"] == 0).all()


def test_only_the_worker_that_saves_writes(inputs, tmp_path):
    state = build(inputs, tmp_path).state
    finish(state, 0, 60.0, save=False)
    assert (state.epoch, len(state.curve)) == (1, 1)
    assert not [*tmp_path.iterdir()]


def test_killed_while_writing_leaves_the_last_state(inputs, tmp_path, monkeypatch):
    finish(build(inputs, tmp_path).state, 0, 60.0)

    def torn(content, file):
        file.write(b"half of a st")
        raise Killed

    state = build(inputs, tmp_path).state
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torn)
        with pytest.raises(Killed):
            finish(state, 1, 70.0)
    resumed = build(inputs, tmp_path).state
    assert resumed.epoch == 1
    assert (resumed.learner.network.reduce[0].weight == 0).all()


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "a bit", "another file", "another content"]
)
def test_a_damaged_state_is_an_error(inputs, tmp_path, damage):
    finish(build(inputs, tmp_path).state, 0, 60.0)
    path = tmp_path / "step-000000001.pt"
    if damage == "another content":
        torch.save({"weights": torch.zeros(1)}, path)
    elif damage == "a bit":
        flip_a_bit(path)
    else:
        whole = path.read_bytes()
        contents = {"truncated": whole[: len(whole) // 2], "empty": b"", "another file": b"a note"}
        path.write_bytes(contents[damage])
    with pytest.raises(HemlineError, match=r"step-0+1\.pt cannot be resumed from.*delete"):
        build(inputs, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"loss_weighting": "fixed"}, {"loss_weighting": "uncertainty"}, "log_variances"),
        ({}, {"layer_decay": 0.5}, "number of parameter groups"),
    ],
    ids=["weights", "learning rates"],
)
def test_the_state_of_another_run_is_an_error(inputs, tmp_path, before, after, expected):
    """A run's folder is named by its params, so that it is not asked to."""
    finish(build(inputs, tmp_path, **before).state, 0, 60.0)
    with pytest.raises(HemlineError, match=rf"(?s)cannot be resumed from.*{expected}"):
        build(inputs, tmp_path, **after)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_what_is_not_finite_is_named_and_not_saved(inputs, tmp_path, monkeypatch, broken):
    run = build(inputs, tmp_path, checkpoint=EVERY_FOURTH)
    forward = Learner.forward

    def fail_in_the_sixth_step(learner, batch):
        losses = forward(learner, batch)
        if run.state.steps_done != 5:
            return losses
        if broken == "loss":
            return losses._replace(total=losses.total + torch.inf)
        # a root has no finite slope at zero
        return losses._replace(total=losses.total + (0 * losses.total).sqrt())

    monkeypatch.setattr(Learner, "forward", fail_in_the_sixth_step)
    expected = r"not finite in epoch 2, step 3 \(rows 16 to 23 .*Lower train\.learning_rate"
    with pytest.raises(HemlineError, match=expected):
        train(run, place=HERE, log=lambda row, **of: None)
    resumed = build(inputs, tmp_path).state
    assert resumed.steps_done == 4
    assert all(p.isfinite().all() for p in resumed.learner.parameters())


def test_the_newest_checkpoints_are_kept(inputs, tmp_path):
    train_all(inputs, tmp_path, checkpoint=CheckpointParams(every_steps=1, num_to_keep=3))
    assert checkpoints(tmp_path) == [f"step-{step:09d}.pt" for step in (7, 8, 9)]


def test_a_full_disk_leaves_the_checkpoint_before(inputs, tmp_path):
    """The limit on the size of files stands for the disk's end: writing fails in the middle."""
    state = build(inputs, tmp_path).state
    finish(state, 0, 60.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(HemlineError, match=r"step-0+2\.pt cannot be written .*step-0+1\.pt is"):
            finish(state, 1, 50.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path) == ["step-000000001.pt"]
    assert build(inputs, tmp_path).state.epoch == 1


def test_training_stops_when_validation_does_not_improve(inputs, tmp_path, monkeypatch):
    maps = iter([50.0, 60.0, 60.0, 70.0])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: {"valid_map": next(maps)})
    run, _ = train_all(inputs, tmp_path, early_stopping_epochs=1)
    assert [record["valid_map"] for record in run.state.curve] == [50, 60, 60]
    again, rows = train_all(inputs, tmp_path, early_stopping_epochs=1)
    assert again.is_done
    assert not rows


def test_the_moving_average_is_what_is_kept(inputs, tmp_path):
    decay = 0.5
    run = build(inputs, tmp_path, ema_decay=decay)
    weight = run.state.learner.network.reduce[0].weight
    values, update = [], run.state.finish_step

    def note(losses):
        update(losses)
        values.append(weight.detach().clone())

    run.state.finish_step = note
    train(run, place=HERE, log=lambda row, **of: None)
    expected = values[0]  # of the first step: an average of one
    for value in values[1:]:
        expected = decay * expected + (1 - decay) * value
    averaged = run.state.network.state_dict()["reduce.0.weight"]
    torch.testing.assert_close(averaged, expected)
    assert not torch.allclose(averaged, weight)
    best = max(run.state.curve, key=lambda record: record["valid_map"])
    if best["epoch"] == NUM_EPOCHS - 1:
        assert load_file(tmp_path / BEST_WEIGHTS)["reduce.0.weight"].equal(averaged)
