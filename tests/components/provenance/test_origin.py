"""Where a run and the champion come from, in a real MLflow store on SQLite."""

from pathlib import Path

import pytest

from components.errors import HemlineError
from components.files import write_json
from components.provenance.origin import read_champion, read_origin
from components.registry.versions import CHAMPION
from components.tracking import runs


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> runs.Tracking:
    folder = tmp_path_factory.mktemp("store")
    return runs.Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "a"))


def test_an_origin_is_what_the_run_was_started_with(tracking: runs.Tracking) -> None:
    tags = {"mlflow.source.git.commit": "c0ffee", "hemline.git_dirty": "true"}
    run_id = runs.start_run(
        tracking,
        params={"train": {"seed": 3}, "split": {"method": "random"}},
        tags={**tags, "dvc.data/splits": "1.dir", "dvc.data/store": "2.dir"},
    )
    found = read_origin(run_id, tracking=tracking)
    assert found.run_id == run_id
    assert found.commit == "c0ffee"
    assert found.has_local_changes
    assert found.params == {"train.seed": "3", "split.method": "random"}
    assert found.inputs == {"data/splits": "1.dir", "data/store": "2.dir"}


def test_metrics_are_those_of_now_whatever_they_were_called(tracking: runs.Tracking) -> None:
    run_id = runs.start_run(tracking, params={}, tags={})
    older = {"world_size": 2, "test.map": 40, "test.map.neck": 30, "valid_map": 50}
    runs.log_metrics(older, tracking=tracking, run_id=run_id)
    found = read_origin(run_id, tracking=tracking)
    assert found.num_workers == 2
    assert found.metrics == {"test/map": 40, "test/map/neck": 30}
    again = {"test/map": 45, "train/world_size": 1}
    runs.log_metrics(again, tracking=tracking, run_id=run_id)
    found = read_origin(run_id, tracking=tracking)
    assert (found.num_workers, found.metrics["test/map"]) == (1, 45)


def test_a_run_outside_git_has_no_commit(tracking: runs.Tracking) -> None:
    found = read_origin(runs.start_run(tracking, params={}, tags={}), tracking=tracking)
    assert (found.commit, found.has_local_changes, found.inputs) == (None, False, {})


def test_the_champion_is_the_version_of_its_alias(tracking: runs.Tracking, tmp_path: Path) -> None:
    assert read_champion(tracking=tracking) is None, "nothing is registered"
    client = tracking.client()
    client.create_registered_model("hemline")
    assert read_champion(tracking=tracking) is None, "no version carries the alias"
    run_ids = [runs.start_run(tracking, params={}, tags={}) for _ in range(3)]
    for run_id in run_ids:
        client.create_model_version("hemline", source=str(tmp_path), run_id=run_id)
    client.set_registered_model_alias("hemline", CHAMPION, "2")
    found = read_champion(tracking=tracking)
    assert (found.version, found.origin.run_id, found.evaluation) == (2, run_ids[1], None)
    write_json({"map": 50.0}, tmp_path / "evaluation.json")
    runs.log_file(tmp_path / "evaluation.json", tracking=tracking, run_id=run_ids[1])
    assert read_champion(tracking=tracking).evaluation == {"map": 50.0}


def test_a_store_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    absent = runs.Tracking(uri="http://127.0.0.1:9", artifact_root=str(tmp_path))
    with pytest.raises(HemlineError, match="does not answer"):
        read_champion(tracking=absent)
