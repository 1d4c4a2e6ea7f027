"""Where a run comes from, read from what its MLflow run keeps: code, data, machine and hashes.

The names of tags and files are defined here; `recording.py` writes them.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Run

from components import files
from components.errors import HemlineError
from components.provenance import dvc_files
from components.registry import versions
from components.registry.versions import RegisteredVersion
from components.tables import EVALUATION_FILE
from components.tracking.metric_names import metric_name
from components.tracking.runs import AbsentError, Tracking, find_experiment

COMMIT_TAG = "mlflow.source.git.commit"
DIRTY_TAG = "hemline.git_dirty"
REPOSITORY_TAG = "mlflow.source.git.repoURL"
EXPERIMENT_TAG = "hemline.dvc_experiment"
BASELINE_TAG = "hemline.dvc_baseline"  # the commit that a DVC experiment varies
INPUT_PREFIX = "dvc."  # of tags: dvc.<path> is what a run read, dvc_out.<path> what it made
OUTPUT_PREFIX = "dvc_out."
MACHINE_TAG = "hemline.machine"
LOCK_TAG = "hemline.dvc_lock"
SPLIT_TAG = "hemline.split"
DATA_SET_TAG = "hemline.data_set"

FOLDER = "provenance"  # among the run's artifacts
PATCH_FILE = "local_changes.patch"
LOCK_FILE = "dvc.lock"
LIBRARIES_FILE = "libraries.txt"
OUTPUTS_FOLDER = "outputs"  # what the stages leave to git, under the same paths
RUN_FILE = "models/run.json"  # an output in `dvc.yaml`; names the run


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a run was trained and measured on.

    `source` is the address of the raw files, without credentials; `digest` the SHA-256 of the split
    (read back from MLflow, its first 32 digits). `counts` has images, labels, attributes,
    quarantined rows, and images by split and role.
    """

    name: str
    source: str
    digest: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run comes from, and what it measured on the test split.

    `commit` is None outside of a git repository; `has_local_changes` says whether the code differed
    from it. `params` are by `section.key`, `inputs` DVC's content hashes of what training read, by
    path. `status` is MLflow's, `experiment` DVC's; `machine` is what `describe_machine` found,
    `num_workers` the number of workers in the last epoch, `split` the digest of the split.
    """

    run_id: str
    commit: str | None
    has_local_changes: bool
    params: Mapping[str, str]
    inputs: Mapping[str, str]
    status: str = "FINISHED"
    repository: str | None = None
    experiment: str | None = None
    num_workers: int | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    data_sets: tuple[DataSet, ...] = ()
    split: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def seeds(self) -> dict[str, str]:
        """The seeds, by the name of their parameter."""
        return {key: value for key, value in self.params.items() if key.endswith(".seed")}


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The champion: its number, its run, and its evaluation where the run has one."""

    version: int
    origin: Origin
    evaluation: Mapping[str, Any] | None


def is_run_id(text: str) -> bool:
    """Returns whether a text has the form of a run's id."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def read_origin(run_id: str, *, tracking: Tracking) -> Origin:
    """Returns where a run comes from.

    Raises:
        HemlineError: the store has no such run, or does not answer.
    """
    try:
        run = tracking.client().get_run(run_id)
    except AbsentError:
        raise HemlineError(
            f"the MLflow store {tracking.address} has no run {run_id}; set MLFLOW_TRACKING_URI to "
            "the store that has it"
        ) from None
    return _origin(run)


def _origin(run: Run) -> Origin:
    tags = run.data.tags
    kept = run.data.metrics
    # an older run may have been evaluated again since: its last name counts
    metrics = {metric_name(name): value for name, value in kept.items()} | kept
    inputs = {name: value for name, value in tags.items() if name.startswith(INPUT_PREFIX)}
    return Origin(
        run_id=run.info.run_id,
        commit=tags.get(COMMIT_TAG),
        has_local_changes=tags.get(DIRTY_TAG) == "true",
        params=run.data.params,
        inputs={name.removeprefix(INPUT_PREFIX): value for name, value in inputs.items()},
        status=run.info.status,
        repository=tags.get(REPOSITORY_TAG),
        experiment=tags.get(EXPERIMENT_TAG),
        num_workers=int(metrics["train/world_size"]) if "train/world_size" in metrics else None,
        machine=json.loads(tags.get(MACHINE_TAG, "{}")),
        data_sets=tuple(
            DataSet(
                name=found.dataset.name,
                source=json.loads(found.dataset.source)["uri"],
                digest=found.dataset.digest,
                counts=json.loads(found.dataset.profile or "{}"),
            )
            for found in run.inputs.dataset_inputs
        ),
        split=tags.get(SPLIT_TAG),
        metrics={name: value for name, value in metrics.items() if name.startswith("test/")},
    )


def read_stages(run_id: str, *, tracking: Tracking) -> dvc_files.Stages:
    """Returns the stages of the run's `dvc.lock`; none where no stage has run after training."""
    return dvc_files.parse_lock(read_text(run_id, LOCK_FILE, tracking=tracking) or "{}")


def read_libraries(run_id: str, *, tracking: Tracking) -> dict[str, str]:
    """Returns the versions of all libraries that were installed, by name."""
    lines = (read_text(run_id, LIBRARIES_FILE, tracking=tracking) or "").splitlines()
    pairs = (line.partition("==") for line in lines)
    return {name: number for name, _, number in pairs if number}


def read_text(run_id: str, name: str, *, tracking: Tracking) -> str | None:
    """Returns a file of the run's provenance; None where it has no such file."""
    with TemporaryDirectory() as folder:
        path = _download(run_id, name, Path(folder), tracking=tracking)
        return None if path is None else path.read_bytes().decode(errors="surrogateescape")


def copy_outputs(run_id: str, folder: Path, *, tracking: Tracking) -> None:
    """Writes into a folder what the run's stages left to git: metrics and curves."""
    with TemporaryDirectory() as copies:
        found = _download(run_id, OUTPUTS_FOLDER, Path(copies), tracking=tracking)
        if found:
            shutil.copytree(found, folder, dirs_exist_ok=True)


def _download(run_id: str, name: str, folder: Path, *, tracking: Tracking) -> Path | None:
    """Returns a copy, in a folder, of a file or folder of the run's provenance, if there is one."""
    client, path = tracking.client(), f"{FOLDER}/{name}"
    if path not in {file.path for file in client.list_artifacts(run_id, FOLDER)}:
        return None
    return Path(client.download_artifacts(run_id, path, str(folder)))


def find_runs(commit: str, *, run_file: str | None, tracking: Tracking) -> list[Origin]:
    """Returns the runs of the experiment that were made from a commit (full hash), oldest first.

    `run_file` is the hash, in the commit's `dvc.lock`, of the file that names the run: it finds the
    run whose results the commit records, which was made earlier.

    Raises:
        HemlineError: the store does not answer.
    """
    wanted = {COMMIT_TAG: commit}
    if run_file:
        wanted[f"{OUTPUT_PREFIX}{RUN_FILE}"] = run_file
    client, experiment = tracking.client(), find_experiment(tracking)
    if experiment is None:
        return []
    found = {
        run.info.run_id: run
        for tag, value in wanted.items()
        for run in client.search_runs([experiment.experiment_id], f"tags.`{tag}` = '{value}'")
    }
    return [_origin(run) for run in sorted(found.values(), key=lambda run: run.info.start_time)]


def versions_of(run_id: str, *, tracking: Tracking) -> tuple[RegisteredVersion, ...]:
    """Returns the versions that were registered from a run, under whatever name."""
    found = tracking.client().search_model_versions(f"run_id='{run_id}'")
    names = sorted((version.name, int(version.version)) for version in found)
    return tuple(RegisteredVersion(name=name, version=number) for name, number in names)


def run_of(version: RegisteredVersion, *, tracking: Tracking) -> str:
    """Returns the id of the run that made a version.

    Raises:
        HemlineError: it was registered without one.
    """
    found = tracking.client().get_model_version(version.name, str(version.version))
    if not found.run_id:
        raise HemlineError(f"{version.uri} names no run: hemline did not register it")
    return str(found.run_id)


def read_champion(*, tracking: Tracking) -> Champion | None:
    """Returns the champion; None where there is none.

    Raises:
        HemlineError: the store does not answer.
    """
    number = versions.champion(tracking)
    if number is None:
        return None
    version = RegisteredVersion(name=tracking.model_name, version=number)
    run_id = run_of(version, tracking=tracking)
    with TemporaryDirectory() as folder:
        path = versions.run_file(version, EVALUATION_FILE, Path(folder), tracking=tracking)
        evaluation = None if path is None else files.read_json(path)
    return Champion(
        version=number, origin=read_origin(run_id, tracking=tracking), evaluation=evaluation
    )
