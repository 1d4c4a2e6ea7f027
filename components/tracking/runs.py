"""MLflow runs: one per training, which evaluation and registration continue."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow import environment_variables as settings
from mlflow.entities import Experiment, LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from requests import RequestException

from components.credentials import without_credentials
from components.errors import HemlineError
from components.files import read_json, write_json
from components.params import RegistryParams, TrackingParams
from components.tables import LEAKS_FILE, SPLITS_REPORT_FILE
from components.tracking.metric_names import metric_name

NAME_TAG = "mlflow.runName"
ORIGIN_RUN_TAG = "hemline.origin_run"  # of a run that stands for one of another store
ORIGIN_STORE_TAG = "hemline.origin_store"
_NOTE_TAG = "mlflow.note.content"  # the description

_ENTITIES_PER_CALL = 100  # params or tags, MLflow's limit
_ABSENT = "RESOURCE_DOES_NOT_EXIST"
_SILENT = "does not answer"
_FAILURES = {  # what MLflow's error codes mean; any other is a refusal
    _ABSENT: "does not have that",
    "INTERNAL_ERROR": _SILENT,
    "TEMPORARILY_UNAVAILABLE": _SILENT,
}
_FILES_METHODS = ("log_artifact", "log_artifacts", "log_model_artifacts", "download_artifacts")
# a server answers when it has sent a file on to its own store, or fetched it from there
_FILES_TIMEOUT_S = 180
_FILES_RETRIES = 1

_log = logging.getLogger(__name__)


class AbsentError(HemlineError):
    """The store answers, and does not have what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where a project's runs and versions are kept: stores, experiment, and the model's name.

    `registry_uri` is the store of the versions where it is not that of the runs. Runs are in the
    experiment of the id `experiment_id`, else of the name `experiment`; None: of any name. A local
    store puts artifacts into the folder `artifact_root`; a server decides that itself.

    Raises:
        HemlineError: two servers, and their addresses hold two logins.
    """

    uri: str
    artifact_root: str
    registry_uri: str | None = None
    experiment: str | None = TrackingParams.experiment
    experiment_id: str | None = None
    model_name: str = RegistryParams.model

    def __post_init__(self) -> None:
        if len({_login(uri) for uri in (self.uri, self.registry_uri) if _is_server(uri)}) < 2:
            return
        if "MLFLOW_TRACKING_USERNAME" not in os.environ:  # MLflow has one login, for both
            raise HemlineError(
                f"MLflow would send one login to {self.address} and to {self.registry_address}, "
                "and these addresses do not hold the same: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, which both servers must know, and take logins out of "
                "MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI"
            )

    @property
    def address(self) -> str:
        """The URI of runs without credentials: what is shown and written down."""
        return without_credentials(self.uri)

    @property
    def has_begun(self) -> bool:
        """Whether there is a store of versions to ask: asking SQLite makes the file."""
        uri = self.registry_uri or self.uri
        return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()

    @property
    def registry_address(self) -> str:
        """The URI of versions without credentials."""
        return without_credentials(self.registry_uri or self.uri)

    def client(self) -> "StoreClient":
        """Returns a client of the stores."""
        return StoreClient(self)

    def activate(self) -> None:
        """Makes these the stores of MLflow's module-level functions."""
        mlflow.set_tracking_uri(log_in(self.uri))
        given = os.environ.get("MLFLOW_REGISTRY_URI")
        mlflow.set_registry_uri(log_in(self.registry_uri or self.uri))
        if given is None and self.registry_uri is None:
            # MLflow puts it there, where it would look as if somebody wanted a store of its own
            os.environ.pop("MLFLOW_REGISTRY_URI", None)

    def download(self, uri: str, into: Path | None, *, address: str | None = None) -> Path:
        """Returns a folder with the files of an MLflow URI; a temporary one where none is given.

        `address` says which store is asked; by default, that of runs.

        Raises:
            AbsentError: the store does not have them.
            HemlineError: the store does not answer, or refuses.
        """
        self.activate()
        target = None if into is None else str(into)
        with self.answering(address, moves_files=True):
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target))

    @contextmanager
    def answering(self, address: str | None = None, *, moves_files: bool = False) -> Iterator[None]:
        """Turns MLflow's errors in the block into hemline's, which hold no credentials.

        MLflow's own are not chained to them: their texts may hold the store's URI, or signed ones.
        `address` says which store is asked; by default, that of runs. Where files are moved, a
        server that has them from elsewhere gets time to answer.

        Raises:
            AbsentError: the store does not have what was asked for.
            HemlineError: the store does not answer, or refuses.
        """
        try:
            with _time_for_files() if moves_files else nullcontext():
                yield
        except (MlflowException, RequestException) as error:
            code = getattr(error, "error_code", "INTERNAL_ERROR")
            failure = _FAILURES.get(code, "refuses")
            asked = address or self.address
            text = without_credentials(f"the MLflow store {asked} {failure}: {error}")
            if failure == _SILENT and not asked.startswith("sqlite:"):
                named = "MLFLOW_TRACKING_URI" if asked == self.address else "MLFLOW_REGISTRY_URI"
                text += f"\n{named} names it: start it again, or name another store"
            raise (AbsentError if code == _ABSENT else HemlineError)(text) from None


class StoreClient:
    """`mlflow.MlflowClient` of two stores, with the errors of `Tracking.answering`."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._client = MlflowClient(
            tracking_uri=log_in(tracking.uri),
            registry_uri=log_in(tracking.registry_uri or tracking.uri),
        )

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        of_registry = "registered_model" in name or "model_version" in name
        address = self._tracking.registry_address if of_registry else self._tracking.address

        def call(*arguments: Any, **named: Any) -> Any:
            with self._tracking.answering(address, moves_files=name in _FILES_METHODS):
                return method(*arguments, **named)

        return call


@contextmanager
def _time_for_files() -> Iterator[None]:
    """Lets MLflow's requests take the time that files take; it has one setting for all requests.

    Threads beside the block have more time too, and a longer time that was set is kept.
    """
    before = {
        setting: setting.get_raw()
        for setting in (
            settings.MLFLOW_HTTP_REQUEST_TIMEOUT,
            settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        )
    }
    timeout_s = settings.MLFLOW_HTTP_REQUEST_TIMEOUT.get()
    retries = settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    try:
        settings.MLFLOW_HTTP_REQUEST_TIMEOUT.set(max(timeout_s, _FILES_TIMEOUT_S))
        settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(min(retries, _FILES_RETRIES))
        yield
    finally:
        for setting, value in before.items():
            setting.unset() if value is None else setting.set(value)


def log_in(uri: str) -> str:
    """Returns the URI of a server without user and password, which MLflow is given apart from it.

    They go to the environment variables that MLflow reads, unless these are set: MLflow repeats
    the URI in its messages and prints it. Any other URI is returned as it is.
    """
    address = urlsplit(uri)
    if not _is_server(uri) or _login(uri) == "":
        return uri
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(address.username or ""))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(address.password or ""))
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _is_server(uri: str | None) -> bool:
    return urlsplit(uri or "").scheme in ("http", "https")


def _login(uri: str | None) -> str:
    return urlsplit(uri or "").netloc.rpartition("@")[0]


def find_experiment(tracking: Tracking) -> Experiment | None:
    """Returns the experiment of the project's runs; None before its first run.

    Raises:
        HemlineError: it was deleted, the store has none of that id, or id and name contradict each
            other.
    """
    client, name, number = tracking.client(), tracking.experiment, tracking.experiment_id
    try:
        found: Experiment | None = (
            client.get_experiment_by_name(name) if number is None else client.get_experiment(number)
        )
    except AbsentError:
        raise HemlineError(
            f"the MLflow store {tracking.address} has no experiment of the id {number}, which "
            "MLFLOW_EXPERIMENT_ID asks for; MLFLOW_EXPERIMENT_NAME, or tracking.experiment in "
            "params.yaml, name one that is made where it is missing"
        ) from None
    if found is None:
        return None
    if name not in (None, found.name):
        raise HemlineError(
            f"experiment {number} of the MLflow store {tracking.address} is {found.name!r}, not "
            f"{name!r}: unset one of MLFLOW_EXPERIMENT_ID and MLFLOW_EXPERIMENT_NAME"
        )
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise HemlineError(
            f"the experiment {found.name!r} of the MLflow store {tracking.address} was deleted: "
            f"`mlflow experiments restore -x {found.experiment_id}` brings it back, and another "
            "tracking.experiment in params.yaml leaves it alone"
        )
    return found


def start_run(
    tracking: Tracking, *, params: Mapping[str, Mapping[str, Any]], tags: Mapping[str, str]
) -> str:
    """Starts a run with all params and tags, credentials left out, and returns its id."""
    client = tracking.client()
    experiment = find_experiment(tracking)
    if experiment is None:
        is_local = tracking.uri.startswith("sqlite:")
        location = Path(tracking.artifact_root).as_uri() if is_local else None
        experiment_id = client.create_experiment(tracking.experiment, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
    run_id = str(client.create_run(experiment_id).info.run_id)
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
    """Returns the id of the run that a file names, or of the one that stands for it here.

    Raises:
        HemlineError: the file is missing, or the store does not answer or has no such run.
    """
    found = find_run(file, tracking)
    if found is None:
        raise HemlineError(
            f"the MLflow store {tracking.address} has no run {read_json(file)['run_id']}, named in "
            f"{file}; set MLFLOW_TRACKING_URI to the store that has it, or record it and its model "
            "here, without training: hemline register"
        )
    return found


def find_run(file: Path, tracking: Tracking) -> str | None:
    """Returns the id of the run that a file names, or of the one that stands for it; else None.

    Raises:
        HemlineError: the file is missing, or the store does not answer.
    """
    run_id = str(read_json(file)["run_id"])
    try:
        tracking.client().get_run(run_id)
    except AbsentError:
        return find_copy(run_id, tracking)
    return run_id


def find_copy(run_id: str, tracking: Tracking) -> str | None:
    """Returns the id of the run that stands for one of another store; None where none does."""
    experiment = find_experiment(tracking)
    if experiment is None:
        return None
    asked = f"tags.`{ORIGIN_RUN_TAG}` = '{run_id}'"
    # of two, the first: whoever was killed in between goes on with it
    found = tracking.client().search_runs(
        [experiment.experiment_id], asked, order_by=["attributes.start_time ASC"], max_results=1
    )
    return str(found[0].info.run_id) if found else None


def all_runs(tracking: Tracking) -> Iterator[Run]:
    """Yields every run of the project's experiment that was not deleted, the newest first."""
    client, experiment = tracking.client(), find_experiment(tracking)
    token: str | None = ""
    while experiment is not None and token is not None:
        page = client.search_runs([experiment.experiment_id], page_token=token or None)
        yield from page
        token = page.token or None


@contextmanager
def ending(tracking: Tracking, run_id: str) -> Iterator[None]:
    """Marks the run as finished when the block ends, as failed when it raises."""
    client = tracking.client()
    try:
        yield
    except BaseException:
        try:
            client.set_terminated(run_id, "FAILED")
        except HemlineError as unreachable:  # the block's own error says more
            _log.warning("run %s cannot be marked as failed: %s", run_id, unreachable)
        raise
    client.set_terminated(run_id, "FINISHED")


@contextmanager
def system_metrics(tracking: Tracking, run_id: str) -> Iterator[None]:
    """Logs processor, memory, disk, network and GPU of this machine while the block lasts."""
    # psutil and its own threads: only training needs it
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # noqa: PLC0415

    logging.getLogger(SystemMetricsMonitor.__module__).setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=log_in(tracking.uri))
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def log_metrics(
    metrics: Mapping[str, float], *, tracking: Tracking, run_id: str, step: int = 0
) -> None:
    """Logs metrics of one step."""
    now = time.time_ns() // 1_000_000
    batch = [Metric(key, value, now, step) for key, value in metrics.items()]
    tracking.client().log_batch(run_id, metrics=batch)


def metric_values(run_id: str, metric: str, *, tracking: Tracking) -> list[float]:
    """Returns the values of a metric, in order; empty for none.

    It is given by its name as of now, under which those of an older hemline are found too.
    """
    client = tracking.client()
    names = [name for name in client.get_run(run_id).data.metrics if metric_name(name) == metric]
    logged = [entry for name in names for entry in client.get_metric_history(run_id, name)]
    return [entry.value for entry in sorted(logged, key=lambda entry: entry.step)]


def link_artifact(title: str, name: str, *, tracking: Tracking, run_id: str) -> None:
    """Adds a link to a file of the run to its description on MLflow's pages, once."""
    client = tracking.client()
    run = client.get_run(run_id)
    text, link = run.data.tags.get(_NOTE_TAG, ""), artifact_link(title, name, run)
    if link not in text:
        client.set_tag(run_id, _NOTE_TAG, f"{text}\n\n{link}" if text else link)


def artifact_link(title: str, name: str, run: Run) -> str:
    """Returns a link, in Markdown, to a file of a run on the pages of its own MLflow server."""
    return f"[{title}]({page_of(run)}/artifacts/{name})"


def page_of(run: Run) -> str:
    """Returns the address of a run's page on its own MLflow server."""
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def log_file(path: Path, *, tracking: Tracking, run_id: str, folder: str | None = None) -> None:
    """Attaches a file to the run, in a folder of its artifacts where one is named."""
    tracking.client().log_artifact(run_id, str(path), folder)


def log_splits(folder: Path, *, tracking: Tracking, run_id: str) -> None:
    """Attaches a splits folder's report and leaks to the run.

    Tags such as `leaks.identical_file` count the images of a kind that lie in a unit of more than
    one split; kinds that were not looked for have none. A metric would be a chart of one point.
    """
    report = read_json(folder / SPLITS_REPORT_FILE)
    leaks = {f"leaks.{kind}": str(found["num_images"]) for kind, found in report["leaks"].items()}
    set_tags(leaks, tracking=tracking, run_id=run_id)
    for name in (SPLITS_REPORT_FILE, LEAKS_FILE):
        tracking.client().log_artifact(run_id, str(folder / name), "splits")
