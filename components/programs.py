"""Running other programs: output passed through or returned, failures explained."""

import subprocess
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which

import psutil

from components.errors import HemlineError, command_line

_TAIL_LINES = 15
_GRACE_S = 20  # between SIGTERM and SIGKILL


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program and passes its output through; an exception here terminates its whole tree.

    Raises:
        HemlineError: it failed; the message has the end of what it printed.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # nothing at night answers a question
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as process:
        try:
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                tail.append(line)
        except BaseException:
            _terminate(process.pid)
            raise
    if process.returncode:
        said = "".join(tail).strip() or f"exit status {process.returncode}"
        raise HemlineError(f"`{command_line(*command)}` failed:\n{said}")


def read(
    command: Sequence[str], *, folder: Path | None = None, statuses: Collection[int] = (0,)
) -> str:
    """Returns what a program prints on its standard output; odd bytes become surrogates.

    Raises:
        HemlineError: it failed; the message is what it printed on its standard error.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        if which(command[0]) is None:
            raise HemlineError(f"{command[0]} is not installed, or not on PATH") from error
        raise HemlineError(f"`{command_line(*command)}` cannot be run: {error}") from error
    if done.returncode not in statuses:
        said = done.stderr.decode(errors="replace").strip()
        raise HemlineError(f"`{command_line(*command)}` failed: {said}")
    return done.stdout.decode(errors="surrogateescape")


def _terminate(pid: int) -> None:
    """Terminates a process and its descendants: DVC alone would leave its stage running."""
    try:
        parent = psutil.Process(pid)
        tree = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(tree, timeout=_GRACE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
