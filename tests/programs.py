"""Programs that tests start and kill."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

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


def kill(program: subprocess.Popen[Any]) -> None:
    """Kills the leader of a session and all that it started, and waits until they are no more.

    DVC takes a process that is about to end for one that holds its locks.
    """
    started = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(program.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    for process in started:  # those with a session of their own
        with suppress(psutil.NoSuchProcess):
            process.kill()
    program.wait()
    _, left = psutil.wait_procs(started, timeout=TIMEOUT_S)
    assert not left
