"""Two real processes that train together, for tests of what they agree on."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

Work = Callable[..., Any]
"""(rank, folder, other arguments): what one of the two workers does, in a module's namespace."""


def run_two(work: Work, folder: Path, *arguments: Any) -> None:
    """Runs both workers, the first of them in this process, and waits for the second."""
    spawn = multiprocessing.get_context("spawn")
    second = spawn.Process(target=_run_one, args=(work, 1, folder, *arguments))
    second.start()
    _run_one(work, 0, folder, *arguments)
    second.join()


def _run_one(work: Work, rank: int, folder: Path, *arguments: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    work(rank, folder, *arguments)
    torch.distributed.destroy_process_group()
