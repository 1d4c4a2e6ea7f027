"""The lock of a folder: who holds it is said, and a dead process holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.operations.retrain.state import LockedError, only_one

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
HOLD = """
import sys
from pathlib import Path
from pipelines.operations.retrain.state import only_one

with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        holding(tmp_path) as other,
        pytest.raises(LockedError, match=rf"process {other.pid} on .*, since 20"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert str(other.pid) in (tmp_path / "holder.json").read_text()
        with only_one(tmp_path):
            assert str(os.getpid()) in (tmp_path / "holder.json").read_text()


def test_a_second_retrain_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    with holding(tmp_path / ".hemline/retrain") as other:
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.shell.cli import main; main(['retrain'])"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 12, done.stderr
    assert f"process {other.pid}" in done.stderr
    assert not (tmp_path / "reports").exists()
