"""Programs that tests start and kill."""

import subprocess
import time
from collections.abc import Callable


def begun(
    start: Callable[[], subprocess.Popen[bytes]], *, when: Callable[[], bool], attempts: int = 3
) -> subprocess.Popen[bytes]:
    """Returns a program that `start` started, once it does its work.

    One that ends before is started again: on a busy machine a Ray beside another sometimes does
    not come up. What it wrote shows with a failed test.
    """
    deadline = time.monotonic() + 120
    for _ in range(attempts):
        program = start()
        while not when() and program.poll() is None:
            assert time.monotonic() < deadline, "it did not begin"
            time.sleep(0.01)
        if program.poll() is None:
            return program
        assert not when(), "it ended before it could be killed"
    raise AssertionError("it ended before it had done anything")
