"""The journal of a training run: its metrics on disk, before MLflow has them.

The worker that trains writes rows and never waits for MLflow, where `delivery.py` brings them. The
worker may be killed at any moment and started again: the journal has every row once.
"""

import errno
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from components.errors import HemlineError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the journal; `kind` is "step", "epoch" or "stage", each with its own steps.

    The timestamp counts from 1970. Metrics may be infinite or NaN.
    """

    kind: str
    step: int
    timestamp_ms: int
    metrics: dict[str, float]


class Journal:
    """Appends rows to a file; every step of a kind once, however often training is restarted.

    Nothing is opened before the first row, so that a journal can be pickled and handed to the
    process that writes it, one at a time. A row is with the operating system when `append` returns:
    it survives its process, though not a machine that loses power in the next seconds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_steps: dict[str, int] | None = None

    def __reduce__(self) -> tuple[type["Journal"], tuple[Path]]:
        return Journal, (self._path,)

    def append(self, metrics: Mapping[str, float | None], *, step: int, kind: str = "step") -> None:
        """Writes a row, unless the journal has one of this kind at this step or a later one.

        A resumed training repeats its last steps, whose metrics are known. The steps of a kind rise
        from row to row. Metrics that are None are left out.

        Raises:
            HemlineError: the file cannot be written.
        """
        try:
            if self._last_steps is None:
                self._last_steps = self._open()
            if step <= self._last_steps.get(kind, -1):
                return
            values = {name: float(value) for name, value in metrics.items() if value is not None}
            now = time.time_ns() // 1_000_000
            self._write(Row(kind=kind, step=step, timestamp_ms=now, metrics=values))
        except OSError as error:
            self._last_steps = None  # what may have been written in part is cut off next time
            raise HemlineError(
                f"{self._path} cannot be written ({error.strerror}); its rows are kept: fix "
                "that and run again"
            ) from error
        self._last_steps[kind] = step

    def _open(self) -> dict[str, int]:
        """Returns the last step of each kind; cuts off a row that was written in part."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        reader = Reader(self._path)
        reader.read()
        os.truncate(self._path, reader.position)
        return reader.last_steps

    def _write(self, row: Row) -> None:
        line = f"{json.dumps(asdict(row))}\n".encode()
        # opened each time: closing is when a network file system shows it to other machines
        with self._path.open("ab", buffering=0) as file:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Reader:
    """Reads what is new in a journal, which need not exist yet: whole lines, every step once.

    `position` is the byte behind the last whole line that was read; `last_steps` has the last step
    of each kind, read or known from the start (`after`).
    """

    def __init__(self, path: Path, *, after: Mapping[str, int] | None = None) -> None:
        self.position = 0
        self.last_steps = dict(after or {})
        self._path = path

    def read(self) -> list[Row]:
        """Returns the rows that were written since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self.position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        return [row for line in whole.split(b"\n")[:-1] if (row := self._new_row(line))]

    def _new_row(self, line: bytes) -> Row | None:
        try:
            row = Row(**json.loads(line))
        except (TypeError, ValueError):  # left by a machine that lost power, or by an editor
            _log.warning("%s: a line is not a row of metrics and is left out: %r", self._path, line)
            return None
        if row.step <= self.last_steps.get(row.kind, -1):
            return None
        self.last_steps[row.kind] = row.step
        return row
