"""Parts of neighbours, made in this process or by tasks on Ray."""

from collections.abc import Iterator
from typing import Any

from components.neighbours.making import RunParts
from components.neighbours.parts import PartMade, PartsMaker


def parts_here(maker: PartsMaker, todo: list[tuple[str, slice]]) -> Iterator[PartMade]:
    """Yields parts that this process makes, with all threads that torch has."""
    for key, rows in todo:
        yield maker.make(key, rows)


def parts_on_ray(num_workers: int) -> RunParts:
    """Returns what makes parts by so many Ray tasks at a time, of one CPU each.

    Vectors are in every node's object store once. All nodes see the folders of the embeddings and
    of the neighbours under the same paths.
    """

    def run(maker: PartsMaker, todo: list[tuple[str, slice]]) -> Iterator[PartMade]:
        import ray  # noqa: PLC0415 - a second that this process alone need not wait

        make = ray.remote(_make).options(num_cpus=1)
        shared = ray.put(maker)
        waiting = list(todo)
        running: set[Any] = set()
        while waiting or running:
            while waiting and len(running) < num_workers:
                running.add(make.remote(shared, *waiting.pop(0)))
            (done,), rest = ray.wait([*running])
            running = {*rest}
            yield ray.get(done)

    return run


def _make(maker: Any, key: str, rows: slice) -> PartMade:
    made: PartMade = maker.make(key, rows, num_threads=1)
    return made
