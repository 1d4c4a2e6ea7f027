"""What stages show people: progress bars in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_WIDTH_ELSEWHERE = 160  # of tables in a log, where no terminal sets a width
_SECONDS_BETWEEN_LINES = 30  # of a log

console = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE
)


class _SpeedColumn(ProgressColumn):
    """Images or others of a unit per second, over the last half minute."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(_speed(task.speed, self._unit) if task.speed else "")


def _speed(per_s: float, unit: str) -> str:
    return f"{per_s:.{1 if per_s < 10 else 0}f} {unit}/s"


@contextmanager
def progress(task: str, *, total: int, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Gives a function that counts images, or others of a unit, done.

    A terminal shows a bar with speed and time left, a log a line every half minute.
    """
    start = last_line = time.monotonic()
    num_done = 0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _SpeedColumn(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )

    def advance(num_images: int) -> None:
        nonlocal num_done, last_line
        num_done += num_images
        bar.advance(number, num_images)
        now = time.monotonic()
        if bar.disable and now - last_line > _SECONDS_BETWEEN_LINES:
            last_line = now
            speed = num_done / (now - start)
            left_s = (total - num_done) / speed
            console.print(
                f"{task}: {num_done} of {total} {unit}, {_speed(speed, unit)}, {left_s:.0f} s left"
            )

    with bar:
        number = bar.add_task(task, total=total)
        yield advance
    seconds = time.monotonic() - start
    speed = _speed(total / seconds, unit)
    console.print(f"{task}: {total} {unit} in {seconds:.1f} s ({speed})")
