"""Training on real Ray Train workers, and what happens when one is killed."""

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from ray import cloudpickle
from safetensors.torch import load_file
from small_run import MODEL, TRAIN, write_inputs

from components.errors import HemlineError
from components.images.remote_store import StoreLocation, publish_store
from components.params import TrainParams
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS, EpochRecord, read_history
from components.training.worker import run_training

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

NUM_EPOCHS = 3
TWO_WORKERS = TrainParams(**TRAIN | {"num_workers": 2, "cpus_per_worker": 1, "max_failures": 1})


def note_epoch(record: EpochRecord, *, folder: Path) -> None:
    with (folder / "epochs").open("a") as file:
        file.write(f"{record['epoch']}\n")


def note_epoch_and_die_once(record: EpochRecord, *, folder: Path) -> None:
    note_epoch(record, folder=folder)
    if record["epoch"] == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=NUM_EPOCHS, steps_per_epoch=2)


def published(inputs: TrainingInputs, folder: Path) -> TrainingInputs:
    """Returns the same inputs, whose store the workers have to copy from a URL."""
    url = f"file://{folder}/published"
    publish_store(inputs.store.local(), url)
    return replace(inputs, store=StoreLocation(address=url, cache=folder / "cache"))


def run(inputs: TrainingInputs, folder: Path, params: TrainParams, log_epoch) -> None:
    run_training(
        inputs,
        model_params=MODEL,
        train_params=params,
        state_folder=folder / "state",
        log_epoch=partial(log_epoch, folder=folder),
    )


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced_and_nothing_changes(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    run(inputs, undisturbed, TWO_WORKERS, note_epoch)
    run(published(inputs, tmp_path), disturbed, TWO_WORKERS, note_epoch_and_die_once)

    assert (undisturbed / "epochs").read_text().split() == ["0", "1", "2"]
    assert (disturbed / "epochs").read_text().split() == ["0", "1", "1", "2"]
    histories = [read_history(folder / "state") for folder in (undisturbed, disturbed)]
    assert histories[0] == histories[1]
    weights, again = (
        load_file(folder / "state" / BEST_WEIGHTS) for folder in (undisturbed, disturbed)
    )
    assert all(weights[name].equal(again[name]) for name in weights)


def test_no_workers_train_in_this_process(inputs: TrainingInputs, tmp_path: Path) -> None:
    run(inputs, tmp_path, replace(TWO_WORKERS, num_workers=0), note_epoch)
    assert [record["epoch"] for record in read_history(tmp_path / "state")] == [0, 1, 2]


@pytest.mark.usefixtures("ray_session")
def test_what_a_worker_cannot_use_is_told_as_one_message(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    no_weights = replace(MODEL, weights="nowhere")
    with pytest.raises(HemlineError, match=r"^model\.weights: no file nowhere"):
        run_training(
            inputs,
            model_params=no_weights,
            train_params=replace(TWO_WORKERS, num_workers=1, max_failures=0),
            state_folder=tmp_path / "state",
            log_epoch=partial(note_epoch, folder=tmp_path),
        )
