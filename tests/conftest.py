"""Fixtures that tests of several folders use."""

import logging
import os
import sys

import pytest

# Tests run side by side: threads of one would take the cores of another. Read as torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


@pytest.fixture(autouse=True, scope="module")
def no_store_left():
    """Makes MLflow forget the stores that a file's tests used; it keeps them in the environment."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    yield
    if "mlflow" in sys.modules:
        import mlflow  # noqa: PLC0415 - seconds that most tests need not pay

        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def ray_session():
    """A real Ray of two CPUs for the tests of a file.

    Not for all files: what Ray Train leaves running would slow down the tests that start Ray
    themselves.
    """
    import ray  # noqa: PLC0415 - a second of import time that most tests need not pay

    for name in ("ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.WARNING)
    ray.init(
        address="local",
        num_cpus=4,  # of two: workers that wait for one another take little
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,  # workers' lines would arrive in the middle of other tests' output
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
