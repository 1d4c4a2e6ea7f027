"""How fast training goes."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class Pace:
    """Images per second and the share of time spent waiting for data, since the last look.

    Args of the constructor:
        images_per_step: of all workers together.
    """

    def __init__(self, *, images_per_step: int) -> None:
        self._images_per_step = images_per_step
        self._start = time.monotonic()
        self._num_steps = 0
        self._waited_s = 0.0

    def timed(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yields the batches, each counted as a step, and the time until each as waiting."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited_s += time.monotonic() - asked
            self._num_steps += 1
            yield batch

    def look(self) -> tuple[float, float]:
        """Returns images per second and share of time waited since the last look; begins anew."""
        now = time.monotonic()
        elapsed = max(now - self._start, 1e-9)
        rates = self._num_steps * self._images_per_step / elapsed, self._waited_s / elapsed
        self._start, self._num_steps, self._waited_s = now, 0, 0.0
        return rates
