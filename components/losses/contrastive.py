"""Supervised contrastive loss per attribute: every label of the batch against every other."""

import torch
from torch import Tensor, nn

from components.losses.pairs import all_pairs, mean_over_anchors


def supervised_contrastive_loss(
    embeddings_BKD: Tensor,
    values_BKV: Tensor,
    *,
    temperature: float,
    margin: float,
) -> Tensor:
    """Returns the mean over all (anchor, attribute) pairs that have a positive, a scalar.

    For anchor i and attribute k, P are the other images of the batch that share a value of k with
    i, N those that have values of k and share none; s is the cosine similarity, t the temperature:

        L_ik = 1/|P| sum_{p in P} log(1 + sum_{n in N} e^{(s_in - s_ip + m)/t})

    the epsilon-SupInfoNCE of Barbano et al. (ICLR 2023, Eq. 8), a supervised contrastive loss
    whose positives are not set against each other, plus the constant m/t, without which it would
    fall below 0 and uncertainty weighting would have no minimum. It falls until every positive is
    closer than every negative by at least the margin m.

    Args:
        embeddings_BKD: as `all_pairs` takes them.
        values_BKV: as `all_pairs` takes them.
        temperature: t > 0.
        margin: m >= 0, in cosine similarity.

    An anchor without a positive or without a negative in the batch does not count; 0 (with a
    gradient of 0) where that leaves none.
    """
    pairs = all_pairs(embeddings_BKD, values_BKV)
    logits_KBB = pairs.similarity_KBB / temperature
    lowest = torch.finfo(logits_KBB.dtype).min
    negatives_KB1 = logits_KBB.masked_fill(~pairs.negative_KBB, lowest).logsumexp(-1, keepdim=True)
    loss_KBB = nn.functional.softplus(negatives_KB1 - logits_KBB + margin / temperature)
    loss_KBB = loss_KBB.masked_fill(~pairs.positive_KBB, 0)
    loss_KB = loss_KBB.sum(dim=-1) / pairs.positive_KBB.sum(dim=-1).clamp(min=1)
    return mean_over_anchors(loss_KB, pairs.is_anchor)
