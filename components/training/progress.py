"""The progress line of training: epoch, step, loss, images per second, time left."""

import sys
import time
from datetime import timedelta

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_REDRAWS = 0.5


class ProgressLine:
    """One line that is redrawn in a terminal, and a plain line now and then elsewhere.

    Args of the constructor:
        num_steps: of the whole run.
        steps_done: of an earlier run that this one goes on with.
    """

    def __init__(self, *, num_steps: int, steps_done: int) -> None:
        self._num_steps = num_steps
        self._steps = steps_done
        self._steps_before = steps_done
        self._images = 0
        self._start = self._last = time.monotonic()
        self._redraws = sys.stdout.isatty()

    def due(self, num_images: int) -> bool:
        """Counts a step of that many images; returns whether a line should be shown now."""
        self._steps += 1
        self._images += num_images
        pause = _SECONDS_BETWEEN_REDRAWS if self._redraws else _SECONDS_BETWEEN_LINES
        return time.monotonic() - self._last >= pause

    def show(self, text: str) -> None:
        """Shows a line: the given text, then speed and time left."""
        self._last = time.monotonic()
        elapsed = self._last - self._start
        left = elapsed / max(self._steps - self._steps_before, 1) * (self._num_steps - self._steps)
        line = (
            f"step {self._steps}/{self._num_steps}  {text}  {self._images / elapsed:.0f} images/s"
            f"  {timedelta(seconds=round(left))} left"
        )
        end = "\r" if self._redraws else "\n"
        sys.stdout.write(("\x1b[2K" if self._redraws else "") + line + end)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        sys.stdout.write(("\x1b[2K" if self._redraws else "") + text + "\n")
        sys.stdout.flush()
