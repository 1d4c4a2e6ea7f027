"""One optimisation step: the network forward, the losses, and the gradients.

Where memory is short, the gradients are computed on a few images at a time. A loss that compares
all images of a step is not a sum over parts of it. But it depends on the network only through its
outputs: those are computed first, without anything kept for a backward pass; then the loss and its
derivatives by them; then each part again, forward and backward, with its share of the derivatives.
This costs one forward pass more. Source: Gao et al., Scaling Deep Contrastive Learning Batch Size
under Memory Limited Setup, RepL4NLP 2021, section 3.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.images.augmentation import Augmentation
from components.images.transforms import normalise_images, to_images
from components.losses.combined import CombinedLoss, StagedLoss
from components.models.backbones import backbone_stages
from components.models.network import EmbeddingNetwork
from components.training.auxiliary import LANDMARKS, AuxiliaryLoss
from components.training.feed import Batch
from components.training.objectives import Objective


class Losses(NamedTuple):
    """Scalars of a step; `total` is what is minimised.

    `classification` is the sum of all classifiers' losses, `landmark` that of heat maps; NaN where
    the network has none. `active_share` is the share of triplets, pairs or images that still count.
    """

    total: Tensor
    ranking: Tensor
    classification: Tensor
    active_share: Tensor
    landmark: Tensor


class Outputs(NamedTuple):
    """A network's embeddings [B, K, D], and what else it is trained by, by name [B, ...]."""

    embeddings: Tensor
    others: dict[str, Tensor]

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in an order that their names determine."""
        return [self.embeddings, *(self.others[name] for name in sorted(self.others))]


class Slopes(NamedTuple):
    """Derivatives of a loss by the outputs of some of its images, and by what the loss learns."""

    outputs: list[Tensor]
    loss_weights: list[Tensor]

    def dot(self, outputs: Outputs, loss_weights: list[nn.Parameter]) -> Tensor:
        """Returns the scalar product with the outputs and weights, which has these derivatives."""
        pairs = zip(loss_weights, self.loss_weights, strict=True)
        products = [(weight * slope).sum() for weight, slope in pairs]
        for output, slope in zip(outputs.tensors, self.outputs, strict=True):
            products.append((output.float() * slope.float()).sum())
        return torch.stack(products).sum()


class Learner(nn.Module):
    """The network with all else that is learned, as one module from pixels to losses.

    One module, so that data-parallel training wraps, and the optimiser and the checkpoint hold,
    what the losses learn together with the network. A network that gives nothing but embeddings has
    the ranking loss alone.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        objective: Objective,
        *,
        combine: CombinedLoss | StagedLoss,
        augmentation: Augmentation,
        auxiliary: Mapping[str, AuxiliaryLoss],
        frozen_epochs: int = 0,
        frozen_norms: bool = False,
    ) -> None:
        """`frozen_epochs` and `frozen_norms` are those of params, section `train`."""
        super().__init__()
        self.network = network
        self.combine = combine
        self.objective = objective
        self._augmentation = augmentation
        self._auxiliary = auxiliary
        self._frozen_epochs = frozen_epochs
        self._frozen_norms = frozen_norms
        self._is_backbone_frozen = False
        self.begin_epoch(0)

    @property
    def loss_weights(self) -> list[nn.Parameter]:
        """What is learned beside the network."""
        own = {id(parameter) for parameter in self.network.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def begin_epoch(self, epoch: int) -> bool:
        """Goes to the stage of training that an epoch, counted from 0, belongs to.

        Returns whether other parameters learn in it than before.
        """
        if isinstance(self.combine, StagedLoss):
            self.combine.begin_epoch(epoch)
        was_frozen = self._is_backbone_frozen
        self._is_backbone_frozen = epoch < self._frozen_epochs
        for stage in backbone_stages(self.network):
            stage.requires_grad_()
        for module in self._frozen():
            module.requires_grad_(False)
        return self._is_backbone_frozen != was_frozen

    def train(self, mode: bool = True) -> Self:
        """Goes to training mode, but for what is frozen, which stays as it is when it is used.

        So its batch statistics do not move, and it drops nothing at random.
        """
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        """Returns what of the backbone does not learn in this epoch."""
        stages = backbone_stages(self.network)
        if self._is_backbone_frozen:
            return [*stages]
        if not self._frozen_norms:
            return []
        modules = (module for stage in stages for module in stage.modules())
        return [module for module in modules if isinstance(module, _BatchNorm)]

    def forward(self, batch: Batch, slopes: Slopes | None = None) -> Losses | Tensor:
        """Returns the losses of a batch.

        With the slopes of a loss that was computed earlier, it returns a scalar that has the
        gradients of that loss: all that is learned takes part in either, as data-parallel training
        wants.
        """
        outputs = self.outputs(batch)
        return slopes.dot(outputs, self.loss_weights) if slopes else self.losses(outputs, batch)

    def outputs(self, batch: Batch) -> Outputs:
        """Returns the network's outputs for the batch's augmented images."""
        images = self._augmentation(to_images(batch.pixels), batch.draws)
        seen = normalise_images(images, self.network.pixel_statistics)
        return Outputs(*self.network.forward_branches(seen, batch.attributes))

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """Returns the losses of a batch from the network's outputs for it."""
        ranking, active_share = self.objective(outputs.embeddings, batch)
        others = {
            name: self._auxiliary[name](output, batch) for name, output in outputs.others.items()
        }
        total = self.combine(ranking, others) if others else ranking
        nothing = torch.full_like(ranking.detach(), torch.nan)
        classified = [loss.detach() for name, loss in others.items() if name != LANDMARKS]
        return Losses(
            total,
            ranking.detach(),
            classification=torch.stack(classified).sum() if classified else nothing,
            active_share=active_share,
            landmark=others[LANDMARKS].detach() if LANDMARKS in others else nothing,
        )


def take_gradients(
    forward: nn.Module,
    learner: Learner,
    batch: Batch,
    *,
    images_at_once: int | None,
    autocast: AbstractContextManager[None],
    seed_part: Callable[[int], object],
) -> Losses:
    """Computes a step's gradients into the parameters and returns its losses.

    `forward` is the learner, or a data-parallel wrapper of it. A forward pass has `images_at_once`
    images, None for all, in `autocast`, which is entered several times; batch statistics are those
    of each part. `seed_part` seeds what the network draws before it sees the part of that number.
    """
    if images_at_once is None or images_at_once >= len(batch):
        seed_part(0)
        with autocast:
            losses: Losses = forward(batch)
        losses.total.backward()
        return losses
    parts = batch.split(images_at_once)
    outputs = _outputs(learner, parts, autocast=autocast, seed_part=seed_part)
    with autocast:
        losses = learner.losses(outputs, batch)
    slopes = _slopes(losses.total, outputs, learner.loss_weights, sizes=list(map(len, parts)))
    apart = getattr(forward, "no_sync", nullcontext)  # workers add up gradients at the end only
    for number, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
        with apart() if number < len(parts) - 1 else nullcontext():
            seed_part(number)
            with autocast:
                product: Tensor = forward(part, slope)
            product.backward()
    return losses


def _outputs(
    learner: Learner,
    parts: list[Batch],
    *,
    autocast: AbstractContextManager[None],
    seed_part: Callable[[int], object],
) -> Outputs:
    """Returns the outputs of all parts, as leaves."""
    made = []
    with torch.no_grad(), _fixed_statistics(learner):
        for number, part in enumerate(parts):
            seed_part(number)
            with autocast:
                made.append(learner.outputs(part))
    whole = {
        name: torch.cat([outputs.others[name] for outputs in made]).requires_grad_()
        for name in made[0].others
    }
    return Outputs(torch.cat([outputs.embeddings for outputs in made]).requires_grad_(), whole)


def _slopes(
    total: Tensor, outputs: Outputs, loss_weights: list[nn.Parameter], *, sizes: list[int]
) -> list[Slopes]:
    """Returns the derivatives of the loss for each part; those by the weights are shared out."""
    leaves = outputs.tensors
    derivatives = torch.autograd.grad(total, [*leaves, *loss_weights])
    of_outputs = [derivative.split(sizes) for derivative in derivatives[: len(leaves)]]
    of_weights = [derivative / len(sizes) for derivative in derivatives[len(leaves) :]]
    return [Slopes(list(part), of_weights) for part in zip(*of_outputs, strict=True)]


@contextmanager
def _fixed_statistics(network: nn.Module) -> Iterator[None]:
    """Keeps the running statistics of batch normalisation as they are while the block lasts."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
