"""What training ranks embeddings by: triplets, every label of the global batch, or classes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor

from components.losses.ranking import (
    batch_triplet_loss,
    multi_similarity_loss,
    share_of_pairs_that_count,
    share_of_triplets_that_count,
    soft_triplet_loss,
    supervised_contrastive_loss,
    triplet_loss,
)
from components.params import TrainParams
from components.training.feed import Batch


class Ranked(NamedTuple):
    """A ranking loss, and the share of what it compares that still counts, without a gradient."""

    loss: Tensor
    active_share: Tensor


Loss = Callable[[Tensor, Tensor], Tensor]
Objective = Callable[[Tensor, Batch], Ranked]
"""Ranks the embeddings [B, K, D] of a batch; returns scalars. A module where it learns as well."""


def build_objective(params: TrainParams) -> Objective:
    """Returns the objective that params name, one that compares embeddings with one another."""
    if params.objective == "triplet":
        return partial(loss_of_triplets, margin=params.margin)
    if params.objective == "soft_triplet":
        return partial(soft_loss_of_triplets, temperature=params.temperature)
    if params.objective == "batch_triplet":
        loss: Loss = partial(batch_triplet_loss, margin=params.margin)
    elif params.objective == "multi_similarity":
        loss = partial(
            multi_similarity_loss,
            margin=params.margin,
            positive_scale=params.positive_scale,
            negative_scale=params.negative_scale,
            threshold=params.similarity_threshold,
        )
    else:
        loss = partial(
            supervised_contrastive_loss, temperature=params.temperature, margin=params.margin
        )
    return partial(_loss_of_all_batches, loss=loss, margin=params.margin)


def loss_of_triplets(embeddings: Tensor, batch: Batch, *, margin: float) -> Ranked:
    """Returns the papers' triplet loss of embeddings [3T, 1, D].

    Neighbours in the batch are (anchor, positive, negative) of one attribute.
    """
    slots = embeddings.float().unflatten(0, (-1, 3)).unbind(1)
    with torch.no_grad():
        active_share = share_of_triplets_that_count(*slots, margin=margin)
    return Ranked(triplet_loss(*slots, margin=margin), active_share)


def soft_loss_of_triplets(embeddings: Tensor, batch: Batch, *, temperature: float) -> Ranked:
    """Returns FashionSearchNet-v2's loss of triplets, given as to `loss_of_triplets`.

    Those count whose positive is not closer than the negative.
    """
    slots = embeddings.float().unflatten(0, (-1, 3)).unbind(1)
    with torch.no_grad():
        active_share = share_of_triplets_that_count(*slots, margin=0.0)
    return Ranked(soft_triplet_loss(*slots, temperature=temperature), active_share)


def _loss_of_all_batches(embeddings: Tensor, batch: Batch, *, loss: Loss, margin: float) -> Ranked:
    """Returns the loss over the batches of all workers, the same on each of them.

    Every label of the global batch meets every other: workers exchange their embeddings.
    """
    values = batch.values
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        embeddings = _GatherBatches.apply(embeddings)
        values = _GatherBatches.apply(values.to(torch.uint8)).bool()
    with torch.no_grad():
        active_share = share_of_pairs_that_count(embeddings, values, margin=margin)
    return Ranked(loss(embeddings, values), active_share)


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
