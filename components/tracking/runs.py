"""MLflow runs: one per training, which evaluation and registration go on with."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.time import get_current_time_millis

from components.credentials import without_credentials
from components.errors import HemlineError
from components.files import read_json, write_json

EXPERIMENT = "hemline"

_ENTITIES_PER_CALL = 100  # params or tags, MLflow's limit

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where runs are kept.

    Attributes:
        uri: of the tracking store and the registry.
        artifact_root: where a local store puts artifacts; a server decides that for itself.
    """

    uri: str
    artifact_root: str

    @property
    def address(self) -> str:
        """The URI without credentials: what is shown and written down."""
        return without_credentials(self.uri)

    def client(self) -> MlflowClient:
        """Returns a client of the store."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def activate(self) -> None:
        """Makes this the store of MLflow's module-level functions."""
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)


def start_run(
    tracking: Tracking, *, params: Mapping[str, Mapping[str, Any]], tags: Mapping[str, str]
) -> str:
    """Starts a run that holds all params and tags, and returns its id.

    Credentials in addresses are left out.
    """
    client = tracking.client()
    run_id = str(client.create_run(_experiment_id(tracking)).info.run_id)
    flat = {
        f"{section}.{key}": value for section, keys in params.items() for key, value in keys.items()
    }
    entities = [Param(key, without_credentials(str(value))) for key, value in flat.items()]
    for start in range(0, len(entities), _ENTITIES_PER_CALL):
        client.log_batch(run_id, params=entities[start : start + _ENTITIES_PER_CALL])
    set_tags(tags, tracking=tracking, run_id=run_id)
    return run_id


def set_tags(tags: Mapping[str, str], *, tracking: Tracking, run_id: str) -> None:
    """Sets tags of a run; credentials in addresses are left out."""
    entities = [
        RunTag(without_credentials(key), without_credentials(value)) for key, value in tags.items()
    ]
    for start in range(0, len(entities), _ENTITIES_PER_CALL):
        tracking.client().log_batch(run_id, tags=entities[start : start + _ENTITIES_PER_CALL])


def continue_or_start_run(
    file: Path,
    tracking: Tracking,
    *,
    params: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, str],
) -> str:
    """Returns the id of the run that `file` names, or of a new one, which `file` then names."""
    if file.exists():
        run_id = read_run(file, tracking)
        tracking.client().update_run(run_id, "RUNNING")  # it may have failed the last time
        return run_id
    run_id = start_run(tracking, params=params, tags=tags)
    write_json({"run_id": run_id, "tracking_uri": tracking.address}, file)
    return run_id


def read_run(file: Path, tracking: Tracking) -> str:
    """Returns the id of the run that a file names.

    Raises:
        HemlineError: the file is missing, or the tracking store does not answer or has no such
            run.
    """
    run_id = str(read_json(file)["run_id"])
    try:
        tracking.client().get_run(run_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise HemlineError(
                f"the MLflow store {tracking.address} does not answer: {error}"
            ) from error
        raise HemlineError(
            f"the MLflow store {tracking.address} has no run {run_id}, named in {file}; "
            "set MLFLOW_TRACKING_URI to the store that has it, or train here: dvc repro -f train"
        ) from error
    return run_id


@contextmanager
def ending(tracking: Tracking, run_id: str) -> Iterator[None]:
    """Marks the run as finished when the block ends, as failed when it raises."""
    client = tracking.client()
    try:
        yield
    except BaseException:
        try:
            client.set_terminated(run_id, "FAILED")
        except MlflowException as unreachable:  # the block's own error says more
            _log.warning("run %s cannot be marked as failed: %s", run_id, unreachable)
        raise
    client.set_terminated(run_id, "FINISHED")


@contextmanager
def system_metrics(tracking: Tracking, run_id: str) -> Iterator[None]:
    """Logs processor, memory, disk, network and GPU of this machine while the block lasts."""
    logging.getLogger(SystemMetricsMonitor.__module__).setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=tracking.uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def log_metrics(
    metrics: Mapping[str, float], *, tracking: Tracking, run_id: str, step: int = 0
) -> None:
    """Logs metrics of one step."""
    now = get_current_time_millis()
    batch = [Metric(key, value, now, step) for key, value in metrics.items()]
    tracking.client().log_batch(run_id, metrics=batch)


def read_history(run_id: str, metric: str, *, tracking: Tracking) -> list[float]:
    """Returns what was logged of a metric, in order; empty where that is nothing."""
    history = tracking.client().get_metric_history(run_id, metric)
    return [entry.value for entry in sorted(history, key=lambda entry: entry.step)]


def log_file(path: Path, *, tracking: Tracking, run_id: str, folder: str | None = None) -> None:
    """Attaches a file to the run, in a folder of its artifacts where one is named."""
    tracking.client().log_artifact(run_id, str(path), folder)


def log_splits(folder: Path, *, tracking: Tracking, run_id: str) -> None:
    """Attaches a splits folder's report and leaks to the run.

    Metrics such as `leaks.identical_file` count the images of a kind that lie in a unit of more
    than one split; kinds that were not looked for have none.
    """
    report = read_json(folder / "report.json")
    leaks = {f"leaks.{kind}": found["num_images"] for kind, found in report["leaks"].items()}
    log_metrics(leaks, tracking=tracking, run_id=run_id)
    for name in ("report.json", "leaks.parquet"):
        tracking.client().log_artifact(run_id, str(folder / name), "splits")


def _experiment_id(tracking: Tracking) -> str:
    client = tracking.client()
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return str(known.experiment_id)
    is_local = tracking.uri.startswith("sqlite:")
    location = Path(tracking.artifact_root).as_uri() if is_local else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))
