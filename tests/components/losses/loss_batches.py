"""Batches with every kind of relation, and the loops that the batch losses are compared with."""

from collections.abc import Iterator

import torch
from torch import Tensor

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # the losses compute in float32, the loops in float64


def unit_vectors(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def one_value_each(values: list[int]) -> Tensor:
    """Returns [B, 1, V] for one attribute; -1 stands for no label."""
    return torch.tensor([[[v == w for w in range(3)]] for v in values])


def anchors(
    embeddings_BKD: Tensor, values_BKV: Tensor
) -> Iterator[tuple[dict[int, Tensor], list[int], list[int]]]:
    """Yields similarities to the other images, positives and negatives of each anchor.

    Images that share no label with the anchor's attribute are neither; an anchor without positive
    or without negative is passed over.
    """
    has = [[{v for v, there in enumerate(k) if there} for k in b] for b in values_BKV.tolist()]
    for attribute in range(values_BKV.shape[1]):
        for anchor in range(len(values_BKV)):
            ours = has[anchor][attribute]
            others = [b for b in range(len(has)) if b != anchor and has[b][attribute]]
            positives = [b for b in others if ours & has[b][attribute]]
            negatives = [b for b in others if ours and not ours & has[b][attribute]]
            if positives and negatives:
                vectors = embeddings_BKD[:, attribute]
                yield {b: vectors[b] @ vectors[anchor] for b in others}, positives, negatives
