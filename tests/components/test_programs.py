"""Programs that are run: output passes through, failures are explained, trees are terminated."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components import programs
from components.errors import HemlineError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# starts a program that starts another, as DVC does, and ends by an exception when it is told to
DRIVER = """
import signal, sys
from components import programs

def stop(number, frame):
    raise SystemExit("stopped")

signal.signal(signal.SIGTERM, stop)
stage = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
dvc = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}])"
programs.run([sys.executable, "-c", dvc])
"""


def test_output_passes_through(capfd: pytest.CaptureFixture[str]) -> None:
    programs.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert sorted(capfd.readouterr().out.split()) == ["err", "out"]


def test_what_is_read_keeps_odd_bytes_and_says_why_it_failed() -> None:
    program = "import sys; sys.stdout.buffer.write(b'caf\\xe9\\r\\n'); sys.exit(%d)"
    said = programs.read([sys.executable, "-c", program % 1], statuses=(0, 1))
    assert said.encode(errors="surrogateescape") == b"caf\xe9\r\n"
    with pytest.raises(HemlineError, match=r"sys\.exit"):
        programs.read([sys.executable, "-c", program % 2])
    with pytest.raises(HemlineError, match="is not installed, or not on PATH"):
        programs.read(["/nowhere/git"])


def test_a_failure_tells_the_end_of_what_was_printed() -> None:
    program = "import sys; [print('line', n) for n in range(100)]; sys.exit(3)"
    with pytest.raises(HemlineError) as failure:
        programs.run([sys.executable, "-c", program])
    assert "line 99" in str(failure.value)
    assert "line 50" not in str(failure.value)
    with pytest.raises(HemlineError, match="exit status 3"):
        programs.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_terminated_driver_terminates_all_that_it_started() -> None:
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
