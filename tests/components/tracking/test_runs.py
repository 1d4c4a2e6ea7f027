"""Runs in a real MLflow store on SQLite."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.errors import HemlineError
from components.files import write_json
from components.tracking import runs
from components.tracking.metric_names import metric_name


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


def test_leaks_are_tags_and_files_of_the_run(tracking: runs.Tracking, tmp_path: Path) -> None:
    counts = {"identical_file": (2, 5), "group": (0, 0)}
    leaks = {
        kind: {"num_units": units, "num_images": images} for kind, (units, images) in counts.items()
    }
    write_json({"method": "random", "leaks": leaks}, tmp_path / "report.json")
    (tmp_path / "leaks.parquet").write_bytes(b"a table")
    run_id = runs.start_run(tracking, params={}, tags={})
    runs.log_splits(tmp_path, tracking=tracking, run_id=run_id)

    client = tracking.client()
    data = client.get_run(run_id).data
    assert (data.tags["leaks.identical_file"], data.tags["leaks.group"]) == ("5", "0")
    assert data.metrics == {}, "no charts of a single point"
    attached = [file.path for file in client.list_artifacts(run_id, "splits")]
    assert sorted(attached) == ["splits/leaks.parquet", "splits/report.json"]
    copy = client.download_artifacts(run_id, "splits/report.json", str(tmp_path / "copies"))
    assert Path(copy).read_bytes() == (tmp_path / "report.json").read_bytes()


def test_runs_go_to_the_experiment_that_is_named_or_has_the_id(tracking: runs.Tracking) -> None:
    client = tracking.client()
    named = replace(tracking, experiment="of another project")
    first = client.get_run(runs.start_run(named, params={}, tags={})).info
    by_id = replace(tracking, experiment=None, experiment_id=first.experiment_id)
    second = client.get_run(runs.start_run(by_id, params={}, tags={})).info
    assert second.experiment_id == first.experiment_id
    assert client.get_experiment(first.experiment_id).name == "of another project"
    for where in (named, by_id):
        assert {run.info.run_id for run in runs.all_runs(where)} == {first.run_id, second.run_id}
    assert not {first.run_id, second.run_id} & {run.info.run_id for run in runs.all_runs(tracking)}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"experiment": None, "experiment_id": "4711"}, "no experiment of the id 4711"),
        ({"experiment": None, "experiment_id": "no number"}, "experiment"),
        ({"experiment": "another", "experiment_id": "0"}, "'Default', not 'another'"),
    ],
    ids=["unknown", "no id", "contradiction"],
)
def test_an_experiment_that_cannot_be_meant_is_told(
    tracking: runs.Tracking, names: dict[str, Any], told: str
) -> None:
    with pytest.raises(HemlineError, match=told):
        runs.start_run(replace(tracking, **names), params={}, tags={})


def test_an_experiment_that_was_deleted_is_told_with_the_remedy(tracking: runs.Tracking) -> None:
    gone = replace(tracking, experiment="gone")
    number = tracking.client().create_experiment("gone")
    tracking.client().delete_experiment(number)
    with pytest.raises(HemlineError, match=f"mlflow experiments restore -x {number}"):
        runs.start_run(gone, params={}, tags={})


def test_metrics_are_read_by_their_names_of_now_whatever_they_were_called(
    tracking: runs.Tracking,
) -> None:
    run_id = runs.start_run(tracking, params={}, tags={})
    runs.log_metrics({"images_per_s": 10}, tracking=tracking, run_id=run_id, step=0)
    runs.log_metrics({"train/images_per_s": 20}, tracking=tracking, run_id=run_id, step=1)
    assert runs.metric_values(run_id, "train/images_per_s", tracking=tracking) == [10, 20]
    assert runs.metric_values(run_id, "test/images_per_s", tracking=tracking) == []


@pytest.mark.parametrize(
    ("older", "now"),
    [
        ("loss", "train/loss"),
        ("images_per_s", "train/images_per_s"),
        ("step.loss", "step/loss"),
        ("valid_random_map", "valid/random_map"),
        ("test.map", "test/map"),
        ("test.map.neck_design", "test/map/neck_design"),
        ("test.gain.a/b.c", "test/gain/a:2Fb.c"),
    ],
)
def test_metrics_are_in_groups_on_mlflows_pages(older: str, now: str) -> None:
    assert metric_name(older) == now
    assert metric_name(now) == now


def test_a_description_links_a_file_once_beside_what_somebody_wrote(
    tracking: runs.Tracking,
) -> None:
    run_id = runs.start_run(tracking, params={}, tags={"mlflow.note.content": "The good one."})
    for _ in range(2):
        runs.link_artifact("report", "report.html", tracking=tracking, run_id=run_id)
    run = tracking.client().get_run(run_id)
    place = f"#/experiments/{run.info.experiment_id}/runs/{run_id}/artifacts/report.html"
    assert run.data.tags["mlflow.note.content"] == f"The good one.\n\n[report]({place})"


def test_a_run_of_another_store_is_named_with_the_remedy(
    tracking: runs.Tracking, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    file.write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    with pytest.raises(HemlineError, match="MLFLOW_TRACKING_URI"):
        runs.read_run(file, tracking)
