"""What commands show people: tables, and progress as a bar in a terminal or as lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

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
_SECONDS_BETWEEN_LINES = 30  # of a log

console = Console(  # no markup: names and paths may hold [brackets]
    highlight=False,
    markup=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE,
)


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


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Returns a bar with further columns before the time left; only a terminal shows it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
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
            console.print(
                f"{task}: {num_done} of {total} {unit}, {_speed(speed, unit)}, {left_s:.0f} s left"
            )

    with bar:
        number = bar.add_task(task, total=total, speed="")
        yield advance
    seconds = time.monotonic() - start
    console.print(f"{task}: {total} {unit} in {seconds:.1f} s ({_speed(total / seconds, unit)})")


def _speed(per_s: float, unit: str) -> str:
    return f"{per_s:.{1 if per_s < 10 else 0}f} {unit}/s"
