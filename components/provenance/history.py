"""What a run kept of where it came from, read back: for `hemline lineage` and `reproduce`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Run

from components.errors import HemlineError
from components.provenance import provenance, record
from components.provenance.datasets import DataSet, logged_data_sets
from components.provenance.lineage import Lineage, read_lineage
from components.registry.versions import MODEL_NAME, RegisteredVersion
from components.tracking.runs import EXPERIMENT, AbsentError, Tracking, metric_values


@dataclass(frozen=True, kw_only=True)
class History:
    """All that a run kept of where it came from.

    Attributes:
        lineage: commit, params, and the hashes of what training read.
        status: of the run, as MLflow has it.
        versions: of the model that were registered from it.
        repository: of git, without credentials; None where it has no remote.
        experiment: of DVC; None where it was none.
        num_workers: that trained, in the last epoch; None where nothing was trained.
        machine: system, processor, memory, GPUs.
        libraries: versions of what was installed.
        data_sets: with their counts.
        split: digest of the split; None where the run was not trained by hemline.
        stages: of `dvc.lock`, with all hashes; empty where no stage has followed on training.
        metrics: of the test split.
    """

    lineage: Lineage
    status: str
    versions: tuple[RegisteredVersion, ...]
    repository: str | None
    experiment: str | None
    num_workers: int | None
    machine: Mapping[str, Any]
    libraries: Mapping[str, str]
    data_sets: tuple[DataSet, ...]
    split: str | None
    stages: provenance.Stages
    metrics: Mapping[str, float]

    @property
    def seeds(self) -> dict[str, str]:
        """The seeds, by the name of their parameter."""
        return {key: value for key, value in self.lineage.params.items() if key.endswith(".seed")}


def read_all(run_id: str, *, tracking: Tracking) -> History:
    """Returns all that a run kept of where it came from.

    Raises:
        HemlineError: the store has no such run, or does not answer.
    """
    run = _run(run_id, tracking)
    tags = run.data.tags
    workers = metric_values(run_id, "world_size", tracking=tracking)
    return History(
        lineage=read_lineage(run_id, tracking=tracking),
        status=run.info.status,
        versions=_versions_of(run_id, tracking),
        repository=tags.get(provenance.REPOSITORY_TAG),
        experiment=tags.get(provenance.EXPERIMENT_TAG),
        num_workers=int(workers[-1]) if workers else None,
        machine=json.loads(tags.get(record.MACHINE_TAG, "{}")),
        libraries=_libraries(read_text(run_id, record.LIBRARIES_FILE, tracking=tracking) or ""),
        data_sets=tuple(logged_data_sets(run.inputs)),
        split=tags.get(record.SPLIT_TAG),
        stages=provenance.parse_stages(
            read_text(run_id, record.LOCK_FILE, tracking=tracking) or "{}"
        ),
        metrics={
            name: value for name, value in run.data.metrics.items() if name.startswith("test.")
        },
    )


def read_text(run_id: str, name: str, *, tracking: Tracking) -> str | None:
    """Returns a file of the run's provenance; None where it has no such file."""
    path = f"{record.FOLDER}/{name}"
    client = tracking.client()
    if path not in {file.path for file in client.list_artifacts(run_id, record.FOLDER)}:
        return None
    with TemporaryDirectory() as folder:
        content = Path(client.download_artifacts(run_id, path, folder)).read_bytes()
    return content.decode(errors="surrogateescape")


def copy_outputs(run_id: str, folder: Path, *, tracking: Tracking) -> None:
    """Writes into a folder what the run's stages left to git: metrics and curves."""
    client = tracking.client()
    name = Path(record.OUTPUTS_FOLDER).name
    if record.OUTPUTS_FOLDER not in {
        file.path for file in client.list_artifacts(run_id, record.FOLDER)
    }:
        return
    with TemporaryDirectory() as copies:
        found = Path(client.download_artifacts(run_id, record.OUTPUTS_FOLDER, copies))
        assert found.name == name
        for file in sorted(path for path in found.rglob("*") if path.is_file()):
            target = folder / file.relative_to(found)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def run_of(version: RegisteredVersion, *, tracking: Tracking) -> str:
    """Returns the id of the run that a version was made by.

    Raises:
        HemlineError: it was registered without one.
    """
    found = tracking.client().get_model_version(version.name, str(version.version))
    if not found.run_id:
        raise HemlineError(f"{version.uri} names no run: hemline did not register it")
    return str(found.run_id)


def runs_from(commit: str, *, run_file: str | None, tracking: Tracking) -> list[str]:
    """Returns the ids of runs made from a commit, the oldest first.

    Args:
        commit: full hash; runs of which it was the code.
        run_file: hash of the file that names the run in the commit's `dvc.lock`, where it has one:
            the run whose results the commit records, which were made before it.
        tracking: the store.

    Raises:
        HemlineError: the store does not answer.
    """
    wanted = {f"{provenance.COMMIT_TAG}": commit}
    if run_file:
        wanted[f"{provenance.OUTPUT_PREFIX}{record.RUN_FILE}"] = run_file
    client = tracking.client()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found = [
        run
        for tag, value in wanted.items()
        for run in client.search_runs([experiment.experiment_id], f"tags.`{tag}` = '{value}'")
    ]
    ordered = sorted(found, key=lambda run: run.info.start_time)
    return list(dict.fromkeys(str(run.info.run_id) for run in ordered))


def _run(run_id: str, tracking: Tracking) -> Run:
    try:
        return tracking.client().get_run(run_id)
    except AbsentError:
        raise HemlineError(
            f"the MLflow store {tracking.address} has no run {run_id}; set MLFLOW_TRACKING_URI to "
            "the store that has it"
        ) from None


def _versions_of(run_id: str, tracking: Tracking) -> tuple[RegisteredVersion, ...]:
    found = tracking.client().search_model_versions(f"run_id='{run_id}'")
    numbers = sorted(int(version.version) for version in found if version.name == MODEL_NAME)
    return tuple(RegisteredVersion(name=MODEL_NAME, version=number) for number in numbers)


def _libraries(text: str) -> dict[str, str]:
    pairs = (line.partition("==") for line in text.splitlines())
    return {name: number for name, _, number in pairs if number}
