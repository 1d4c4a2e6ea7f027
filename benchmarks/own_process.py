"""Ways that are compared, each in a process of its own: no way meets the memory of another."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any

Begin = Callable[..., Callable[[], Any]]
"""`begin(make, ...)` has a new process make a function, and returns one that calls it there."""

_made: list[Callable[[], Any]] = []  # by this process


@contextmanager
def own_processes() -> Iterator[Begin]:
    """Gives a `Begin`, whose processes end with the block."""
    with ExitStack() as pools:

        def begin(
            make: Callable[..., Callable[[], Any]], *arguments: Any, **options: Any
        ) -> Callable[[], Any]:
            pool = pools.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            pool.submit(_make, make, *arguments, **options).result()
            return lambda: pool.submit(_call).result()

        yield begin


def _make(make: Callable[..., Callable[[], Any]], *arguments: Any, **options: Any) -> None:
    _made.append(make(*arguments, **options))


def _call() -> Any:
    return _made[0]()
