"""Programs that tests start and kill."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

TIMEOUT_S = 300  # of what takes seconds on a quiet machine


def wait_until(happened: Callable[[], bool]) -> None:
    """Waits for a state, however busy the machine is."""
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def begun(
    start: Callable[[], subprocess.Popen[bytes]], *, when: Callable[[], bool], attempts: int = 3
) -> subprocess.Popen[bytes]:
    """Returns a program that `start` started, the leader of a session, once it does its work.

    One that ends before is started again: on a busy machine a Ray beside another sometimes does
    not come up. What it wrote shows with a failed test.
    """
    for _ in range(attempts):
        program = start()
        try:
            wait_until(lambda program=program: when() or program.poll() is not None)
        except BaseException:
            kill(program)
            raise
        if program.poll() is None:
            return program
        assert not when(), "it ended before it could be killed"
    raise AssertionError("it ended before it had done anything")


def kill(program: subprocess.Popen[bytes]) -> None:
    """Kills the leader of a session and all processes of its group, those that are left."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
