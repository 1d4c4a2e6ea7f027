"""What commands show: results on standard output, progress and notes on standard error.

Progress is a bar in a terminal, lines elsewhere.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from rich.box import HEAVY_HEAD, Box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

_WIDTH_ELSEWHERE = 160  # of tables in a log, where no terminal sets a width
_MIN_PATH = 12  # characters that stay of a path, however narrow the terminal is
_SECONDS_BETWEEN_LINES = 30  # of a log

console = Console(  # no markup: names and paths may hold [brackets]
    highlight=False,
    markup=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE,
)
"""Results for people: nothing where a JSON document is asked for."""

notes = Console(
    highlight=False,
    soft_wrap=True,
    stderr=True,
    width=None if sys.stderr.isatty() else _WIDTH_ELSEWHERE,
)
"""Progress and notes: nothing under --quiet."""

_warnings = Console(highlight=False, soft_wrap=True, stderr=True)
_document: TextIO | None = None  # where the one JSON document goes


@contextmanager
def speaking(*, quiet: bool, as_json: bool) -> Iterator[None]:
    """While the block lasts, notes are off if `quiet`, and with JSON so are results for people.

    Standard output is then the one document; what libraries print there goes to standard error.
    """
    global _document  # noqa: PLW0603 - there is one standard output
    before = notes.quiet
    notes.quiet, console.quiet = quiet or before, as_json
    try:
        if as_json:
            _document = sys.stdout
            with redirect_stdout(sys.stderr):
                yield
        else:
            yield
    finally:
        notes.quiet, console.quiet, _document = before, False, None


def print_json(content: Any) -> None:
    """Prints a JSON document to the standard output; numbers that JSON lacks, as NaN, are null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False)
    (_document or sys.stdout).write(f"{text}\n")


def warn(text: str) -> None:
    """Prints a warning, under --quiet too."""
    shown = _warnings if notes.quiet else notes
    shown.print(f"warning: {text}", markup=False, style="bold yellow")


@contextmanager
def as_notes() -> Iterator[None]:
    """Makes notes of what is written to standard output while the block lasts."""
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w")) if notes.quiet else sys.stderr
        stack.enter_context(redirect_stdout(nowhere))
        yield


def plain(text: str) -> Text:
    """Returns text as it is: no markup, and no control characters that steer the terminal."""
    return Text("".join(x if x.isprintable() else ascii(x)[1:-1] for x in text))


def table(
    title: str,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    *,
    rows: Iterable[Sequence[str]] = (),
    box: Box = HEAVY_HEAD,
) -> Table:
    """Returns a table of plain cells: columns of text, then right-aligned columns of numbers."""
    made = Table(title=plain(title), title_justify="left", box=box)
    for column in texts:
        made.add_column(plain(column), overflow="fold")
    for column in numbers:
        made.add_column(plain(column), justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*map(plain, row))
    return made


def print_with_paths(made_of: Callable[[Sequence[str]], Table], addresses: Sequence[str]) -> None:
    """Prints a table whose last column has paths, on one line each.

    They are relative to the folder that all are in, and lose their middle where they are too long.

    Args:
        made_of: returns the table with the paths that it is given, one for each row.
        addresses: paths or addresses of the rows.
    """
    folders = zip(*(address.split("/")[:-1] for address in addresses), strict=False)
    shared = takewhile(lambda names: len({*names}) == 1, folders)
    folder = "/".join(names[0] for names in shared)
    without = console.measure(made_of([""] * len(addresses))).maximum - len("path")
    width = max(console.width - without, _MIN_PATH)
    made = made_of([_shortened(each.removeprefix(f"{folder}/"), width) for each in addresses])
    made.columns[-1].no_wrap, made.columns[-1].overflow = True, "ellipsis"
    console.print(made)
    if folder:
        console.print(plain(f"paths are relative to {folder}"))


def _shortened(text: str, width: int) -> str:
    """Returns a text of at most `width` characters, without its middle where it is longer."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Returns a bar with further columns before the time left; only a terminal shows it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=notes.quiet or not notes.is_terminal,
    )


@contextmanager
def progress(task: str, *, total: int, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Gives a function that counts images, or others of a unit, done.

    A terminal shows a bar with speed and time left, a log a line every half minute.
    """
    start = last_line = time.monotonic()
    num_done = 0
    bar = progress_bar(TextColumn("{task.fields[speed]}"))

    def advance(num_images: int) -> None:
        nonlocal num_done, last_line
        num_done += num_images
        bar.advance(number, num_images)
        recent = bar.tasks[0].speed  # over the last half minute
        bar.update(number, speed=_speed(recent, unit) if recent else "")
        now = time.monotonic()
        if bar.disable and now - last_line > _SECONDS_BETWEEN_LINES:
            last_line = now
            speed = num_done / (now - start)
            left_s = (total - num_done) / speed
            notes.print(
                f"{task}: {num_done} of {total} {unit}, {_speed(speed, unit)}, {left_s:.0f} s left"
            )

    with bar:
        number = bar.add_task(task, total=total, speed="")
        yield advance
    seconds = time.monotonic() - start
    notes.print(f"{task}: {total} {unit} in {seconds:.1f} s ({_speed(total / seconds, unit)})")


def _speed(per_s: float, unit: str) -> str:
    return f"{per_s:.{1 if per_s < 10 else 0}f} {unit}/s"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
