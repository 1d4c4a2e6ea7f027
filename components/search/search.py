"""Exact search: similarities a slice of the embeddings at a time, and the nearest of all slices.

Shape letters: n items of a part or of a slice, D embedding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.embedding.embeddings import Vectors

_ITEMS_AT_ONCE = 2048  # their vectors in single precision stay in a core's cache

# half precision as single precision: the bits of exponent and mantissa, moved, are a number that
# is smaller by the difference of the two exponents' biases, 127 - 15
_HALF_TO_SINGLE = np.float32(2.0**112)
_SIGN_EXPONENT_MANTISSA = np.uint32(0x8FFFFFFF).view(np.int32)  # without what sign extension added


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Image numbers [n] and their similarities to a query [n]."""

    images: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AttributeQuery:
    """A query's embedding [D] for an attribute, and how much the attribute counts."""

    embedding: NDArray[np.float32]
    weight: float = 1.0


def similarities(
    parts: Iterable[Sequence[Vectors]],
    queries: Sequence[AttributeQuery],
    *,
    keeps: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> Iterator[Neighbours]:
    """Yields the similarities of embedded items to a query, a slice at a time.

    Of several attributes it is the weighted sum of cosines. Memory does not grow with the parts.

    Args:
        parts: each the same images in the same order, once for each attribute.
        queries: of each attribute.
        keeps: tells which of some image numbers [n] are asked for [n]; None: all.
    """
    for part in parts:
        images_n = part[0].images_n
        for start in range(0, len(images_n), _ITEMS_AT_ONCE):
            rows = slice(start, start + _ITEMS_AT_ONCE)
            images = images_n[rows]
            kept = slice(None) if keeps is None else np.flatnonzero(keeps(images))
            total = np.zeros(len(images[kept]), np.float32)
            for vectors, query in zip(part, queries, strict=True):
                cosines = _dot(vectors.embeddings_nD[rows][kept], query.embedding)
                total += np.float32(query.weight) * cosines
            yield Neighbours(images=images[kept], similarities=total)


def nearest(scored: Iterable[Neighbours], *, top_k: int) -> Neighbours:
    """Returns the `top_k` most similar of all items, nearest first; all where there are fewer.

    Equal similarities are ordered by image number.
    """
    best = Neighbours(images=np.empty(0, np.int64), similarities=np.empty(0, np.float32))
    for some in scored:
        images = np.concatenate([best.images, some.images])
        likeness = np.concatenate([best.similarities, some.similarities])
        if len(images) > top_k:  # sorts only those that can be among the first
            may_be = likeness >= np.partition(likeness, -top_k)[-top_k]
            images, likeness = images[may_be], likeness[may_be]
        order = np.lexsort((images, -likeness))[:top_k]
        best = Neighbours(images=images[order], similarities=likeness[order])
    return best


def _dot(vectors_nD: NDArray[np.float16], query_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the dot product of each finite vector with the query [n].

    Integer operations bring half precision to single four times as fast as numpy's `astype`, which
    would be most of a search. einsum gives an item the same bits in whatever slice it comes, which
    BLAS does not (equal vectors shall be equally similar), and wakes no threads.
    """
    bits_nD = vectors_nD.view(np.int16).astype(np.int32)
    bits_nD <<= 13
    bits_nD &= _SIGN_EXPONENT_MANTISSA
    scaled_D = query_D * _HALF_TO_SINGLE
    return np.asarray(np.einsum("nd,d->n", bits_nD.view(np.float32), scaled_D))
