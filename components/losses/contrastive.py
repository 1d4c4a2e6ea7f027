"""Supervised contrastive loss per attribute: every label of the batch against every other."""

import torch
from torch import Tensor, nn


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
        embeddings_BKD: unit length, one per image and attribute.
        values_BKV: bool, which values of attribute k image b has; all false where it has no label
            of k. V is the largest number of values of an attribute.
        temperature: t > 0.
        margin: m >= 0, in cosine similarity.

    An anchor without a positive or without a negative in the batch does not count; 0 (with a
    gradient of 0) where that leaves none.
    """
    embeddings_KBD = embeddings_BKD.transpose(0, 1).float()
    values_KBV = values_BKV.transpose(0, 1).float()
    with torch.autocast(embeddings_BKD.device.type, enabled=False):  # it would round the cosines
        logits_KBB = embeddings_KBD @ embeddings_KBD.mT / temperature
    labelled_KB = values_KBV.any(dim=-1)
    shares_KBB = values_KBV @ values_KBV.mT > 0
    is_self_BB = torch.eye(logits_KBB.shape[-1], dtype=torch.bool, device=logits_KBB.device)
    positive_KBB = shares_KBB & ~is_self_BB
    negative_KBB = labelled_KB[:, :, None] & labelled_KB[:, None, :] & ~shares_KBB

    lowest = torch.finfo(logits_KBB.dtype).min
    negatives_KB1 = logits_KBB.masked_fill(~negative_KBB, lowest).logsumexp(-1, keepdim=True)
    loss_KBB = nn.functional.softplus(negatives_KB1 - logits_KBB + margin / temperature)
    loss_KBB = loss_KBB.masked_fill(~positive_KBB, 0)

    num_positives_KB = positive_KBB.sum(dim=-1)
    counts_KB = (num_positives_KB > 0) & negative_KBB.any(dim=-1)
    loss_KB = loss_KBB.sum(dim=-1) / num_positives_KB.clamp(min=1)
    return loss_KB.masked_fill(~counts_KB, 0).sum() / counts_KB.sum().clamp(min=1)
