"""All that is learned or counted in a run, saved and restored as one."""

from pathlib import Path
from typing import TypedDict

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from components import files
from components.errors import HemlineError
from components.training.step import Learner
from components.training.trained import save_weights

BEST_WEIGHTS = "best.safetensors"
_STATE = "state.pt"


class EpochRecord(TypedDict):
    """A row of the learning curve: the columns of `tables.TRAINING`."""

    epoch: int
    loss: float
    ranking_loss: float
    classification_loss: float | None  # None where the network does not classify
    valid_map: float


class TrainingState:
    """Network, loss weights, optimiser, schedule, epochs done and the learning curve so far.

    Attributes:
        epoch: the next epoch to train.
        history: one record per finished epoch.
    """

    def __init__(
        self, learner: Learner, optimizer: Optimizer, scheduler: LRScheduler, *, folder: Path
    ) -> None:
        self.learner = learner
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.epoch = 0
        self.history: list[EpochRecord] = []
        self._folder = folder

    @property
    def best_map(self) -> float:
        """Highest validation MAP so far; below any where there is none."""
        return max((record["valid_map"] for record in self.history), default=float("-inf"))

    def finish_epoch(self, record: EpochRecord, *, save: bool) -> None:
        """Counts an epoch as done; saves the state, and the weights when they are the best.

        Args:
            record: of the epoch.
            save: true on the one worker that writes.
        """
        is_best = record["valid_map"] > self.best_map
        self.history.append(record)
        self.epoch += 1
        if not save:
            return
        if is_best:  # before the state: killed in between, the epoch is trained and saved again
            save_weights(self.learner.network, self._folder / BEST_WEIGHTS)
        with files.replacing(self._folder / _STATE) as temporary:
            torch.save(self._as_dict(), temporary)

    def restore(self) -> None:
        """Takes up the saved state, where there is one.

        Raises:
            HemlineError: it is damaged, or of another network.
        """
        path = self._folder / _STATE
        if not path.exists():
            return
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.learner.load_state_dict(saved["learner"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scheduler.load_state_dict(saved["scheduler"])
            self.epoch, self.history = saved["epoch"], saved["history"]
        except Exception as error:  # torch's reader raises nearly anything on a damaged file
            raise HemlineError(
                f"{path} cannot be resumed from ({type(error).__name__} {error}); "
                f"delete {self._folder} to start again"
            ) from error

    def _as_dict(self) -> dict[str, object]:
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
        }


def read_history(folder: Path) -> list[EpochRecord]:
    """Returns the learning curve of the state saved in a folder."""
    saved = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    history: list[EpochRecord] = saved["history"]
    return history
