"""One retrain at a time: a lock that the system gives back when its process dies, however."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components import files
from components.errors import HemlineError


class LockedError(HemlineError):
    """Another process holds the lock; the message says which."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder while the block lasts.

    The lock is the operating system's, on an open file: that of a dead process is free. The file
    `holder.json` beside it only tells people who has it, and counts for nothing.

    Raises:
        LockedError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "holder.json"
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"another retrain is at work here: {_describe(holder)}. Wait for it, or stop it"
        ) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        files.write_json(who, holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        who: dict[str, Any] = files.read_json(holder)
    except HemlineError:  # it has the lock and has not written yet, or no longer
        return "it has just begun or is just ending"
    return f"process {who['pid']} on {who['host']}, since {who['since']}"
