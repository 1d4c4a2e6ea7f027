"""Fixtures that tests of several folders use."""

import logging
import os

import pytest

# read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


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
