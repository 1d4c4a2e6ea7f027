"""All that is resumed: an interrupted run goes on as if it had not been interrupted."""

import contextlib

import pytest
import torch
from safetensors.torch import load_file
from small_run import HERE, build, write_inputs

from components.errors import HemlineError
from components.training.loop import train
from components.training.plan import Plan
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS

torch.set_num_threads(1)

NUM_EPOCHS = 3


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=NUM_EPOCHS, steps_per_epoch=2)


def train_all(inputs, folder, *, kill_after: int | None = None, **changes):
    """Returns the run and the epochs it logged; killed before the state of an epoch is saved."""
    logged = []

    def log_epoch(record):
        logged.append({key: value for key, value in record.items() if key != "images_per_s"})
        if record["epoch"] == kill_after:
            raise Killed

    run = build(inputs, folder, **changes)
    with contextlib.suppress(Killed):
        train(run, run.state.learner, place=HERE, log_epoch=log_epoch)
    return run, logged


def assert_equal_dicts(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "supcon", "schedule": "one_cycle", "precision": "bf16"},
        {"objective": "triplet", "schedule": "step", "step_epochs": 1, "optimizer": "adamw"},
    ],
    ids=["supcon", "triplet"],
)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(inputs, tmp_path, changes):
    whole, records = train_all(inputs, tmp_path / "whole", **changes)

    folder = tmp_path / "interrupted"
    killed, before = train_all(inputs, folder, kill_after=1, **changes)
    assert [record["epoch"] for record in before] == [0, 1]
    assert killed.state.epoch == 1
    resumed, after = train_all(inputs, folder, **changes)
    assert [record["epoch"] for record in after] == [1, 2]  # the unsaved one again

    assert before[:1] + after == records == whole.state.history == resumed.state.history
    assert_equal_dicts(resumed.state.learner.state_dict(), whole.state.learner.state_dict())
    optimizers = [run.state.optimizer.state_dict() for run in (resumed, whole)]
    assert optimizers[0]["param_groups"] == optimizers[1]["param_groups"]
    for index, state in optimizers[1]["state"].items():
        assert_equal_dicts(optimizers[0]["state"][index], state)
    assert_equal_dicts(
        load_file(folder / BEST_WEIGHTS), load_file(tmp_path / "whole" / BEST_WEIGHTS)
    )


def test_a_finished_run_is_not_trained_again(inputs, tmp_path):
    first, _ = train_all(inputs, tmp_path)
    second, logged = train_all(inputs, tmp_path)
    assert not logged
    assert second.state.history == first.state.history
    assert_equal_dicts(second.state.learner.state_dict(), first.state.learner.state_dict())


def record_of(epoch: int, valid_map: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "loss": 1.0,
        "ranking_loss": 1.0,
        "classification_loss": 1.0,
        "valid_map": valid_map,
    }


def finish(state, epoch: int, valid_map: float, *, save: bool = True) -> None:
    """Finishes an epoch whose weights all bear its number."""
    state.learner.network.reduce[0].weight.data.fill_(epoch)
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
    assert (state.epoch, len(state.history)) == (1, 1)
    assert not [*tmp_path.iterdir()]


def test_killed_while_writing_leaves_the_last_state(inputs, tmp_path, monkeypatch):
    finish(build(inputs, tmp_path).state, 0, 60.0)

    def torn(content, path):
        path.write_bytes(b"half of a st")
        raise Killed

    state = build(inputs, tmp_path).state
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torn)
        with pytest.raises(Killed):
            finish(state, 1, 70.0)
    resumed = build(inputs, tmp_path).state
    assert resumed.epoch == 1
    assert (resumed.learner.network.reduce[0].weight == 0).all()


@pytest.mark.parametrize("damage", ["truncated", "empty", "another file", "another content"])
def test_a_damaged_state_is_an_error(inputs, tmp_path, damage):
    finish(build(inputs, tmp_path).state, 0, 60.0)
    path = tmp_path / "state.pt"
    if damage == "another content":
        torch.save({"weights": torch.zeros(1)}, path)
    else:
        whole = path.read_bytes()
        contents = {"truncated": whole[: len(whole) // 2], "empty": b"", "another file": b"a note"}
        path.write_bytes(contents[damage])
    with pytest.raises(HemlineError, match=r"state\.pt cannot be resumed from.*delete"):
        build(inputs, tmp_path)


def test_the_state_of_another_run_is_an_error(inputs, tmp_path):
    finish(build(inputs, tmp_path, loss_weighting="fixed").state, 0, 60.0)
    with pytest.raises(HemlineError, match=r"(?s)cannot be resumed from.*log_variances"):
        build(inputs, tmp_path, loss_weighting="uncertainty")


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_state(inputs, tmp_path):
    run = build(inputs, tmp_path)
    finish(run.state, 0, 60.0)
    run.state.learner.network.reduce[0].weight.data.fill_(torch.nan)
    with pytest.raises(HemlineError, match=r"not finite in epoch 2; lower train\.learning_rate"):
        train(run, run.state.learner, place=HERE, log_epoch=lambda record: None)
    resumed = build(inputs, tmp_path).state
    assert resumed.epoch == 1
    assert all(p.isfinite().all() for p in resumed.learner.parameters())
