"""The multi-similarity loss per attribute."""

import torch
from torch import Tensor

from components.losses.pairs import all_pairs, mean_over_anchors


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
    the margin. With these P and N, scales a and b and the threshold l:

        L_ik = 1/a log(1 + sum_{p in P} e^{-a (s_ip - l)})
             + 1/b log(1 + sum_{n in N} e^{b (s_in - l)})

    Args:
        embeddings_BKD: as `all_pairs` takes them.
        values_BKV: as `all_pairs` takes them.
        margin: epsilon of the paper, in cosine similarity.
        positive_scale: a > 0.
        negative_scale: b > 0.
        threshold: l, the similarity that tells positives from negatives.

    An anchor without a positive or without a negative in the batch does not count; 0 (with a
    gradient of 0) where that leaves none.
    """
    pairs = all_pairs(embeddings_BKD, values_BKV)
    similarity_KBB = pairs.similarity_KBB
    fixed_KBB = similarity_KBB.detach()
    closest_KB1 = _where(pairs.negative_KBB, fixed_KBB, -torch.inf).amax(dim=-1, keepdim=True)
    farthest_KB1 = _where(pairs.positive_KBB, fixed_KBB, torch.inf).amin(dim=-1, keepdim=True)
    positive_KBB = pairs.positive_KBB & (fixed_KBB < closest_KB1 + margin)
    negative_KBB = pairs.negative_KBB & (fixed_KBB > farthest_KB1 - margin)
    distance_KBB = similarity_KBB - threshold
    loss_KB = (
        _log_one_plus_sum(-positive_scale * distance_KBB, positive_KBB) / positive_scale
        + _log_one_plus_sum(negative_scale * distance_KBB, negative_KBB) / negative_scale
    )
    return mean_over_anchors(loss_KB, pairs.is_anchor)


def _where(mask: Tensor, values: Tensor, otherwise: float) -> Tensor:
    return values.masked_fill(~mask, otherwise)


def _log_one_plus_sum(exponents_KBB: Tensor, mask_KBB: Tensor) -> Tensor:
    """Returns log(1 + sum of e^x over the masked x) [K, B]."""
    lowest = torch.finfo(exponents_KBB.dtype).min
    one_KB1 = torch.zeros_like(exponents_KBB[..., :1])  # e^0
    return torch.cat([_where(mask_KBB, exponents_KBB, lowest), one_KB1], dim=-1).logsumexp(-1)
