"""What is resumed: network, optimiser, schedule, place in the plan; checkpoints and best weights.

No random generator is part of it: random numbers are a function of the seed and the step.
"""

import zipfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components import files
from components.errors import HemlineError
from components.models.network import EmbeddingNetwork
from components.training.step import Learner, Losses
from components.training.trained import save_weights

BEST_WEIGHTS = "best.safetensors"


EpochMetrics = dict[str, Any]
"""A row of the learning curve: the columns of `tables.TRAINING`."""


class TrainingState:
    """All that a training run is at one moment, and the folder that it is saved in.

    Attributes:
        learner: the network and the loss weights.
        epoch: the epoch that is being trained, from 0.
        step: optimisation steps done in this epoch.
        steps_done: optimisation steps done in the run.
        epoch_losses: sums of the epoch's `Losses` so far, float64 [5] on the device.
        recent_losses: the same, since they were last reported.
        curve: metrics of every finished epoch.
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        *,
        folder: Path,
        num_to_keep: int,
        ema_decay: float | None,
    ) -> None:
        """Starts at the first step; the learner is on its device.

        `folder` is that of checkpoints, of which the `num_to_keep` newest stay, and best weights;
        `ema_decay` that of the moving average of the network's weights, None for none.
        """
        self.learner = learner
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.epoch = self.step = self.steps_done = 0
        device = next(learner.parameters()).device
        self.epoch_losses = torch.zeros(len(Losses._fields), dtype=torch.float64, device=device)
        self.recent_losses = torch.zeros_like(self.epoch_losses)
        self.curve: list[EpochMetrics] = []
        self._average = None
        if ema_decay is not None:
            average = get_ema_multi_avg_fn(ema_decay)
            self._average = AveragedModel(learner.network, multi_avg_fn=average)
        self._folder = folder
        self._num_to_keep = num_to_keep

    @property
    def network(self) -> EmbeddingNetwork:
        """The network that is validated and kept: the moving average where there is one."""
        average = self._average
        return self.learner.network if average is None else cast(EmbeddingNetwork, average.module)

    @property
    def best_map(self) -> float:
        """Highest validation MAP so far; below any where there is none."""
        return max((metrics["valid_map"] for metrics in self.curve), default=float("-inf"))

    @property
    def epochs_since_best(self) -> int:
        """Finished epochs after the first best one."""
        maps = [metrics["valid_map"] for metrics in self.curve]
        return len(maps) - 1 - maps.index(max(maps)) if maps else 0

    def finish_step(self, losses: Tensor) -> None:
        """Updates the weights by their gradients; counts the step and its detached losses [5]."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        if self._average is not None:
            self._average.update_parameters(self.learner.network)
        self.epoch_losses += losses
        self.recent_losses += losses
        self.step += 1
        self.steps_done += 1

    def finish_epoch(self, metrics: EpochMetrics, *, save: bool) -> None:
        """Counts an epoch as done; the worker that saves writes the state, and the best weights."""
        is_best = metrics["valid_map"] > self.best_map
        self.curve.append(metrics)
        self.epoch += 1
        self.step = 0
        self.epoch_losses.zero_()
        if not save:
            return
        if is_best:  # before the state: killed in between, the epoch is trained and saved again
            save_weights(self.network, self._folder / BEST_WEIGHTS)
        self.save()

    def save(self) -> None:
        """Writes a checkpoint, whole or not at all, and removes the oldest beyond those kept.

        Raises:
            HemlineError: it cannot be written; earlier checkpoints are as they were.
        """
        path = self._folder / f"step-{self.steps_done:09d}.pt"
        try:
            with files.replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(self._as_dict(), file)
        except (OSError, RuntimeError) as error:  # torch's writer wraps what the disk answers
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            last = newest_checkpoint(self._folder)
            kept = f"; {last.name} is kept: make room, then run again to resume" if last else ""
            raise HemlineError(f"{path} cannot be written ({reason}){kept}") from error
        for old in sorted(self._folder.glob("step-*.pt"))[: -self._num_to_keep]:
            old.unlink()

    def restore(self) -> None:
        """Resumes from the newest checkpoint, where there is one.

        Raises:
            HemlineError: it is damaged, or belongs to another network.
        """
        path = newest_checkpoint(self._folder)
        if path is None:
            return
        saved = _load(path)
        try:
            self._take(saved)
        except Exception as error:  # torch raises nearly anything where a network is another
            raise _unusable(path, error) from error

    def _take(self, saved: dict[str, Any]) -> None:
        self.learner.load_state_dict(saved["learner"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scheduler.load_state_dict(saved["scheduler"])
        if self._average is not None:
            self._average.load_state_dict(saved["average"])
        self.epoch_losses.copy_(saved["epoch_losses"])
        self.recent_losses.copy_(saved["recent_losses"])
        self.epoch, self.step = saved["epoch"], saved["step"]
        self.steps_done, self.curve = saved["steps_done"], saved["history"]

    def _as_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "epoch_losses": self.epoch_losses,
            "recent_losses": self.recent_losses,
            "epoch": self.epoch,
            "step": self.step,
            "steps_done": self.steps_done,
            "history": self.curve,
        }


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint of the most steps; None where there is none."""
    return max(folder.glob("step-*.pt"), default=None)


def read_curve(folder: Path) -> list[EpochMetrics]:
    """Returns the learning curve of the newest checkpoint in a folder.

    Raises:
        HemlineError: the checkpoint is damaged.
    """
    path = newest_checkpoint(folder)
    if path is None:
        return []
    curve: list[EpochMetrics] = _load(path)["history"]
    return curve


def _load(path: Path) -> dict[str, Any]:
    """Returns what a checkpoint holds.

    torch writes a ZIP archive with checksums, and does not look at them when it reads one.

    Raises:
        HemlineError: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} in it is damaged")
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise nearly anything on a damaged file
        raise _unusable(path, error) from error
    return saved


def _unusable(path: Path, error: Exception) -> HemlineError:
    return HemlineError(
        f"{path} cannot be resumed from ({type(error).__name__} {error}); delete it to resume from "
        f"the previous checkpoint, or {path.parent} to start from scratch"
    )
