"""The losses that rank embeddings: two over given triplets, three over all labels of a batch.

Shape letters: B images, K attributes, V values of an attribute, D embedding. All but those of
triplets take embeddings [B, K, D] of unit length, one per image and attribute, and values
[B, K, V], bool: which values of attribute k image b has. An image without a label of an attribute
has none, and V is the largest number of values of an attribute.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


def triplet_loss(
    anchors_BD: Tensor, positives_BD: Tensor, negatives_BD: Tensor, *, margin: float
) -> Tensor:
    """Returns mean over the batch of max(0, margin - s(I, I+) + s(I, I-)), a scalar.

    s is the cosine similarity; the embeddings must have unit length. AG-MAN's Eq. 8c has the sign
    the other way round, with a "distance" that its Eq. 8a defines as a cosine similarity; this is
    the form of ASEN and of the authors' code, and the only one that pulls positives together.
    """
    similarity_to_positive_B = (anchors_BD * positives_BD).sum(dim=-1)
    similarity_to_negative_B = (anchors_BD * negatives_BD).sum(dim=-1)
    return (margin - similarity_to_positive_B + similarity_to_negative_B).clamp(min=0).mean()


def soft_triplet_loss(
    anchors_BD: Tensor, positives_BD: Tensor, negatives_BD: Tensor, *, temperature: float
) -> Tensor:
    """Returns the mean over the batch of d+ (FashionSearchNet-v2, Eq. 4 and 6), a scalar in (0, 1).

    d+ = e^{|I - I+|} / (e^{|I - I+|} + e^{|I - I-|}) with Euclidean distances, over the temperature
    t > 0; it is sigmoid((|I - I+| - |I - I-|) / t), which does not overflow. The paper's t is 1,
    and its vectors have any length: embeddings of unit length are never further apart than 2.
    """
    to_positive_B = torch.linalg.vector_norm(anchors_BD - positives_BD, dim=-1)
    to_negative_B = torch.linalg.vector_norm(anchors_BD - negatives_BD, dim=-1)
    return ((to_positive_B - to_negative_B) / temperature).sigmoid().mean()


def share_of_triplets_that_count(
    anchors_BD: Tensor, positives_BD: Tensor, negatives_BD: Tensor, *, margin: float
) -> Tensor:
    """Returns the share of the triplets that `triplet_loss` is not 0 for, a scalar."""
    lead_B = ((positives_BD - negatives_BD) * anchors_BD).sum(dim=-1)
    return (lead_B < margin).float().mean()


def share_of_pairs_that_count(
    embeddings_BKD: Tensor, values_BKV: Tensor, *, margin: float
) -> Tensor:
    """Returns the share of positive pairs that still have something to learn from, a scalar.

    Of all pairs of an anchor and a positive, for anchors that have a negative too, it is the share
    whose similarity is not above that of the anchor's closest negative by more than the margin. 0
    where there is no such pair.
    """
    similarity_KBB, positive_KBB, negative_KBB = pairs = _all_pairs(embeddings_BKD, values_BKV)
    closest_KB1 = similarity_KBB.masked_fill(~negative_KBB, -torch.inf).amax(-1, keepdim=True)
    pair_KBB = positive_KBB & pairs.is_anchor[..., None]
    counts_KBB = pair_KBB & (similarity_KBB <= closest_KB1 + margin)
    return counts_KBB.sum() / pair_KBB.sum().clamp(min=1)


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
    """
    similarity_KBB, positive_KBB, negative_KBB = _all_pairs(embeddings_BKD, values_BKV)
    fixed_KBB = similarity_KBB.detach()
    negatives_KBB = fixed_KBB.masked_fill(~negative_KBB, -torch.inf).sort(dim=-1).values
    positives_KBB = fixed_KBB.masked_fill(~positive_KBB, torch.inf).sort(dim=-1).values
    num_images = len(embeddings_BKD)
    closer_KBB = num_images - torch.searchsorted(negatives_KBB, fixed_KBB - margin, right=True)
    closer_KBB = closer_KBB.masked_fill(~positive_KBB, 0)
    farther_KBB = torch.searchsorted(positives_KBB, fixed_KBB + margin)
    farther_KBB = farther_KBB.masked_fill(~negative_KBB, 0)
    total = (closer_KBB * (margin - similarity_KBB) + farther_KBB * similarity_KBB).sum()
    return total / closer_KBB.sum().clamp(min=1)


def supervised_contrastive_loss(
    embeddings_BKD: Tensor, values_BKV: Tensor, *, temperature: float, margin: float
) -> Tensor:
    """Returns the mean over all (anchor, attribute) pairs that have a positive, a scalar.

    For anchor i and attribute k, P are the other images of the batch that share a value of k with
    i, N those that have values of k and share none; s is the cosine similarity, t > 0 the
    temperature, m >= 0 the margin:

        L_ik = 1/|P| sum_{p in P} log(1 + sum_{n in N} e^{(s_in - s_ip + m)/t})

    the epsilon-SupInfoNCE of Barbano et al. (ICLR 2023, Eq. 8), a supervised contrastive loss
    whose positives are not set against each other, plus the constant m/t, without which it would
    fall below 0 and uncertainty weighting would have no minimum. It falls until every positive is
    closer than every negative by at least the margin m.

    An anchor without a positive or without a negative in the batch does not count; 0 (with a
    gradient of 0) where that leaves none.
    """
    pairs = _all_pairs(embeddings_BKD, values_BKV)
    logits_KBB = pairs.similarity_KBB / temperature
    lowest = torch.finfo(logits_KBB.dtype).min
    negatives_KB1 = logits_KBB.masked_fill(~pairs.negative_KBB, lowest).logsumexp(-1, keepdim=True)
    loss_KBB = nn.functional.softplus(negatives_KB1 - logits_KBB + margin / temperature)
    loss_KBB = loss_KBB.masked_fill(~pairs.positive_KBB, 0)
    loss_KB = loss_KBB.sum(dim=-1) / pairs.positive_KBB.sum(dim=-1).clamp(min=1)
    return _mean_over_anchors(loss_KB, pairs.is_anchor)


def multi_similarity_loss(
    embeddings_BKD: Tensor,
    values_BKV: Tensor,
    *,
    margin: float,
    positive_scale: float,
    negative_scale: float,
    threshold: float,
) -> Tensor:
    """Returns the mean over all (anchor, attribute) pairs, a scalar.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning,
    CVPR 2019, Eq. 13 to 15. Of anchor i's positives those count whose similarity is below that of
    its closest negative plus the margin; of its negatives, those above its farthest positive less
    the margin (the paper's epsilon). With these P and N, scales a, b > 0 of positives and negatives
    and the threshold l, the similarity that tells one from the other:

        L_ik = 1/a log(1 + sum_{p in P} e^{-a (s_ip - l)})
             + 1/b log(1 + sum_{n in N} e^{b (s_in - l)})

    An anchor without a positive or without a negative in the batch does not count; 0 (with a
    gradient of 0) where that leaves none.
    """
    pairs = _all_pairs(embeddings_BKD, values_BKV)
    similarity_KBB = pairs.similarity_KBB
    fixed_KBB = similarity_KBB.detach()
    closest_KB1 = fixed_KBB.masked_fill(~pairs.negative_KBB, -torch.inf).amax(-1, keepdim=True)
    farthest_KB1 = fixed_KBB.masked_fill(~pairs.positive_KBB, torch.inf).amin(-1, keepdim=True)
    positive_KBB = pairs.positive_KBB & (fixed_KBB < closest_KB1 + margin)
    negative_KBB = pairs.negative_KBB & (fixed_KBB > farthest_KB1 - margin)
    distance_KBB = similarity_KBB - threshold
    loss_KB = (
        _log_one_plus_sum(-positive_scale * distance_KBB, positive_KBB) / positive_scale
        + _log_one_plus_sum(negative_scale * distance_KBB, negative_KBB) / negative_scale
    )
    return _mean_over_anchors(loss_KB, pairs.is_anchor)


def _log_one_plus_sum(exponents_KBB: Tensor, mask_KBB: Tensor) -> Tensor:
    """Returns log(1 + sum of e^x over the masked x) [K, B]."""
    lowest = torch.finfo(exponents_KBB.dtype).min
    one_KB1 = torch.zeros_like(exponents_KBB[..., :1])  # e^0
    masked_KBB = exponents_KBB.masked_fill(~mask_KBB, lowest)
    return torch.cat([masked_KBB, one_KB1], dim=-1).logsumexp(-1)


class _Pairs(NamedTuple):
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


def _all_pairs(embeddings_BKD: Tensor, values_BKV: Tensor) -> _Pairs:
    """Returns which images belong together in each attribute, and how similar they are."""
    embeddings_KBD = embeddings_BKD.transpose(0, 1).float()
    values_KBV = values_BKV.transpose(0, 1).float()
    with torch.autocast(embeddings_BKD.device.type, enabled=False):  # it would round the cosines
        similarity_KBB = embeddings_KBD @ embeddings_KBD.mT
    labelled_KB = values_KBV.any(dim=-1)
    shares_KBB = values_KBV @ values_KBV.mT > 0
    is_self_BB = torch.eye(len(values_BKV), dtype=torch.bool, device=values_BKV.device)
    return _Pairs(
        similarity_KBB,
        positive_KBB=shares_KBB & ~is_self_BB,
        negative_KBB=labelled_KB[:, :, None] & labelled_KB[:, None, :] & ~shares_KBB,
    )


def _mean_over_anchors(loss_KB: Tensor, is_anchor_KB: Tensor) -> Tensor:
    """Returns the mean loss of the anchors, a scalar; 0 (with a gradient of 0) without any."""
    return loss_KB.masked_fill(~is_anchor_KB, 0).sum() / is_anchor_KB.sum().clamp(min=1)
