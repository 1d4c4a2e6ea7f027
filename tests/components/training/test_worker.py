"""Training on real Ray Train workers, and what happens when one is killed."""

import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from ray import cloudpickle
from ray.exceptions import ActorDiedError
from ray.train import ControllerError
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file
from small_run import HERE, MODEL, TRAIN, build, write_inputs

from components.errors import HemlineError
from components.freed_memory import ENVIRONMENT
from components.images.remote_store import StoreLocation, publish_store
from components.params import CheckpointParams, TrainParams
from components.training import worker
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS, read_curve
from components.training.step import Learner
from components.training.worker import run_training

pytestmark = pytest.mark.slow

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

NUM_EPOCHS = 3
# of sums over two workers, the order does not matter; of those over three it does
WORKERS = TrainParams(**TRAIN | {"num_workers": 3, "cpus_per_worker": 1, "max_failures": 1})


def note(metrics, *, step: int, kind: str, folder: Path) -> None:
    with (folder / "rows").open("a") as file:
        file.write(f"{kind}-{step} {metrics.get('loss', metrics.get('step.loss'))}\n")


def note_environment(metrics, *, step: int, kind: str, folder: Path) -> None:
    found = {name: os.environ.get(name) for name in ENVIRONMENT}
    (folder / "environment").write_text(json.dumps(found))


def note_and_die_once(metrics, *, step: int, kind: str, folder: Path) -> None:
    note(metrics, step=step, kind=kind, folder=folder)
    if (kind, step) == ("step", 5) and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def rows(folder: Path) -> list[str]:
    return (folder / "rows").read_text().splitlines()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    return write_inputs(
        tmp_path_factory.mktemp("inputs"),
        num_epochs=NUM_EPOCHS,
        steps_per_epoch=3,
        attributes_per_batch=1,
        images_per_value=3,  # 6 a step: 2 of each worker
    )


def published(inputs: TrainingInputs, folder: Path) -> TrainingInputs:
    """Returns the same inputs, whose store the workers have to copy from a URL."""
    url = f"file://{folder}/published"
    publish_store(inputs.store.local(), url)
    return replace(inputs, store=StoreLocation(address=url, cache=folder / "cache"))


def run(inputs: TrainingInputs, folder: Path, params: TrainParams, log) -> None:
    folder.mkdir(exist_ok=True)
    run_training(
        inputs,
        model_params=MODEL,
        train_params=params,
        checkpoint_params=CheckpointParams(every_steps=2, num_to_keep=2),
        state_folder=folder / "state",
        log=partial(log, folder=folder),
    )


def assert_same_bits(left: Path, right: Path) -> None:
    assert read_curve(left / "state") == read_curve(right / "state")
    weights, others = (load_file(folder / "state" / BEST_WEIGHTS) for folder in (left, right))
    assert all(weights[name].equal(others[name]) for name in weights)


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced_and_nothing_changes(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    """Killed in the middle of an epoch, it resumes from a checkpoint in its middle.

    In that epoch the backbone begins to learn: the undisturbed run has wrapped its learner twice,
    the resumed one once.
    """
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    params = replace(WORKERS, frozen_epochs=1)
    run(inputs, undisturbed, params, note)
    run(published(inputs, tmp_path), disturbed, params, note_and_die_once)

    whole = rows(undisturbed)
    names = [row.split()[0] for row in whole]
    assert names[:6] == ["step-1", "step-2", "step-3", "epoch-0", "step-4", "step-5"]
    assert len(names) == NUM_EPOCHS * (3 + 1)
    assert rows(disturbed) == [*whole[:6], *whole[5:]]  # the step it died in a second time
    assert_same_bits(undisturbed, disturbed)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("max_failures", [0, 1])
def test_a_worker_that_dies_while_ray_stops_the_others_is_one_more_failure(
    inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_failures: int
) -> None:
    """Ray tells it as an error of its controller, which it does not try again."""
    fit, errors = TorchTrainer.fit, [ControllerError(ActorDiedError())]

    def fit_at_last(trainer):
        if errors:
            raise errors.pop()
        return fit(trainer)

    monkeypatch.setattr(TorchTrainer, "fit", fit_at_last)
    params = replace(WORKERS, num_workers=1, max_failures=max_failures)
    if not max_failures:
        with pytest.raises(ControllerError):
            run(inputs, tmp_path, params, note)
        return
    run(inputs, tmp_path, params, note)
    assert [record["epoch"] for record in read_curve(tmp_path / "state")] == [0, 1, 2]


@pytest.mark.usefixtures("ray_session")
def test_workers_keep_the_memory_that_they_free(inputs: TrainingInputs, tmp_path: Path) -> None:
    run(inputs, tmp_path, replace(WORKERS, num_workers=1), note_environment)
    assert json.loads((tmp_path / "environment").read_text()) == ENVIRONMENT


def test_no_workers_train_in_this_process(inputs: TrainingInputs, tmp_path: Path) -> None:
    run(inputs, tmp_path, replace(WORKERS, num_workers=0), note)
    assert [record["epoch"] for record in read_curve(tmp_path / "state")] == [0, 1, 2]


@pytest.mark.usefixtures("ray_session")
def test_what_a_worker_cannot_use_is_told_as_one_message(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    no_weights = replace(MODEL, weights="nowhere")
    with pytest.raises(HemlineError, match=r"^model\.weights: .* tiny has no pretrained weights"):
        run_training(
            inputs,
            model_params=no_weights,
            train_params=replace(WORKERS, num_workers=1, max_failures=0),
            checkpoint_params=CheckpointParams(every_steps=2, num_to_keep=2),
            state_folder=tmp_path / "state",
            log=partial(note, folder=tmp_path),
        )


def test_out_of_memory_says_how_much_and_what_to_change(
    inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(learner, batch):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Learner, "forward", fail)
    expected = r"cpu is out of memory: 6 images of 32 px a step.*images_at_once.*images_per_value"
    with pytest.raises(HemlineError, match=expected):
        run(inputs, tmp_path, replace(WORKERS, num_workers=0), note)


def test_the_pass_ahead_of_training_takes_no_more_memory_and_leaves_nothing(
    inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted = build(inputs, tmp_path, images_at_once=4)
    seen, outputs = [], Learner.outputs

    def note_size(learner, batch):
        seen.append(len(batch))
        return outputs(learner, batch)

    monkeypatch.setattr(Learner, "outputs", note_size)
    monkeypatch.setattr(worker, "prepare_model", lambda learner: learner)  # Ray's, of one worker
    learner = parted.state.learner.eval()
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    assert worker._data_parallel(parted, HERE) is learner
    assert seen == [4, 2, 4, 2]  # forward, and again with gradients
    assert learner.training
    assert all(torch.equal(tensor, before[n]) for n, tensor in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())
