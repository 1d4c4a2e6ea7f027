"""What a retrain leaves on disk while it runs: a lock, and the state that a later one resumes."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components import files
from components.errors import HemlineError


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How a retrain learns what is new.

    `trains` says whether the stages run that train and follow; `grown` are the attributes that they
    grow from the champion, none where they train the whole network. `note` is for people.
    """

    trains: bool
    grown: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class RetrainState:
    """A retrain that has not ended.

    Attributes:
        base: commit at which it began; new data is compared with this commit's.
        branch: branch on which it began; None for a detached HEAD.
        champion: version that was champion when it began; None: there was none.
        judged: version in the workspace when it began, if the gate had judged it; else None.
        has_news: whether it found something to do.
        was_refused: whether a person has to look at its data.
        decision: how it learns what is new; None before it was decided, and without a choice.
    """

    base: str
    branch: str | None
    champion: int | None = None
    judged: int | None = None
    has_news: bool = False
    was_refused: bool = False
    decision: Decision | None = None


def save_state(state: RetrainState, file: Path) -> RetrainState:
    """Writes a state, and returns it."""
    files.write_json(asdict(state), file)
    return state


def read_state(file: Path) -> RetrainState:
    """Returns the state that a retrain left."""
    content = files.read_json(file)
    if decision := content.get("decision"):
        content["decision"] = Decision(**{**decision, "grown": tuple(decision["grown"])})
    return RetrainState(**content)


class LockedError(HemlineError):
    """Another process holds the lock; the message says which."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder while the block lasts.

    The lock is the operating system's, on an open file: it is free once its process is dead. The
    file `holder.json` beside it only tells people who holds it.

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
            f"another retrain is running here: {_describe(holder)}. Wait for it, or stop it"
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
