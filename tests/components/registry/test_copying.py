"""A version goes from one real MLflow store to another."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Metric

from components import files
from components.errors import HemlineError
from components.registry import copying, promotion, registration, versions
from components.tracking import runs
from components.tracking.runs import Tracking
from pipelines.operations.publish import publish

METRICS = {"test/map": [(7.5, 0)], "train/loss": [(0.5, 1), (0.25, 2)], "system/cpu": [(3.0, 1)]}


@pytest.fixture
def source(example, tmp_path: Path) -> Tracking:
    """A store with a version that is champion."""
    tracking = store(tmp_path / "here")
    run_id = runs.start_run(
        tracking,
        params={"train": {f"p{number}": number for number in range(150)}},
        tags={"mlflow.source.git.commit": "c" * 40},
    )
    client = tracking.client()
    for name, values in METRICS.items():
        client.log_batch(run_id, metrics=[Metric(name, value, 5, step) for value, step in values])
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    runs.log_file(tmp_path / "dvc.lock", tracking=tracking, run_id=run_id, folder="provenance")
    version = registration.register_package(
        example.package.folder, card="# A card\n", tracking=tracking, run_id=run_id
    )
    versions.write_tag(version, promotion.EMBEDDINGS_TAG, "/here", tracking=tracking)
    versions.write_tag(version, "hemline.commit", "c" * 40, tracking=tracking)
    promotion.move_champion(
        "promote", version.version, expected=None, who="a test", tracking=tracking
    )
    return tracking


def store(folder: Path) -> Tracking:
    folder.mkdir()
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


def files_of(version: versions.RegisteredVersion, tracking: Tracking, into: Path) -> dict[str, str]:
    versions.download(version, tracking=tracking, into=into)
    return {
        path.relative_to(into).as_posix(): files.sha256(path)
        for path in into.rglob("*")
        if path.is_file() and path.name not in ("MLmodel", "registered_model_meta")
    }


def test_a_version_is_copied_once_with_its_run(source, example, pictures, tmp_path) -> None:
    target = store(tmp_path / "there")
    first = versions.resolve("models:/hemline/1", source)
    copied = copying.copy_version(first, source, target)
    assert (copied.version, copied.was_there) == (first, False)
    again = copying.copy_version(first, source, target)
    assert (again.version, again.was_there) == (first, True)

    here, there = source.client(), target.client()
    (version,) = there.search_model_versions("name='hemline'")
    assert list(version.aliases) == []
    assert f"runs/{version.run_id}/artifacts/model_card.md)" in version.description
    assert version.description.endswith("# A card\n")
    assert version.tags["hemline.commit"] == "c" * 40
    assert promotion.EMBEDDINGS_TAG not in version.tags
    run = here.get_run(here.get_model_version("hemline", "1").run_id)
    copy = there.get_run(version.run_id)
    assert copy.data.params == run.data.params
    assert len(copy.data.params) == 150
    assert copy.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert copy.data.tags["hemline.origin_run"] == run.info.run_id
    assert copy.data.tags["hemline.origin_store"] == source.uri
    assert copy.info.status == run.info.status
    logged = {
        name: [(each.value, each.step) for each in there.get_metric_history(copy.info.run_id, name)]
        for name in copy.data.metrics
    }
    assert logged == {name: METRICS[name] for name in ("test/map", "train/loss")}
    attached = there.download_artifacts(copy.info.run_id, "provenance/dvc.lock", str(tmp_path))
    assert Path(attached).read_text() == "stages: {}\n"

    sent = files_of(first, source, tmp_path / "sent")
    assert files_of(copied.version, target, tmp_path / "arrived") == sent
    assert "artifacts/network.pt2" in sent
    target.activate()
    model = mlflow.pyfunc.load_model("models:/hemline/1")
    assert model.metadata.run_id == copy.info.run_id
    found = model.predict(pd.DataFrame({"image": pictures[:1]}))
    assert list(found["attribute"]) == example.package.schema.names


def test_a_copy_that_was_interrupted_is_completed(source, tmp_path, monkeypatch) -> None:
    target = store(tmp_path / "there")
    version = versions.resolve("models:/hemline/1", source)

    def killed(*arguments: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_copy_model", killed)
        with pytest.raises(KeyboardInterrupt):
            copying.copy_version(version, source, target)
    assert target.client().search_model_versions("name='hemline'") == []
    copying.copy_version(version, source, target)
    assert len(list(runs.all_runs(target))) == 1


def test_what_arrives_otherwise_is_not_registered(source, tmp_path, monkeypatch) -> None:
    target = store(tmp_path / "there")
    version = versions.resolve("models:/hemline/1", source)
    whole = mlflow.artifacts.download_artifacts

    def damaged(*, artifact_uri: str = "", **others: str) -> str:
        found = whole(artifact_uri=artifact_uri, **others) if artifact_uri else whole(**others)
        if artifact_uri.startswith("models:/m-"):
            (Path(found) / "artifacts/network.pt2").write_bytes(b"another")
        return found

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", damaged)
    with pytest.raises(HemlineError, match=r"artifacts/network\.pt2 arrived in sqlite:.*nothing"):
        copying.copy_version(version, source, target)
    assert target.client().search_model_versions("name='hemline'") == []


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("models", "models is no MLflow store"),
        ("postgresql://me:s3cret@host/db", "postgresql://host/db is no MLflow store"),
        ("{here}", "is the store that has the version"),
    ],
)
def test_what_is_no_other_store_is_refused(source, monkeypatch, tmp_path, to, problem) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", source.uri)
    with pytest.raises(HemlineError) as raised:
        publish(model="models:/hemline@champion", to=to.format(here=source.uri))
    assert problem in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_the_command_names_the_copy(source, monkeypatch, tmp_path, capsys) -> None:
    target = store(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", source.uri)
    for _ in range(2):
        publish(model="models:/hemline@champion", to=target.uri)
    printed = " ".join(capsys.readouterr().out.split())
    assert "now has models:/hemline/1 as models:/hemline/1" in printed
    assert "mlflow.db has models:/hemline/1 as models:/hemline/1" in printed
    assert versions.champion(replace(target, model_name="hemline")) is None
