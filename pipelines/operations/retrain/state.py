"""The mark of a retrain that has begun and not ended: what a later one needs to go on with it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from components import files
from pipelines.shell import workspace


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A retrain that has not ended.

    Attributes:
        base: commit that it began at; new data is compared with the data of this commit.
        branch: branch that it began on; None for a commit without a branch.
        champion: version that was champion when it began; None: there was none.
        judged: version of the workspace when it began, where the gate had judged it; else None.
        has_news: whether it found something to do.
        was_refused: whether a person has to look at its data.
    """

    base: str
    branch: str | None
    champion: int | None = None
    judged: int | None = None
    has_news: bool = False
    was_refused: bool = False


def begin(champion: int | None = None) -> Begun:
    """Returns the state of a retrain that begins now, under this champion."""
    return Begun(base=workspace.head(), branch=workspace.branch(), champion=champion)


def read_begun(file: Path) -> Begun | None:
    """Returns the mark of a retrain that did not end; None where every one has."""
    return Begun(**files.read_json(file)) if file.exists() else None


def write_begun(begun: Begun, file: Path) -> None:
    """Writes the mark."""
    files.write_json(asdict(begun), file)
