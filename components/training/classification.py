"""The objective `classification`: every embedding is told apart from the vectors of all classes.

Source: Zhai and Wu, Classification is a Strong Baseline for Deep Metric Learning, BMVC 2019
(normalised softmax): cosines to class vectors over a temperature, cross-entropy. A class is a
training item, or a value of an attribute that lists its values. AHBN's L_id (Eq. 12) is the same
with a linear layer, whose products have any size. Of tens of thousands of items, an embedding may
be compared with a sample: those of the step, and random others (An et al., Killing Two Birds with
One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC, CVPR 2022). In
contrast to that paper, the optimiser still steps over all class vectors: those that are not sampled
have a gradient of 0, and go on by their momentum.

Shape letters: B images, K attributes asked of an image, V classes of an attribute, D embedding.
"""

from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

from components.training.feed import Batch
from components.training.objectives import Ranked


class Classification(nn.Module):
    """The vectors of all classes, which learn, but are no part of the network.

    Batches are planned ones, in which every image is asked for the same attributes.

    Attributes:
        vectors: of each attribute asked, in their order, K x [V, D], of any length.
    """

    def __init__(
        self,
        num_classes: Sequence[int],
        embedding_dim: int,
        *,
        identity: int | None,
        temperature: float,
    ) -> None:
        """Draws vectors of about unit length.

        Args:
            num_classes: of each attribute asked: values, or training items.
            embedding_dim: D.
            identity: which of the attributes asked has items for values; None: none of them.
            temperature: what cosines are divided by.
        """
        super().__init__()
        self.vectors = nn.ParameterList(
            nn.Parameter(torch.randn(number, embedding_dim) / embedding_dim**0.5)
            for number in num_classes
        )
        self._identity = identity
        self._temperature = temperature

    def forward(self, embeddings_BKD: Tensor, batch: Batch) -> Ranked:
        """Returns the cross-entropy, mean over the labelled images and attributes of all workers.

        An image still counts while none of its classes is the closest. Of several values that it
        has of an attribute, each counts the same.
        """
        columns = []
        with torch.autocast(embeddings_BKD.device.type, enabled=False):  # it would round cosines
            for k, embeddings_BD in enumerate(embeddings_BKD.float().unbind(1)):
                vectors_VD, has_BV = self._classes(k, batch)
                logits_BV = embeddings_BD @ normalize(vectors_VD, dim=-1).T / self._temperature
                columns.append(_told_apart(logits_BV, has_BV))
        loss_KB, is_wrong_KB, is_labelled_KB = map(torch.stack, zip(*columns, strict=True))
        return Ranked(
            _mean_over_workers(loss_KB, is_labelled_KB),
            _mean_over_workers(is_wrong_KB.float(), is_labelled_KB),
        )

    def _classes(self, k: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the classes of the attribute in place k [V, D], and which images have [B, V]."""
        vectors_VD = self.vectors[k]
        if k != self._identity:
            return vectors_VD, batch.values[:, k, : len(vectors_VD)]
        compared_V = torch.arange(len(vectors_VD), device=vectors_VD.device)
        if len(batch.candidates):
            compared_V = batch.candidates
            vectors_VD = embedding(compared_V, vectors_VD)
        return vectors_VD, batch.items[:, None] == compared_V


def _told_apart(logits_BV: Tensor, has_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the loss of each image, whether its class is not the closest, whether it has one."""
    num_classes_B = has_BV.sum(dim=1)
    loss_B = -(logits_BV.log_softmax(dim=1) * has_BV).sum(dim=1) / num_classes_B.clamp(min=1)
    closest_B1 = logits_BV.detach().argmax(dim=1, keepdim=True)
    return loss_B, ~has_BV.gather(1, closest_B1)[:, 0], num_classes_B > 0


def _mean_over_workers(numbers_KB: Tensor, counts_KB: Tensor) -> Tensor:
    """Returns W times this worker's share of the mean of the numbers that count.

    The mean over workers, which gradients are, is then the mean over all numbers. 0 (with a
    gradient of 0) where none counts.
    """
    total = (numbers_KB * counts_KB).sum()
    num_counted, num_workers = counts_KB.sum(), 1
    if torch.distributed.is_initialized():
        num_workers = torch.distributed.get_world_size()
        torch.distributed.all_reduce(num_counted)
    return num_workers * total / num_counted.clamp(min=1)
