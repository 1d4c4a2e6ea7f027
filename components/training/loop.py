"""The training loop of one worker: epochs of steps, validation after each, state saved."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn

from components.errors import HemlineError
from components.images.store import ImageStore
from components.images.transforms import normalise
from components.retrieval.encode import encode
from components.retrieval.evaluation import evaluate_retrieval, held_out_images, overall_map
from components.training.feed import Feed
from components.training.plan import Plan
from components.training.progress import ProgressLine
from components.training.state import EpochRecord, TrainingState

LogEpoch = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker stands: its number, how many there are, and its device."""

    rank: int
    world_size: int
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a training loop works on."""

    plan: Plan
    feed: Feed
    state: TrainingState
    store: ImageStore
    splits: pa.Table
    num_attributes: int
    precision: torch.dtype

    def autocast(self, device: torch.device) -> torch.autocast:
        """Returns the context in which the network runs."""
        enabled = self.precision != torch.float32
        return torch.autocast(device.type, dtype=self.precision, enabled=enabled)


def train(run: Run, forward: nn.Module, *, place: Place, log_epoch: LogEpoch) -> None:
    """Trains from the state's epoch to the end of the plan.

    Args:
        run: with its state already restored.
        forward: the learner, or a data-parallel wrapper of it.
        place: of this worker.
        log_epoch: called by the first worker after every epoch with its record and the images
            trained on per second.

    Raises:
        HemlineError: the loss is not finite; the state stays that of the last good epoch.
    """
    num_epochs, num_steps = run.plan.num_epochs, run.plan.num_steps
    progress = ProgressLine(
        num_steps=num_epochs * num_steps, steps_done=run.state.epoch * num_steps
    )
    while run.state.epoch < num_epochs:
        epoch = run.state.epoch
        start = time.perf_counter()
        losses = _train_epoch(run, forward, place=place, progress=progress)
        num_images = num_steps * run.plan.images_per_step
        images_per_s = num_images / (time.perf_counter() - start)
        valid_map = _validate(run, place=place)
        loss, ranking_loss, classification_loss = losses.tolist()
        record = EpochRecord(
            epoch=epoch,
            loss=loss,
            ranking_loss=ranking_loss,
            classification_loss=None if math.isnan(classification_loss) else classification_loss,
            valid_map=valid_map,
        )
        if place.rank == 0:
            log_epoch({**record, "images_per_s": images_per_s})
            progress.note(
                f"epoch {epoch + 1}/{num_epochs} done: loss {loss:.4f}, "
                f"validation MAP {valid_map:.2f}"
            )
        run.state.finish_epoch(record, save=place.rank == 0)


def _train_epoch(run: Run, forward: nn.Module, *, place: Place, progress: ProgressLine) -> Tensor:
    """Returns the epoch's mean losses [3]: total, ranking, classification."""
    epoch, state = run.state.epoch, run.state
    run.plan.load_epoch(epoch)
    forward.train()
    sums = torch.zeros(3, device=place.device)
    batches = run.feed.batches(first_step=0, rank=place.rank, world_size=place.world_size)
    for batch in batches:
        with run.autocast(place.device):
            losses = forward(batch)
        losses.total.backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        sums += torch.stack(losses).detach()
        if progress.due(place.world_size * len(batch.pixels)) and place.rank == 0:
            progress.show(f"epoch {epoch + 1}/{run.plan.num_epochs}  loss {losses.total:.3f}")
    means = sums / run.plan.num_steps
    if place.world_size > 1:  # of all workers' shares; all of them then judge the same number
        torch.distributed.all_reduce(means)
        means /= place.world_size
    if not math.isfinite(means[0]):
        raise HemlineError(
            f"the loss is not finite in epoch {epoch + 1}; lower train.learning_rate and run again"
        )
    return means


def _validate(run: Run, *, place: Place) -> float:
    """Returns the overall validation MAP in percent, the same on every worker."""
    network = run.state.learner.network.eval()
    if place.world_size > 1:  # batch statistics are each worker's own; the first one's are saved
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)

    def encoder(pixels: Tensor, attributes_BK: Tensor) -> Tensor:
        with run.autocast(place.device):
            return network(normalise(pixels), attributes_BK)

    images = held_out_images(run.splits, "valid")
    embeddings = encode(
        encoder,
        run.store,
        images[place.rank :: place.world_size],
        num_attributes=run.num_attributes,
        device=place.device,
    )
    if place.world_size > 1:
        embeddings = _gather_rows(embeddings, len(images), place=place)
    return overall_map(evaluate_retrieval(run.splits, "valid", images, embeddings))


def _gather_rows(rows: NDArray[np.float32], num_rows: int, *, place: Place) -> NDArray[np.float32]:
    """Returns all rows [num_rows, ...], of which this worker has every W-th from its rank on."""
    parts: list[Any] = [None] * place.world_size
    torch.distributed.all_gather_object(parts, rows)
    gathered = np.empty((num_rows, *rows.shape[1:]), rows.dtype)
    for rank, part in enumerate(parts):
        gathered[rank :: place.world_size] = part
    return gathered
