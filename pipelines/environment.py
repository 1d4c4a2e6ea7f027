"""The only reader of environment variables: where MLflow and Ray are, and the project's folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.tracking.runs import Tracking

DVC_QUEUED_EXPERIMENTS = Path(".dvc/tmp/exps")


def project_folder() -> Path:
    """Returns the folder of the project, also inside a queued DVC experiment's copy of it."""
    here = Path.cwd()
    for folder in here.parents:
        if here.is_relative_to(folder / DVC_QUEUED_EXPERIMENTS):
            return folder
    return here


def tracking() -> Tracking:
    """Returns the store at MLFLOW_TRACKING_URI, or a SQLite file in the project's folder."""
    folder = project_folder()
    return Tracking(
        uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db",
        artifact_root=str(folder / "mlartifacts"),
    )


@contextmanager
def ray_session(*, needed: bool = True) -> Iterator[None]:
    """Joins the cluster at RAY_ADDRESS, or starts Ray in this process tree; leaves it at the end.

    Args:
        needed: false does nothing, for work that this process does alone.
    """
    for name in ("ray.data", "ray.train"):  # their progress lines; stages show their own
        logging.getLogger(name).setLevel(logging.WARNING)
    if not needed:
        yield
        return
    import ray  # noqa: PLC0415 - a second of import time that only the Ray stages need

    address = os.environ.get("RAY_ADDRESS") or "local"  # "local": never some cluster nearby
    ray.init(address=address, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
