"""The mark of a retrain that has begun and not ended: what a later one needs to go on with it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from components import files
from components.provenance import git


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A retrain that has not ended.

    Attributes:
        base: commit that it began at; its data is what new data is held against.
        branch: that it began on; None for a commit without a branch.
        has_news: whether it found something to do.
        was_refused: whether a person has to look at its data.
    """

    base: str
    branch: str | None
    has_news: bool = False
    was_refused: bool = False


def begin() -> Begun:
    """Returns the mark of a retrain that begins now."""
    return Begun(base=git.head(), branch=git.branch())


def read_begun(file: Path) -> Begun | None:
    """Returns the mark of a retrain that did not end; None where every one has."""
    return Begun(**files.read_json(file)) if file.exists() else None


def write_begun(begun: Begun, file: Path) -> None:
    """Writes the mark."""
    files.write_json(asdict(begun), file)
