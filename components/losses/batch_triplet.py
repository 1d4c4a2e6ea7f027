"""The triplet loss over all triplets that a batch holds."""

import torch
from torch import Tensor

from components.losses.pairs import all_pairs


def batch_triplet_loss(embeddings_BKD: Tensor, values_BKV: Tensor, *, margin: float) -> Tensor:
    """Returns the mean of all triplet losses of a batch that are not 0, a scalar.

    For every attribute, anchor i, positive p and negative n of the batch the triplet's loss is
    max(0, margin - s_ip + s_in), s the cosine similarity: "batch all", averaged over the triplets
    that still have a loss (Hermans et al., In Defense of the Triplet Loss for Person
    Re-Identification, 2017, section 2). 0 (with a gradient of 0) where none has.

    The K B^3 triplets are not listed. A positive of similarity s_ip is in as many of them as
    there are negatives above s_ip - margin, a negative in as many as there are positives below
    s_in + margin; with these numbers c the sum over triplets is that over pairs of
    c_ip (margin - s_ip) + c_in s_in.

    Args:
        embeddings_BKD: as `all_pairs` takes them.
        values_BKV: as `all_pairs` takes them.
        margin: in cosine similarity.
    """
    similarity_KBB, positive_KBB, negative_KBB = all_pairs(embeddings_BKD, values_BKV)
    fixed_KBB = similarity_KBB.detach()
    negatives_KBB = fixed_KBB.masked_fill(~negative_KBB, -torch.inf).sort(dim=-1).values
    positives_KBB = fixed_KBB.masked_fill(~positive_KBB, torch.inf).sort(dim=-1).values
    num_images = len(embeddings_BKD)
    closer_KBB = num_images - torch.searchsorted(negatives_KBB, fixed_KBB - margin, right=True)
    farther_KBB = torch.searchsorted(positives_KBB, fixed_KBB + margin)
    closer_KBB = closer_KBB.masked_fill(~positive_KBB, 0)
    farther_KBB = farther_KBB.masked_fill(~negative_KBB, 0)
    total = (closer_KBB * (margin - similarity_KBB) + farther_KBB * similarity_KBB).sum()
    return total / closer_KBB.sum().clamp(min=1)
