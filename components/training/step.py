"""One optimisation step: both branches forward, the combined loss, its parts for the log."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed
from torch import Tensor, nn

from components.images.transforms import flip, normalise
from components.losses.classification import attribute_classification_loss
from components.losses.combine import CombinedLoss
from components.losses.contrastive import supervised_contrastive_loss
from components.losses.triplet import triplet_loss
from components.models.ag_man import AGMAN
from components.training.feed import Batch


class Losses(NamedTuple):
    """Scalars of a step; `total` is what is minimised."""

    total: Tensor
    ranking: Tensor
    classification: Tensor


class Objective(Protocol):
    """Ranks embeddings [B, K, D] by the values [B, K, V] of their images; returns a scalar loss."""

    def __call__(self, embeddings: Tensor, values: Tensor) -> Tensor:
        """Returns the loss."""


class TripletObjective:
    """The papers': neighbours in the batch are (anchor, positive, negative) of one attribute."""

    def __init__(self, *, margin: float) -> None:
        self._margin = margin

    def __call__(self, embeddings: Tensor, values: Tensor) -> Tensor:
        """Returns the triplet loss; embeddings [3T, 1, D]."""
        anchors, positives, negatives = embeddings.float().unflatten(0, (-1, 3)).unbind(1)
        return triplet_loss(anchors, positives, negatives, margin=self._margin)


class _GatherBatches(torch.autograd.Function):
    """The batches of all workers one after another, as every worker then sees them.

    Each of the W workers computes the same loss of all batches, so each knows the gradient of its
    own one without asking. DDP averages over the workers: W times that gradient makes the average
    the gradient of the one loss. (torch.distributed.nn's differentiable all_gather mixes up the
    elements of a gradient that is not contiguous: gloo, torch 2.15.)
    """

    @staticmethod
    def forward(ctx: Any, batch: Tensor) -> Tensor:
        batch = batch.contiguous()
        gathered = [torch.empty_like(batch) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(gathered, batch)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        num_workers = torch.distributed.get_world_size()
        return num_workers * gradient.chunk(num_workers)[torch.distributed.get_rank()]


class ContrastiveObjective:
    """Every label of the global batch against every other: workers exchange their embeddings."""

    def __init__(self, *, temperature: float, margin: float) -> None:
        self._temperature = temperature
        self._margin = margin

    def __call__(self, embeddings: Tensor, values: Tensor) -> Tensor:
        """Returns the supervised contrastive loss over the batches of all workers."""
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            embeddings = _GatherBatches.apply(embeddings)
            values = _GatherBatches.apply(values.to(torch.uint8)).bool()
        return supervised_contrastive_loss(
            embeddings, values, temperature=self._temperature, margin=self._margin
        )


class Learner(nn.Module):
    """The network with all else that is learned, as one module from pixels to losses.

    One module, so that data-parallel training wraps, and the optimiser and the checkpoint hold,
    the loss weights together with the network.
    """

    def __init__(self, network: AGMAN, objective: Objective, *, loss_weighting: str) -> None:
        super().__init__()
        self.network = network
        self.combine = CombinedLoss(weighting=loss_weighting)
        self._objective = objective

    def forward(self, batch: Batch) -> Losses:
        """Returns the losses of a batch."""
        images = flip(normalise(batch.pixels), batch.flipped)
        embeddings, logits = self.network.forward_branches(images, batch.attributes)
        classification = attribute_classification_loss(logits, batch.labelled)
        ranking = self._objective(embeddings, batch.values)
        total = self.combine(classification, ranking)
        return Losses(total, ranking.detach(), classification.detach())
