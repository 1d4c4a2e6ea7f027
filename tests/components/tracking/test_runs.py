"""Runs in a real MLflow store on SQLite."""

from pathlib import Path

import pytest

from components.errors import HemlineError
from components.tracking import runs


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> runs.Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return runs.Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


def test_a_run_is_started_once_and_gone_on_with(tracking: runs.Tracking, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    arguments = {"params": {"train": {"seed": 3}}, "tags": {"dvc.data/store": "1.dir"}}
    run_id = runs.continue_or_start_run(file, tracking, **arguments)
    assert runs.continue_or_start_run(file, tracking, **arguments) == run_id
    run = tracking.client().get_run(run_id)
    assert run.data.params == {"train.seed": "3"}
    assert run.data.tags["dvc.data/store"] == "1.dir"


def test_a_run_ends_as_its_block_does(tracking: runs.Tracking) -> None:
    run_id = runs.start_run(tracking, params={}, tags={})
    with pytest.raises(KeyboardInterrupt), runs.ending(tracking, run_id):
        raise KeyboardInterrupt
    assert tracking.client().get_run(run_id).info.status == "FAILED"
    with runs.ending(tracking, run_id):
        pass
    assert tracking.client().get_run(run_id).info.status == "FINISHED"


def test_epochs_are_steps(tracking: runs.Tracking) -> None:
    run_id = runs.start_run(tracking, params={}, tags={})
    for epoch, loss in enumerate((2.0, 1.5)):
        runs.log_epoch({"epoch": epoch, "loss": loss}, tracking=tracking, run_id=run_id)
    history = tracking.client().get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 2.0), (1, 1.5)]


def test_a_run_of_another_store_is_named_with_the_remedy(
    tracking: runs.Tracking, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    file.write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    with pytest.raises(HemlineError, match="MLFLOW_TRACKING_URI"):
        runs.read_run(file, tracking)
