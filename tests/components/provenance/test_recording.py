"""What a run keeps of where it came from, written and read: real git, a real MLflow store."""

import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from mlflow.utils.validation import _validate_tag_name

from components.errors import HemlineError
from components.files import read_json
from components.params import resolved
from components.provenance import dvc_files, origin, recording
from components.provenance.dvc_files import LOCK, format_lock
from components.provenance.origin import DataSet
from components.registry.versions import RegisteredVersion
from components.tracking import runs

SECRET = "hunter2"
RUN_FILE = "99914b932bd37a50b983c5e7c90ae93b"  # the MD5 of {}
STAGES = {
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
    "evaluate": {  # of an earlier run
        "cmd": "x",
        "deps": [{"path": "models/run.json", "md5": "1"}],
        "outs": [{"path": "metrics/evaluation.json", "md5": "4"}],
    },
}
PIPELINE = {"stages": {"train": {"cmd": "x", "outs": [{"plots/training.csv": {"cache": False}}]}}}
VARIED = (
    *("margin", "temperature", "positive_scale", "negative_scale", "similarity_threshold"),
    *("weight_decay", "learning_rate", "max_gradient_norm", "warmup_share", "flip_probability"),
)
DATA = DataSet(
    name="small", source="data/raw", digest="5" * 64, counts={"images": 4, "test query": 1}
)


def git(*arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


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
    Path("dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    Path("plots/training.csv").write_text("epoch\n0\n")
    Path("models").mkdir()
    Path("models/run.json").write_text("{}")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "x")
    git("remote", "add", "origin", f"https://me:{SECRET}@host/repo.git")
    LOCK.write_text(format_lock(STAGES))
    Path("params.yaml").write_text(f"data:\n  root: s3://me:{SECRET}@bucket/raw\nx: 2\n")
    return runs.Tracking(uri=f"sqlite:///{place}/mlflow.db", artifact_root=str(place / "artifacts"))


@pytest.fixture(scope="module")
def run_id(tracking: runs.Tracking) -> str:
    """A run that was started, trained and registered."""
    run_id = runs.start_run(
        tracking,
        params={"data": {"root": f"s3://me:{SECRET}@bucket/raw"}, "train": {"seed": 3}},
        tags=recording.origin_tags(
            ["data/splits", f"s3://me:{SECRET}@bucket/raw", "unknown"],
            experiment={origin.EXPERIMENT_TAG: "wide"},
        ),
    )
    recording.record_start(DATA, tracking=tracking, run_id=run_id)
    for epoch, num_workers in enumerate([4, 2]):
        runs.log_metrics({"world_size": num_workers}, tracking=tracking, run_id=run_id, step=epoch)
    recording.record_outputs(Path("models/run.json"), tracking=tracking, run_id=run_id)
    client = tracking.client()
    client.create_registered_model("hemline")
    client.create_model_version("hemline", source="x", run_id=run_id)
    recording.tag_version(
        RegisteredVersion(name="hemline", version=1), tracking=tracking, run_id=run_id
    )
    return run_id


def test_what_a_run_keeps_is_read_back(tracking, run_id) -> None:
    found = origin.read_origin(run_id, tracking=tracking)
    assert found.commit == git("rev-parse", "HEAD")
    assert found.has_local_changes
    assert found.inputs == {"data/splits": "1.dir", "s3:/bucket/raw": "e"}
    assert found.repository == "https://host/repo.git"
    assert found.experiment == "wide"
    assert found.seeds == {"train.seed": "3"}
    assert found.num_workers == 2
    assert found.machine["num_cpus"] >= 1
    (data,) = found.data_sets
    assert (data.name, data.source, data.counts) == ("small", "data/raw", DATA.counts)
    assert found.split == DATA.digest
    assert found.split.startswith(data.digest)
    version_1 = RegisteredVersion(name="hemline", version=1)
    assert origin.versions_of(run_id, tracking=tracking) == (version_1,)
    assert origin.run_of(version_1, tracking=tracking) == run_id
    assert origin.read_libraries(run_id, tracking=tracking)["mlflow"] == version("mlflow")
    stages = origin.read_stages(run_id, tracking=tracking)
    assert list(stages) == ["ingest", "train"], "evaluate is of another run"


def test_the_changes_of_the_tree_and_what_git_keeps_are_attached(
    tracking, run_id, tmp_path
) -> None:
    patch = origin.read_text(run_id, origin.PATCH_FILE, tracking=tracking)
    assert "-x: 1\n+x: 2\n" in patch
    assert "dvc.lock" not in patch
    origin.copy_outputs(run_id, tmp_path / "copy", tracking=tracking)
    assert (tmp_path / "copy/plots/training.csv").read_text() == "epoch\n0\n"


def test_what_stages_write_is_no_local_change(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    Path("plots").mkdir()
    Path("plots/training.csv").write_text("1")
    git("add", "-A")
    git("commit", "-qm", "second")
    for name in ("dvc.lock", "plots/training.csv"):
        Path(name).write_text("2")
    clean = {origin.COMMIT_TAG: git("rev-parse", "HEAD"), origin.DIRTY_TAG: "false"}
    assert recording.git_tags() == clean
    Path("notes.txt").write_text("2")
    assert recording.git_tags() == {**clean, origin.DIRTY_TAG: "true"}
    folder = repository / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository))
    assert recording.git_tags() == {}, "outside a repository"
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(HemlineError, match=r"safe\.directory"):  # no tags would look like no git
        recording.git_tags()


def test_a_stage_that_has_yet_to_run_again_does_not_say_what_it_reads(repository: Path) -> None:
    stages = {
        "split": {"outs": [{"path": "data/splits", "md5": "new"}]},
        "train": {"deps": [{"path": "data/splits", "md5": "old"}]},
    }
    LOCK.write_text(format_lock(stages))
    assert recording.origin_tags(["data/splits"], experiment={})["dvc.data/splits"] == "new"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/raw", "dvc.data/raw"),
        ("/srv/data/", "dvc./srv/data"),
        ("../../raw", "dvc.__/__/raw"),
        ("my data (new)/é@2", "dvc.my data _new_/é_2"),
        ("s3://key:secret@bucket/raw", "dvc.s3:/bucket/raw"),
    ],
)
def test_any_path_gives_a_tag_that_mlflow_takes(repository: Path, path: str, name: str) -> None:
    LOCK.write_text(format_lock({"a": {"deps": [{"path": path, "etag": "1"}]}}))
    assert recording.origin_tags([path], experiment={})[name] == "1"
    _validate_tag_name(name)


def test_hashes_of_another_run_are_left_alone(tracking) -> None:
    other = runs.start_run(tracking, params={}, tags={})
    run_file = Path("models/run.json")
    run_file.write_text('{"run_id": "trained by hand"}')
    recording.record_outputs(run_file, tracking=tracking, run_id=other)
    run_file.write_text("{}")
    assert origin.read_stages(other, tracking=tracking) == {}


def test_a_version_is_tagged_with_what_it_is_looked_up_by(tracking, run_id) -> None:
    tags = tracking.client().get_model_version("hemline", "1").tags
    assert tags["hemline.commit"] == git("rev-parse", "HEAD")
    assert tags["hemline.git_dirty"] == "true"
    assert tags["hemline.split"] == DATA.digest
    assert tags["hemline.dvc_lock"] == dvc_files.digest(dvc_files.up_to_date(STAGES))


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
    other = runs.start_run(tracking, params={}, tags={origin.COMMIT_TAG: "c0ffee"})

    def found(commit: str, run_file: str | None) -> list[str]:
        runs_found = origin.find_runs(commit, run_file=run_file, tracking=tracking)
        return [run.run_id for run in runs_found]

    assert found(git("rev-parse", "HEAD"), None) == [run_id]
    assert found("c0ffee", None) == [other]
    assert found("c0ffee", RUN_FILE) == [run_id, other]
    assert found("abad1dea", "none") == []


def test_a_runs_name_says_network_experiment_and_what_varies(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("params.yaml")

    def name(text: str, **experiment: str) -> str:
        path.write_text(text)
        return recording.run_name(
            resolved(path), params=path, data_set="wardrobe", experiment=experiment
        )

    assert name("split: {seed: 8}") == "ag_man · wardrobe", "there is no commit to compare with"
    git("init", "-q")
    path.write_text("train: {margin: 0.3}\n")
    git("add", "-A")
    git("commit", "-qm", "one")
    baseline = git("rev-parse", "HEAD")
    path.write_text("model: {name: asen}\n")
    git("commit", "-qam", "two")
    assert name("model: {name: asen}") == "asen · wardrobe"
    assert name("split: {seed: 8}") == "ag_man · split.seed=8"
    assert name("model: {name: asen, weights: none}\ngate: {confidence: 0.9}") == "asen · wardrobe"
    assert (
        name(
            "data: {root: x/b, exclude_attributes: [a]}\ntrain: {margin: 0.3}",
            **{origin.EXPERIMENT_TAG: "puffy-lamb", origin.BASELINE_TAG: baseline},
        )
        == 'ag_man · puffy-lamb · data.root=x/b, data.exclude_attributes=["a"]'
    )
    many = "\n".join(["train:", *(f"  {key}: 0.123456" for key in VARIED)])
    assert len(name(many)) == 200
