"""The gradients of a step, computed on a few images at a time where memory is short.

A loss that compares all images of a step is not a sum over parts of it. But it depends on the
network only through its outputs: those are computed first, without anything kept for a backward
pass; then the loss and its derivatives by them; then each part again, forward and backward, with
its share of the derivatives. This costs one forward pass more. Source: Gao et al., Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021, section 3.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from components.training.feed import Batch
from components.training.step import Learner, Losses, Outputs, Slopes


def take_gradients(
    forward: nn.Module,
    learner: Learner,
    batch: Batch,
    *,
    images_at_once: int | None,
    autocast: AbstractContextManager[None],
    seed_part: Callable[[int], None],
) -> Losses:
    """Computes a step's gradients into the parameters and returns its losses.

    With parts, batch statistics are those of each part.

    Args:
        forward: the learner, or a data-parallel wrapper of it.
        learner: itself.
        batch: of the step.
        images_at_once: in a forward pass; None for all.
        autocast: in which the network runs; entered several times.
        seed_part: seeds what the network draws, before it sees the part of that number.
    """
    if images_at_once is None or images_at_once >= len(batch.pixels):
        seed_part(0)
        with autocast:
            losses: Losses = forward(batch)
        losses.total.backward()
        return losses
    parts = batch.split(images_at_once)
    outputs = _outputs(learner, parts, autocast=autocast, seed_part=seed_part)
    with autocast:
        losses = learner.losses(outputs, batch)
    slopes = _slopes(
        losses.total, outputs, [*learner.combine.parameters()], sizes=list(map(len, parts))
    )
    for number, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
        with _unsynchronised(forward) if number < len(parts) - 1 else nullcontext():
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
    seed_part: Callable[[int], None],
) -> Outputs:
    """Returns the outputs of all parts, as leaves."""
    made = []
    with torch.no_grad(), _fixed_statistics(learner):
        for number, part in enumerate(parts):
            seed_part(number)
            with autocast:
                made.append(learner.outputs(part))
    embeddings, logits = zip(*made, strict=True)
    return Outputs(
        torch.cat(embeddings).requires_grad_(),
        None if logits[0] is None else torch.cat(logits).requires_grad_(),
    )


def _slopes(
    total: Tensor, outputs: Outputs, loss_weights: list[Tensor], *, sizes: list[int]
) -> list[Slopes]:
    """Returns the derivatives of the loss for each part; those by the weights are shared out."""
    leaves = [output for output in outputs if output is not None]
    derivatives = torch.autograd.grad(total, [*leaves, *loss_weights])
    of_outputs = [derivative.split(sizes) for derivative in derivatives[: len(leaves)]]
    of_weights = [derivative / len(sizes) for derivative in derivatives[len(leaves) :]]
    return [
        Slopes(Outputs(*(part if len(part) > 1 else (*part, None))), of_weights)
        for part in zip(*of_outputs, strict=True)
    ]


def _unsynchronised(forward: nn.Module) -> AbstractContextManager[None]:
    """Returns the context in which workers do not add up their gradients yet."""
    if isinstance(forward, DistributedDataParallel):
        context: AbstractContextManager[None] = forward.no_sync()
        return context
    return nullcontext()


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
