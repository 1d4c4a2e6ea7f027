"""Which images each worker sees at each step: a pure function of the planned files.

A step's batch is the same for any number of workers W; rank r takes every W-th row from row r on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from components import files, tables
from components.errors import HemlineError
from components.images.augmentation import NUM_DRAWS


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


@dataclass(frozen=True, kw_only=True)
class StepRows:
    """The rows of one step that one worker computes.

    Attributes:
        images: image numbers [n, slots]: three slots for triplets (anchor, positive, negative),
            one for batches.
        attributes: the attribute of each triplet [n]; None where all are asked of every image.
        draws: uniform numbers that decide how each image is augmented [n, slots, NUM_DRAWS].
        images_of_all: image numbers of all workers together [rows, slots].
        seed: of whatever else is drawn for the step, the same on all workers.
    """

    images: NDArray[np.int64]
    attributes: NDArray[np.int64] | None
    draws: NDArray[np.float32]
    images_of_all: NDArray[np.int64]
    seed: tuple[int, int, int]


class Plan(ABC):
    """The planned rows of one training run; call `load_epoch`, then ask for steps.

    The file has one row group per epoch. Augmentation depends on (seed, epoch, row, slot) only.

    Attributes:
        num_epochs: epochs in the file.
        rows_per_step: rows of all workers together in a step.
    """

    _schema: pa.Schema
    rows_per_step: int

    def __init__(self, path: Path, *, seed: int) -> None:
        self.num_epochs = files.num_row_groups(path, schema=self._schema)
        self._path = path
        self._seed = seed
        self.load_epoch(0)

    def load_epoch(self, epoch: int) -> None:
        """Reads the rows of an epoch."""
        self._epoch = epoch
        table = files.read_row_group(self._path, epoch, schema=self._schema)
        self._images, self._attributes = self._rows(table)
        counter = np.random.Philox(key=[self._seed, epoch])
        shape = (*self._images.shape, NUM_DRAWS)
        self._draws = np.random.Generator(counter).random(shape, dtype=np.float32)

    @abstractmethod
    def _rows(self, table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Returns images [rows, slots] and attributes [rows] of an epoch."""

    @property
    def images_per_step(self) -> int:
        """Images of all workers together in a step."""
        return self.rows_per_step * self._images.shape[1]

    @property
    def num_steps(self) -> int:
        """Steps of the loaded epoch; rows beyond the last full step are not used."""
        return len(self._images) // self.rows_per_step

    def rows_of_step(self, step: int) -> range:
        """Returns the rows of an epoch that all workers together compute in a step."""
        return range(step * self.rows_per_step, (step + 1) * self.rows_per_step)

    def step(self, step: int, *, rank: int, world_size: int) -> StepRows:
        """Returns the rows that a worker computes in a step of the loaded epoch."""
        shared = self.rows_of_step(step)
        rows = slice(shared.start + rank, shared.stop, world_size)
        return StepRows(
            images=self._images[rows],
            attributes=None if self._attributes is None else self._attributes[rows],
            draws=self._draws[rows],
            images_of_all=self._images[shared.start : shared.stop],
            seed=(self._seed, self._epoch, step),
        )


class TripletPlan(Plan):
    """Triplets in the order of their file, `triplets_per_batch` a step."""

    _schema = tables.TRIPLETS

    def __init__(self, path: Path, *, triplets_per_batch: int, seed: int) -> None:
        self.rows_per_step = triplets_per_batch
        super().__init__(path, seed=seed)
        if not self.num_steps:
            raise HemlineError(
                f"train.triplets_per_batch {triplets_per_batch} is more than the "
                f"{len(self._images)} triplets of an epoch (sampling.triplets_per_epoch)"
            )

    def _rows(self, table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        slots = [table[name].to_numpy() for name in ("anchor", "positive", "negative")]
        return np.stack(slots, axis=1), table["attribute"].to_numpy().astype(np.int64)


class BatchPlan(Plan):
    """Planned batches, one a step."""

    _schema = tables.BATCHES

    def _rows(self, table: pa.Table) -> tuple[NDArray[np.int64], None]:
        self.rows_per_step = int(np.unique(table["batch"].to_numpy(), return_counts=True)[1][0])
        return table["image"].to_numpy()[:, None], None
