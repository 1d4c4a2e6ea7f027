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
    TextColumn,
    TimeRemainingColumn,
)

_WIDTH_ELSEWHERE = 160  # of tables in a log, where no terminal sets a width

console = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE
)


@contextmanager
def progress(task: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that counts images done; shows a bar with speed and time left."""
    start = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        number = bar.add_task(task, total=total)
        yield lambda done: bar.advance(number, done)
    seconds = time.monotonic() - start
    console.print(f"{task}: {total} images in {seconds:.1f} s ({total / seconds:.0f} images/s)")
