"""Exact search: similarities a slice of the embeddings at a time, and the nearest of all slices.

Shape letters: n items of a part or of a slice, D embedding, I image numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.embedding.embeddings import Numbers, Vectors

_ITEMS_AT_ONCE = 2048  # their vectors in single precision stay in a core's cache

# half precision as single precision: the bits of exponent and mantissa, moved, are a number that
# is smaller by the difference of the two exponents' biases, 127 - 15
_HALF_TO_SINGLE = np.float32(2.0**112)
_SIGN_EXPONENT_MANTISSA = np.uint32(0x8FFFFFFF).view(np.int32)  # without what sign extension added


class Neighbours(NamedTuple):
    """Image numbers [n] and their similarities to a query [n]."""

    images: NDArray[np.int64]
    similarities: NDArray[np.float32]


def similarities(
    parts: Iterable[Sequence[Vectors]],
    queries: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
    *,
    kept_I: NDArray[np.bool_] | None = None,
) -> Iterator[Neighbours]:
    """Yields the similarities of embedded items to a query, a slice at a time.

    Of several attributes it is the weighted sum of cosines. Memory does not grow with the parts.

    Args:
        parts: vectors of the same images in the same order, once for each attribute.
        queries: embedding of the query [D] for each attribute.
        weights: weight of each attribute.
        kept_I: whether an image is asked for, by its number; None: all are.
    """
    for part in parts:
        images_n = part[0].images_n
        for start in range(0, len(images_n), _ITEMS_AT_ONCE):
            rows = slice(start, start + _ITEMS_AT_ONCE)
            images = images_n[rows]
            kept = slice(None) if kept_I is None else np.flatnonzero(kept_I[images])
            total = np.zeros(len(images[kept]), np.float32)
            for vectors, query_D, weight in zip(part, queries, weights, strict=True):
                total += np.float32(weight) * _dot(vectors.embeddings_nD[rows][kept], query_D)
            yield Neighbours(images[kept], total)


def nearest(scored: Iterable[Neighbours], *, top_k: int) -> Neighbours:
    """Returns the `top_k` most similar of all items, nearest first; all where there are fewer.

    Equal similarities are ordered by image number.
    """
    best = Neighbours(np.empty(0, np.int64), np.empty(0, np.float32))
    for some in scored:
        images = np.concatenate([best.images, some.images])
        likeness = np.concatenate([best.similarities, some.similarities])
        if len(images) > top_k:  # sorts only those that can be among the first
            may_be = likeness >= np.partition(likeness, -top_k)[-top_k]
            images, likeness = images[may_be], likeness[may_be]
        order = np.lexsort((images, -likeness))[:top_k]
        best = Neighbours(images[order], likeness[order])
    return best


def _dot(vectors_nD: Numbers, query_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the dot product of each finite vector with the query [n].

    Integer operations bring half precision to single four times as fast as numpy's `astype`, which
    would be most of a search. einsum gives an item the same bits in whatever slice it comes, which
    BLAS does not (equal vectors shall be equally similar), and wakes no threads.
    """
    if vectors_nD.dtype == np.float32:
        return np.asarray(np.einsum("nd,d->n", vectors_nD, query_D))
    bits_nD = vectors_nD.view(np.int16).astype(np.int32)
    bits_nD <<= 13
    bits_nD &= _SIGN_EXPONENT_MANTISSA
    scaled_D = query_D * _HALF_TO_SINGLE
    return np.asarray(np.einsum("nd,d->n", bits_nD.view(np.float32), scaled_D))
