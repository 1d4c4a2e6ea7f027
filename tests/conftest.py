"""Fixtures that tests of several folders use, and the home folder of a run of tests."""

import logging
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
# Tests run side by side: threads of one would take the cores of another. Read as torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# its thread takes a variable out of the environment, where requests may be reading it: KeyError
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
# a thread that a failed test left behind would start another Ray, and the next test could not
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
# how fast a busy machine makes inputs and takes examples is no property of the code
settings.register_profile("hemline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hemline")

# who commits in tests; and git trusts a checkout that belongs to somebody else
_GIT_CONFIG = """
[user]
    name = t
    email = t@example.org
[safe]
    directory = *
"""
# side by side on two cores, Ray clusters miss the timeouts in which they have to start
_CLUSTERS = [
    "test_node_loss",
    "test_job_kills",
    "test_preprocess",  # from here on in one Ray, see `ray_session`
    "test_preprocess_kills",
    "test_cluster",
    "test_job",
    "test_worker",
    "test_readers",
    "test_neighbours_on_ray",
    "test_writers",
]
# what Python, pytest and the tools of `make check` keep
_TOOLS_OWN = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache")


def pytest_configure(config: pytest.Config) -> None:
    """Gives the run a home folder of its own, before xdist starts its workers.

    Libraries write there: fonts of matplotlib, settings of MLflow, DVC and Ray.
    """
    if hasattr(config, "workerinput"):
        return  # a worker of xdist: it has inherited the home folder
    folder = Path(tempfile.mkdtemp(prefix="hemline-", dir="/tmp"))  # short: it has Ray's sockets
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    (folder / ".gitconfig").write_text(_GIT_CONFIG)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        os.environ.pop(name, None)
    os.environ |= {
        "HOME": str(folder),
        "RAY_TMPDIR": str(folder),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that two workers end at about the same time."""
    longest = [
        "test_retrain",
        "test_retrain_growing",
        *_CLUSTERS,
        "test_code_that_runs",
        "test_dag",
        "test_grow_line",
        "test_compare",
    ]
    order = {name: place for place, name in enumerate(longest)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Gives a file's tests to one worker, and all that start Ray clusters to one.

    `--dist loadgroup` would, but pytest-xdist 3.8.0 ignores groups under pytest 9.2 (issue 1386).
    A test that ends its worker, as a Ray that dies does, fails, and is not run again: pytest-xdist
    would run it until it has lost eight workers, and then leave out all that is left.
    """
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - not needed without workers

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "clusters" if Path(file).stem in _CLUSTERS else file

        def remove_node(self, node) -> str | None:
            units = self.assigned_work[node].values()
            left = [(unit, test) for unit in units for test, is_done in unit.items() if not is_done]
            if not left:
                return super().remove_node(node)
            unit, test = left[0]
            unit[test] = True
            super().remove_node(node)
            return test

    return Scheduling(config, log)


@pytest.fixture(autouse=True, scope="session")
def nothing_is_left() -> Iterator[None]:
    """Fails when files have come to the checkout or to the user's home folder."""
    before = _lying_around()
    yield
    left = sorted(_lying_around() - before)
    assert not left, f"tests have left {left}"


def _lying_around() -> set[str]:
    """Returns what git does not track in the checkout, and what lies in the home folder."""
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    found = {line[3:] for line in status if line.startswith(("??", "!!"))}
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # $HOME is this run's own
    for folder in (home, home / ".cache", home / ".config", home / ".local/share"):
        found |= {str(path) for path in folder.glob("*")}
    return {path for path in found if Path(path).name not in _TOOLS_OWN}


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


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends a Ray of this process before files that do not share it."""
    ray = sys.modules.get("ray")
    is_shared = nextitem is not None and nextitem.path.stem in _CLUSTERS
    if ray and ray.is_initialized() and not is_shared:
        ray.shutdown()


@pytest.fixture
def ray_session() -> None:
    """A real Ray of two CPUs, the same for all tests that ask for it one after another.

    Not for all files: what Ray Train leaves running would slow down the tests that start Ray
    themselves.
    """
    import ray  # noqa: PLC0415 - a second of import time that most tests need not pay

    if ray.is_initialized():
        return
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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a repository with a commit, on a machine that knows no author."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for name in ("dvc.lock", "notes.txt"):
        Path(name).write_text("old\n")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *author, *arguments], check=True)
    return tmp_path
