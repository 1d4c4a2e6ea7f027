"""A run of tests itself: what one test does to it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import write_files

pytestmark = pytest.mark.slow

FILES = {
    "tests/test_job.py": """
import os
import time


def test_before():
    pass


def test_that_ends_its_worker():
    os._exit(1)  # as Ray does where it dies


def test_after():
    pass
""",
    "tests/test_worker.py": """
import time


def test_that_hangs():
    time.sleep(1000)
""",
    "pytest.ini": """
[pytest]
faulthandler_timeout = 5
faulthandler_exit_on_timeout = true
""",
}


def test_a_test_that_ends_its_worker_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "tests")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    own = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=own | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "2 failed, 2 passed" in done.stdout.splitlines()[-1]
    assert "crashed while running 'tests/test_job.py::test_that_ends_its_worker'" in done.stdout
    assert "crashed while running 'tests/test_worker.py::test_that_hangs'" in done.stdout
