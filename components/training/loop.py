"""The training loop of one worker: epochs of steps, validation after each, state saved."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from components.errors import HemlineError
from components.images.store import ImageStore
from components.params import CheckpointParams, TrainParams
from components.training.feed import Batch, Feed
from components.training.plan import Place, Plan
from components.training.state import TrainingState
from components.training.step import take_gradients
from components.training.validation import validate

_OPTIONAL = ("classification_loss", "landmark_loss")  # networks have them or not


class Log(Protocol):
    """Takes metrics after optimisation steps, or after an epoch, whose number is `step` then.

    Of the kind `stage` are those of what follows all epochs, which has its own numbers.
    """

    def __call__(
        self,
        metrics: Mapping[str, float | None],
        *,
        step: int,
        kind: Literal["step", "epoch", "stage"],
    ) -> None:
        """Takes metrics; those that are None are unknown."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a training loop works on; `asked` are the attributes that it trains for."""

    plan: Plan
    feed: Feed
    state: TrainingState
    store: ImageStore
    splits: pa.Table
    num_attributes: int
    asked: list[int]
    params: TrainParams
    checkpoint: CheckpointParams

    def autocast(self, device: torch.device) -> torch.autocast:
        """Returns the context in which the network runs."""
        is_on = self.params.precision == "bf16"
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_on)

    @property
    def is_done(self) -> bool:
        """Whether all epochs are trained, or validation has not improved for too many."""
        patience = self.params.early_stopping_epochs
        stopped = patience is not None and self.state.epochs_since_best >= patience
        return stopped or self.state.epoch >= self.plan.num_epochs


class Pace:
    """Measures images per second, of all workers together, and the share of time spent waiting."""

    def __init__(self, *, images_per_step: int) -> None:
        self._images_per_step = images_per_step
        self._start = time.monotonic()
        self._num_steps = 0
        self._waited_s = 0.0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yields the batches, each counted as a step, and the time until each as waiting."""
        asked = time.monotonic()
        for batch in batches:
            self._waited_s += time.monotonic() - asked
            self._num_steps += 1
            yield batch
            asked = time.monotonic()

    def look(self) -> tuple[float, float]:
        """Returns images per second and share of time waited since the last look."""
        now = time.monotonic()
        elapsed = max(now - self._start, 1e-9)
        rates = self._num_steps * self._images_per_step / elapsed, self._waited_s / elapsed
        self._start, self._num_steps, self._waited_s = now, 0, 0.0
        return rates


def train(run: Run, *, place: Place, log: Log, wrap: Callable[[], nn.Module] | None = None) -> None:
    """Trains from where the state is to the end of the plan, or until validation stops improving.

    The run's state is already restored. `wrap` returns a data-parallel wrapper of its learner, of
    the parameters that learn; it is called again where others begin to. None trains the learner
    itself. The first worker calls `log` every `train.log_every_steps` and after every epoch.

    Raises:
        HemlineError: a loss or gradient is not finite; the last checkpoint is older.
    """
    state = run.state
    forward: nn.Module | None = None
    while not run.is_done:
        run.plan.load_epoch(state.epoch)
        others_learn = state.learner.begin_epoch(state.epoch)
        if forward is None or others_learn:
            forward = wrap() if wrap else state.learner
        epoch, first_step, start = state.epoch, state.step, time.monotonic()
        _train_epoch(run, forward, place=place, log=log)
        num_images = (state.step - first_step) * run.plan.images_per_step
        speed = num_images / (time.monotonic() - start)
        losses = state.epoch_losses / run.plan.num_steps  # shared after the last step
        validated = validate(
            state.network,
            run.store,
            run.splits,
            num_attributes=run.num_attributes,
            asked=run.asked,
            place=place,
            autocast=run.autocast(place.device),
        )
        row = {**_by_name(losses), **validated}
        if place.is_first:
            workers = float(place.world_size)
            log({**row, "images_per_s": speed, "world_size": workers}, step=epoch, kind="epoch")
        state.finish_epoch({"epoch": epoch, **row}, save=place.is_first)


def _train_epoch(run: Run, forward: nn.Module, *, place: Place, log: Log) -> None:
    """Trains what is left of the state's epoch."""
    state, plan = run.state, run.plan
    parameters = [p for p in state.learner.parameters() if p.requires_grad]
    first_bad = torch.full((), -1, dtype=torch.int64, device=place.device)
    forward.train()
    pace = Pace(images_per_step=plan.images_per_step)
    batches = run.feed.batches(first_step=state.step, rank=place.rank, world_size=place.world_size)
    for batch in pace.timed(batches):
        losses = take_gradients(
            forward,
            state.learner,
            batch,
            images_at_once=run.params.images_at_once,
            autocast=run.autocast(place.device),
            seed_part=partial(_seed, run.params.seed, state.steps_done, place.rank),
        )
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if run.params.max_gradient_norm is not None:
            clip_grads_with_norm_(parameters, run.params.max_gradient_norm, norm)
        is_bad = ~(losses.total.detach().isfinite() & norm.isfinite())
        first_bad = torch.where(is_bad & (first_bad < 0), state.step, first_bad)
        state.finish_step(torch.stack(losses).detach())
        if state.steps_done % run.params.log_every_steps == 0:
            _report(run, norm, pace, place=place, log=log)
        is_last = state.step == plan.num_steps
        if is_last or state.steps_done % run.checkpoint.every_steps == 0:
            _check_finite(run, first_bad)
            for sums in (state.epoch_losses, state.recent_losses):  # the first worker's are saved
                _share(sums, place)
            if place.is_first and not is_last:  # after the last, the epoch's end is saved
                state.save()


def _seed(seed: int, step: int, rank: int, part: int) -> None:
    """Seeds what the network itself draws, such as stochastic depth."""
    entropy = np.random.SeedSequence([seed, step, rank, part])
    torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


def _report(run: Run, norm: Tensor, pace: Pace, *, place: Place, log: Log) -> None:
    """Logs the mean losses since the last report."""
    state = run.state
    _share(state.recent_losses, place)
    losses = state.recent_losses / run.params.log_every_steps
    state.recent_losses.zero_()
    if not place.is_first:
        return
    images_per_s, waited = pace.look()
    row = {
        **_by_name(losses),
        "gradient_norm": float(norm),
        "learning_rate": float(state.scheduler.get_last_lr()[0]),  # of what is not the backbone
        "images_per_s": images_per_s,
        "data_wait_share": waited,
    }
    log({f"step.{key}": row[key] for key in row}, step=state.steps_done, kind="step")


def _share(sums: Tensor, place: Place) -> None:
    """Makes sums [5] the mean of all workers' sums, the same on each of them."""
    if place.world_size > 1:
        torch.distributed.all_reduce(sums)
        sums /= place.world_size


def _by_name(losses: Tensor) -> dict[str, float | None]:
    """Returns losses [5] by name; one that is NaN is of a network without it."""
    names = ("loss", "ranking_loss", "classification_loss", "active_share", "landmark_loss")
    each = zip(names, losses.tolist(), strict=True)
    return {name: None if name in _OPTIONAL and math.isnan(x) else x for name, x in each}


def _check_finite(run: Run, first_bad: Tensor) -> None:
    """Raises an error if a step of the epoch was not finite (-1: none); waits for the device."""
    step = int(first_bad)
    if step < 0:
        return
    rows = run.plan.rows_of_step(step)
    raise HemlineError(
        f"loss or gradient is not finite in epoch {run.state.epoch + 1}, step {step + 1} (rows "
        f"{rows.start} to {rows.stop - 1} of that epoch in the planned file); the last checkpoint "
        "is older. Lower train.learning_rate, set train.max_gradient_norm or train.precision fp32"
    )
