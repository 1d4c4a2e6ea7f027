"""Parts of neighbours, made in this process or by tasks on Ray."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import torch

from components.neighbours.making import RunParts
from components.neighbours.parts import PartMade, PartsMaker


def parts_here(maker: PartsMaker, todo: list[tuple[str, slice]]) -> Iterator[PartMade]:
    """Yields parts that this process makes, as many at a time as torch has threads.

    Each is made by one thread: threads that share every matrix product wait for one another, which
    takes several times as long where the cores have other work too.
    """
    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for done in as_completed([pool.submit(maker.make, key, rows) for key, rows in todo]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)  # of the matrix library, which has one number for all


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
    torch.set_num_threads(1)
    made: PartMade = maker.make(key, rows)
    return made
