"""Which images of a batch belong together in each attribute, and how similar they are."""

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Every image of a batch against every other; K attributes, B images.

    Attributes:
        similarity_KBB: cosine, float32.
        positive_KBB: bool, two different images that share a value of the attribute.
        negative_KBB: bool, two images that both have values of the attribute and share none.
    """

    similarity_KBB: Tensor
    positive_KBB: Tensor
    negative_KBB: Tensor

    @property
    def is_anchor(self) -> Tensor:
        """Which images have both a positive and a negative [K, B]: those that it can rank by."""
        return self.positive_KBB.any(dim=-1) & self.negative_KBB.any(dim=-1)


def all_pairs(embeddings_BKD: Tensor, values_BKV: Tensor) -> Pairs:
    """Returns the pairs of a batch.

    Args:
        embeddings_BKD: unit length, one per image and attribute.
        values_BKV: bool, which values of attribute k image b has; all false where it has no label
            of k. V is the largest number of values of an attribute.
    """
    embeddings_KBD = embeddings_BKD.transpose(0, 1).float()
    values_KBV = values_BKV.transpose(0, 1).float()
    with torch.autocast(embeddings_BKD.device.type, enabled=False):  # it would round the cosines
        similarity_KBB = embeddings_KBD @ embeddings_KBD.mT
    labelled_KB = values_KBV.any(dim=-1)
    shares_KBB = values_KBV @ values_KBV.mT > 0
    is_self_BB = torch.eye(len(values_BKV), dtype=torch.bool, device=values_BKV.device)
    return Pairs(
        similarity_KBB,
        positive_KBB=shares_KBB & ~is_self_BB,
        negative_KBB=labelled_KB[:, :, None] & labelled_KB[:, None, :] & ~shares_KBB,
    )


def mean_over_anchors(loss_KB: Tensor, is_anchor_KB: Tensor) -> Tensor:
    """Returns the mean loss of the anchors, a scalar; 0 (with a gradient of 0) without any."""
    return loss_KB.masked_fill(~is_anchor_KB, 0).sum() / is_anchor_KB.sum().clamp(min=1)
