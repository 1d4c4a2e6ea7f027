"""The only reader of environment variables: where things are, the project's folder among them."""

import getpass
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.shell import options
from pipelines.shell.reporting import notes

if TYPE_CHECKING:  # fsspec and MLflow, which only some commands need
    from components.images.remote_store import StoreLocation
    from components.tracking.runs import Tracking

DVC_QUEUED_EXPERIMENTS = Path(".dvc/tmp/exps")


def project_folder() -> Path:
    """Returns the folder of the project, also inside a queued DVC experiment's copy of it."""
    here = Path.cwd()
    for folder in here.parents:
        if here.is_relative_to(folder / DVC_QUEUED_EXPERIMENTS):
            return folder
    return here


@contextmanager
def shared_scratch() -> Iterator[Path]:
    """Gives a temporary folder that workers on other machines of the cluster see too."""
    parent = project_folder() / ".hemline" / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def cache_folder() -> Path:
    """Returns the folder for copies that can be fetched again: HEMLINE_CACHE, or in ~/.cache."""
    named = os.environ.get("HEMLINE_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "hemline"


def store_location(address: str) -> "StoreLocation":
    """Returns where a store is; a published one is copied to the cache."""
    from components.images.remote_store import StoreLocation  # noqa: PLC0415

    where = address if "://" in address else str(Path(address).absolute())
    return StoreLocation(address=where, cache=cache_folder())


def experiment_tags() -> dict[str, str]:
    """Returns the tags of the DVC experiment that a stage runs in; none outside of one."""
    from components.provenance.origin import BASELINE_TAG, EXPERIMENT_TAG  # noqa: PLC0415

    given = {
        EXPERIMENT_TAG: os.environ.get("DVC_EXP_NAME"),
        BASELINE_TAG: os.environ.get("DVC_EXP_BASELINE_REV"),
    }
    return {tag: value for tag, value in given.items() if value}


def tracking(params: Path = options.PARAMS) -> "Tracking":
    """Returns where runs and versions are kept.

    MLFLOW_TRACKING_URI names the store, by default a SQLite file in the project's folder, and
    MLFLOW_REGISTRY_URI that of the versions, by default the same. MLFLOW_EXPERIMENT_NAME and
    MLFLOW_EXPERIMENT_ID count more than the params' experiment. Outside of a project, where there
    is no params file, names have their defaults.
    """
    from components.params import RegistryParams, TrackingParams, load_section  # noqa: PLC0415
    from components.tracking.runs import Tracking, log_in  # noqa: PLC0415

    # by MLflow's defaults, a server that hangs is waited for a quarter of an hour
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    folder = project_folder()
    uri, registry_uri, experiment, experiment_id = (
        os.environ.get(f"MLFLOW_{name}") or None
        for name in ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID")
    )
    in_project = params.exists() or params != options.PARAMS
    registry = load_section(params, RegistryParams) if in_project else RegistryParams()
    runs = load_section(params, TrackingParams) if in_project else TrackingParams()
    if experiment is None and experiment_id is None:
        experiment = runs.experiment
    where = Tracking(
        uri=uri or f"sqlite:///{folder}/mlflow.db",
        artifact_root=str(folder / "mlartifacts"),
        registry_uri=registry_uri,
        experiment=experiment,
        experiment_id=experiment_id,
        model_name=registry.model,
    )
    given = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": registry_uri}
    bare = {name: log_in(value) for name, value in given.items() if value}
    os.environ |= bare  # programs started from here print them too
    return replace(
        where,
        uri=bare.get("MLFLOW_TRACKING_URI", where.uri),
        registry_uri=bare.get("MLFLOW_REGISTRY_URI"),
    )


def who() -> str:
    """Returns user and machine, for records of who did something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def ray_session(*, needed: bool = True, num_cpus: int | None = None) -> Iterator[None]:
    """Joins the cluster at RAY_ADDRESS, or starts Ray on this machine; shuts down at the end.

    Does nothing where it is not needed, for work in this process alone. A Ray that is started here
    counts at least `num_cpus`, even if the machine has fewer and workers share them.

    Raises:
        HemlineError: RAY_ADDRESS leads nowhere, or to a cluster that cannot be joined.
    """
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    if not needed:
        yield
        return
    # a second of import time that only the Ray stages need
    import ray.data  # noqa: PLC0415

    from pipelines.shell.cluster import join  # noqa: PLC0415

    address = os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        context = join(address)
    else:  # never some cluster nearby
        # with a dashboard: without one, Ray Train keeps warning that it cannot reach it
        counted = max(num_cpus or 0, os.cpu_count() or 1)
        context = ray.init(address="local", num_cpus=counted, logging_level=logging.ERROR)
    if context.dashboard_url:
        notes.print(f"Ray dashboard: http://{context.dashboard_url}")
    # stages show their own progress, and need not be told that Ray's is off
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
