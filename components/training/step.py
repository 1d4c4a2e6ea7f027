"""One optimisation step: both branches forward, the combined loss, its parts for the log."""

from typing import NamedTuple, Protocol

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

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


class ContrastiveObjective:
    """Every label of the global batch against every other: workers exchange their embeddings."""

    def __init__(self, *, temperature: float, margin: float) -> None:
        self._temperature = temperature
        self._margin = margin

    def __call__(self, embeddings: Tensor, values: Tensor) -> Tensor:
        """Returns the supervised contrastive loss over the batches of all workers."""
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            # Each worker computes the same loss over all embeddings. The gather's backward sums
            # the workers' equal gradients and DDP averages them: the gradient of the one loss.
            embeddings = torch.cat(all_gather(embeddings.contiguous()))
            values = torch.cat(all_gather(values.to(torch.uint8))).bool()
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
