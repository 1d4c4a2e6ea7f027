"""Programs of an operation: what they print passes, how they fail is said, and they are stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.errors import HemlineError
from pipelines.shell import commands

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
# starts a program that starts another, as DVC does, and ends by an exception when it is told to
DRIVER = """
import signal, sys
from pipelines.shell import commands

def stop(number, frame):
    raise SystemExit("stopped")

signal.signal(signal.SIGTERM, stop)
stage = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
dvc = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}])"
commands.run([sys.executable, "-c", dvc])
"""


def test_output_passes_through(capfd: pytest.CaptureFixture[str]) -> None:
    commands.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert sorted(capfd.readouterr().out.split()) == ["err", "out"]


def test_a_failure_tells_the_end_of_what_was_printed() -> None:
    program = "import sys; [print('line', n) for n in range(100)]; sys.exit(3)"
    with pytest.raises(HemlineError) as failure:
        commands.run([sys.executable, "-c", program])
    assert "line 99" in str(failure.value)
    assert "line 50" not in str(failure.value)
    with pytest.raises(HemlineError, match="exit status 3"):
        commands.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_who_is_told_to_stop_stops_all_that_was_started() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        stage = psutil.Process(int(driver.stdout.readline()))
        os.kill(driver.pid, signal.SIGTERM)
        driver.wait(timeout=120)
    assert driver.returncode == 1
    stage.wait(timeout=120)
    assert not stage.is_running()
