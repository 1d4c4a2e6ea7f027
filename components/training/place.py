"""Where a worker stands among the workers."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Place:
    """A worker's number, how many there are, and its device."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that logs and saves."""
        return self.rank == 0
