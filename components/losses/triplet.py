"""The papers' triplet ranking loss on cosine similarity."""

from torch import Tensor


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
