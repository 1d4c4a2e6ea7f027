"""What a run keeps of where it came from, written and read: real git, a real MLflow store."""

import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from components.files import read_json
from components.provenance import history, provenance, record
from components.provenance.datasets import DataSet
from components.registry.versions import MODEL_NAME, RegisteredVersion
from components.tracking import runs

SECRET = "hunter2"
RUN_FILE = "99914b932bd37a50b983c5e7c90ae93b"  # the MD5 of {}
LOCK = {
    "ingest": {
        "cmd": "x",
        "deps": [{"path": f"s3://me:{SECRET}@bucket/raw", "etag": "e"}],
        "outs": [{"path": "data/splits", "md5": "1.dir"}],
    },
    "train": {
        "cmd": "x",
        "deps": [{"path": "data/splits", "md5": "1.dir"}],
        "outs": [
            {"path": "models/run.json", "md5": RUN_FILE},
            {"path": "plots/training.csv", "md5": "3"},
        ],
    },
    "evaluate": {  # of the run before
        "cmd": "x",
        "deps": [{"path": "models/run.json", "md5": "1"}],
        "outs": [{"path": "metrics/evaluation.json", "md5": "4"}],
    },
}
PIPELINE = {"train": {"cmd": "x", "outs": [{"plots/training.csv": {"cache": False}}]}}
DATA = DataSet(
    name="small", source="data/raw", digest="5" * 64, counts={"images": 4, "test query": 1}
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the project and of the store."""
    folder = tmp_path_factory.mktemp("record")
    (folder / "project/plots").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "project")
        yield folder


@pytest.fixture(scope="module")
def tracking(place: Path) -> runs.Tracking:
    """A store beside a project that has run, whose code and params have changed."""
    Path("params.yaml").write_text(f"data:\n  root: s3://me:{SECRET}@bucket/raw\nx: 1\n")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": PIPELINE}))
    Path("plots/training.csv").write_text("epoch\n0\n")
    Path("models").mkdir()
    Path("models/run.json").write_text("{}")
    remote = f"https://me:{SECRET}@host/repo.git"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    commands = [
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-qm", "x"],
        ["remote", "add", "origin", remote],
    ]
    for arguments in commands:
        subprocess.run(["git", *who, *arguments], check=True)
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": LOCK}))
    Path("params.yaml").write_text(f"data:\n  root: s3://me:{SECRET}@bucket/raw\nx: 2\n")
    return runs.Tracking(uri=f"sqlite:///{place}/mlflow.db", artifact_root=str(place / "artifacts"))


@pytest.fixture(scope="module")
def run_id(tracking: runs.Tracking) -> str:
    """A run that was started, trained and registered."""
    run_id = runs.start_run(
        tracking,
        params={"data": {"root": f"s3://me:{SECRET}@bucket/raw"}, "train": {"seed": 3}},
        tags=record.origin_tags(
            ["data/splits", f"s3://me:{SECRET}@bucket/raw"],
            experiment={provenance.EXPERIMENT_TAG: "wide"},
        ),
    )
    record.record_start(DATA, tracking=tracking, run_id=run_id)
    runs.log_metrics({"world_size": 2}, tracking=tracking, run_id=run_id)
    record.record_outputs(Path("models/run.json"), tracking=tracking, run_id=run_id)
    client = tracking.client()
    client.create_registered_model(MODEL_NAME)
    client.create_model_version(MODEL_NAME, source="x", run_id=run_id)
    record.tag_version(
        RegisteredVersion(name=MODEL_NAME, version=1), tracking=tracking, run_id=run_id
    )
    return run_id


def test_what_a_run_keeps_is_read_back(tracking, run_id) -> None:
    found = history.read_all(run_id, tracking=tracking)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert found.lineage.commit == head.stdout.strip()
    assert found.lineage.has_local_changes
    assert found.lineage.inputs == {"data/splits": "1.dir", "s3:/bucket/raw": "e"}
    assert found.versions == (RegisteredVersion(name=MODEL_NAME, version=1),)
    assert found.repository == "https://host/repo.git"
    assert found.experiment == "wide"
    assert found.seeds == {"train.seed": "3"}
    assert found.num_workers == 2
    assert found.machine["num_cpus"] >= 1
    assert found.libraries["mlflow"] == version("mlflow")
    (data,) = found.data_sets
    assert (data.name, data.source, data.counts) == ("small", "data/raw", DATA.counts)
    assert found.split == DATA.digest
    assert found.split.startswith(data.digest)
    assert list(found.stages) == ["ingest", "train"], "evaluate is of another run"


def test_the_changes_of_the_tree_and_what_git_keeps_are_attached(
    tracking, run_id, tmp_path
) -> None:
    patch = history.read_text(run_id, record.PATCH_FILE, tracking=tracking)
    assert "-x: 1\n+x: 2\n" in patch
    assert "dvc.lock" not in patch
    history.copy_outputs(run_id, tmp_path / "copy", tracking=tracking)
    assert (tmp_path / "copy/plots/training.csv").read_text() == "epoch\n0\n"


def test_hashes_of_another_run_are_left_alone(tracking) -> None:
    other = runs.start_run(tracking, params={}, tags={})
    run_file = Path("models/run.json")
    run_file.write_text('{"run_id": "trained by hand"}')
    record.record_outputs(run_file, tracking=tracking, run_id=other)
    run_file.write_text("{}")
    assert history.read_all(other, tracking=tracking).stages == {}


def test_a_version_is_tagged_with_what_it_is_looked_up_by(tracking, run_id) -> None:
    tags = tracking.client().get_model_version(MODEL_NAME, "1").tags
    found = history.read_all(run_id, tracking=tracking)
    assert tags[record.VERSION_COMMIT_TAG] == found.lineage.commit
    assert tags[provenance.DIRTY_TAG] == "true"
    assert tags[record.SPLIT_TAG] == DATA.digest
    assert tags[record.LOCK_TAG] == provenance.digest(provenance.current(LOCK))


def test_no_credential_is_kept_anywhere(run_id, place: Path) -> None:
    secret = runs.Tracking(uri=f"https://me:{SECRET}@host", artifact_root="")
    assert secret.address == "https://host"
    assert run_id
    kept = [path for path in place.rglob("*") if path.is_file()]
    ours = [path for path in kept if not path.is_relative_to(place / "project")]
    assert len(ours) > 4  # the database, hashes, libraries, patch, curve
    assert not [path for path in ours if SECRET.encode() in path.read_bytes()]


def test_the_file_that_names_a_run_has_no_credential(tracking, tmp_path: Path) -> None:
    where = Misnamed(uri=tracking.uri, artifact_root=tracking.artifact_root)
    runs.continue_or_start_run(tmp_path / "run.json", where, params={}, tags={})
    assert read_json(tmp_path / "run.json")["tracking_uri"] == "https://host"


class Misnamed(runs.Tracking):
    """A real store under the address of a server."""

    @property
    def address(self) -> str:
        return runs.Tracking(uri=f"https://me:{SECRET}@host", artifact_root="").address


def test_runs_are_found_by_their_commit_and_by_the_file_that_names_them(tracking, run_id) -> None:
    other = runs.start_run(tracking, params={}, tags={provenance.COMMIT_TAG: "c0ffee"})
    commit = history.read_all(run_id, tracking=tracking).lineage.commit
    found = history.runs_from
    assert found(commit, run_file=None, tracking=tracking) == [run_id]
    assert found("c0ffee", run_file=None, tracking=tracking) == [other]
    assert found("c0ffee", run_file=RUN_FILE, tracking=tracking) == [run_id, other]
    assert found("abad1dea", run_file="none", tracking=tracking) == []
