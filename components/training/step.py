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


class Outputs(NamedTuple):
    """What a network says of images: embeddings [B, K, D]; logits [B, N] where it classifies."""

    embeddings: Tensor
    logits: Tensor | None


class Slopes(NamedTuple):
    """Derivatives of a loss by the outputs of some of its images, and by the loss weights."""

    outputs: Outputs
    loss_weights: list[Tensor]

    def dot(self, outputs: Outputs, combine: CombinedLoss) -> Tensor:
        """Returns the scalar product with the outputs and weights, which has these derivatives."""
        pairs = zip(combine.parameters(), self.loss_weights, strict=True)
        products = [(weight * slope).sum() for weight, slope in pairs]
        for output, slope in zip(outputs, self.outputs, strict=True):
            if output is not None and slope is not None:
                products.append((output.float() * slope.float()).sum())
        return torch.stack(products).sum()


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

    def forward(self, batch: Batch, slopes: Slopes | None = None) -> Losses | Tensor:
        """Returns the losses of a batch.

        With slopes, of a loss that was computed before, it returns a scalar that has the gradients
        of that loss: all that is learned takes part in either, as data-parallel training wants.
        """
        outputs = self.outputs(batch)
        if slopes is None:
            return self.losses(outputs, batch)
        return slopes.dot(outputs, self.combine)

    def outputs(self, batch: Batch) -> Outputs:
        """Returns what the network says of the batch's augmented images."""
        images = normalise_images(self._augmentation(to_images(batch.pixels), batch.draws))
        return Outputs(*self.network.forward_branches(images, batch.attributes))

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """Returns the losses of a batch from what the network says of it."""
        ranking = self._objective(outputs.embeddings, batch.values)
        if outputs.logits is None:
            nothing = torch.full_like(ranking.detach(), torch.nan)
            return Losses(ranking, ranking.detach(), nothing)
        classification = attribute_classification_loss(outputs.logits, batch.labelled)
        total = self.combine(classification, ranking)
        return Losses(total, ranking.detach(), classification.detach())
