"""One optimisation step: the network forward, the losses, their parts for the log."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.images.augmentation import Augmentation
from components.images.transforms import normalise_images, to_images
from components.losses.classification import attribute_classification_loss
from components.losses.combine import CombinedLoss
from components.models.network import EmbeddingNetwork
from components.training.feed import Batch
from components.training.objectives import Objective


class Losses(NamedTuple):
    """Scalars of a step; `total` is what is minimised.

    `classification` is NaN where the network does not classify.
    """

    total: Tensor
    ranking: Tensor
    classification: Tensor


class Learner(nn.Module):
    """The network with all else that is learned, as one module from pixels to losses.

    One module, so that data-parallel training wraps, and the optimiser and the checkpoint hold,
    the loss weights together with the network. A network that does not classify has the ranking
    loss alone, and no weights.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        objective: Objective,
        *,
        loss_weighting: str,
        augmentation: Augmentation,
    ) -> None:
        super().__init__()
        self.network = network
        self.combine = CombinedLoss(weighting=loss_weighting)
        self._objective = objective
        self._augmentation = augmentation

    def forward(self, batch: Batch) -> Losses:
        """Returns the losses of a batch."""
        images = normalise_images(self._augmentation(to_images(batch.pixels), batch.draws))
        embeddings, logits = self.network.forward_branches(images, batch.attributes)
        ranking = self._objective(embeddings, batch.values)
        if logits is None:
            nothing = torch.full_like(ranking.detach(), torch.nan)
            return Losses(ranking, ranking.detach(), nothing)
        classification = attribute_classification_loss(logits, batch.labelled)
        total = self.combine(classification, ranking)
        return Losses(total, ranking.detach(), classification.detach())
