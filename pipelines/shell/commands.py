"""Programs that an operation runs: their output passes through, their failure says how it ended."""

import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from components.errors import HemlineError

_TAIL_LINES = 15
_PATIENCE_S = 20  # of stages that are told to stop, before they are killed


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end; when this process is told to stop, so is what the program started.

    Args:
        command: program and arguments; no shell sees them.
        environment: of the program; None: this process's own.

    Raises:
        HemlineError: it failed; the message has the end of what it printed.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # nobody is there at night to answer a question
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as process:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                tail.append(line)
        except BaseException:
            _stop(process.pid)
            raise
    if process.returncode:
        said = "".join(tail).strip() or f"exit status {process.returncode}"
        raise HemlineError(f"`{' '.join(command)}` failed:\n{said}")


def read(command: Sequence[str]) -> str:
    """Returns what a program prints on its standard output.

    Raises:
        HemlineError: it failed; the message is what it printed on its standard error.
    """
    done = subprocess.run(
        command, text=True, check=False, capture_output=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise HemlineError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def _stop(pid: int) -> None:
    """Ends a process and all that it started: DVC would leave its stage to run on."""
    try:
        parent = psutil.Process(pid)
        tree = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(tree, timeout=_PATIENCE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
