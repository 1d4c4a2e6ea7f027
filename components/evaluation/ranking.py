"""Exact rankings of a gallery: where the items that are relevant to a query stand.

Shape letters: Q queries, G gallery items, N either, D embedding, V values of an attribute, P pairs
of a query and an item that is relevant to it.

Equal similarities have no order: what is kept of a relevant item is how many items are above it and
how many are equal to it, and measures take their mean over all orders of equal items (McSherry and
Najork, Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores, ECIR 2008). So the order of the gallery does not count, and equal embeddings for all images
score as a random ranking does.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from components.evaluation.relevant_ranks import RelevantRanks, ranges, rank_relevant

Values: TypeAlias = NDArray[np.integer] | NDArray[np.bool_] | csr_array
"""The value of each image, int [N]; or which values each has, bool [N, V]: none, one or several.

Sparse where V may be tens of thousands.
"""

_QUERIES_AT_ONCE = 1024  # more does not speed up the matrix product
_SIMILARITIES_AT_ONCE = 2**26  # 256 MiB of float32
_ITEMS_AT_ONCE = 2**14  # in one matrix product; bounds copies of the gallery to another type
_RANKED_AT_ONCE = 2**18  # per thread: 1 MiB of float32, to stay in its cache
_HEAD = 16  # numbers of an embedding that tell most of them apart
_LEFT_OUT = -1.9  # below all similarities, and above -2


@dataclass(frozen=True, kw_only=True)
class Items:
    """Queries or a gallery: embeddings of unit length, values and image numbers.

    Items of a query's group are left out of its ranking; None: every image is its own group.

    Raises:
        ValueError: their lengths differ.
    """

    embeddings_ND: NDArray[np.floating]
    values_N: Values
    images_N: NDArray[np.int64]
    groups_N: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        numbers = (self.images_N, self.excluded_N)
        lengths = [len(self.embeddings_ND), self.values_N.shape[0], *map(len, numbers)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"embeddings, values, image numbers and groups differ in length: {lengths}"
            )

    @property
    def excluded_N(self) -> NDArray[np.int64]:  # noqa: N802 (shape letters)
        """What an item is left out by: the number of its group, or of its image."""
        return self.images_N if self.groups_N is None else self.groups_N

    def __len__(self) -> int:
        return len(self.embeddings_ND)

    def rows(self, part: slice | NDArray[np.integer] | NDArray[np.bool_]) -> "Items":
        """Returns some of the items."""
        return Items(
            embeddings_ND=self.embeddings_ND[part],
            values_N=self.values_N[part],
            images_N=self.images_N[part],
            groups_N=None if self.groups_N is None else self.groups_N[part],
        )


Measure = Callable[[RelevantRanks], NDArray[np.float64]]
"""A score of each query [Q]; NaN for a query without a relevant item."""


def measure(
    measures: Mapping[str, Measure], queries: Items, gallery: Items
) -> dict[str, NDArray[np.float64]]:
    """Returns each measure of each query [Q]; the gallery is ranked by falling cosine similarity.

    An item is relevant to a query where they share a value; the query's group, itself included, is
    not in its ranking. Similarities are computed in float32, or in float64 where
    embeddings are. Beside the embeddings and two copies of the gallery's, 0.5 GiB and 0.1 GiB per
    thread are used at most, whatever their number; there are as many threads as torch has.

    Raises:
        ValueError: values of queries and gallery differ in form, or an embedding is not a number.
    """
    import torch  # noqa: PLC0415 - the gate reads scores and measures none

    if queries.values_N.shape[1:] != gallery.values_N.shape[1:]:
        shapes = f"{queries.values_N.shape} and {gallery.values_N.shape}"
        raise ValueError(f"values of queries and gallery differ in form: {shapes}")
    queries, gallery = _with_single_values(_scaled(queries, gallery), gallery)
    order_G, first_G = canonical_order(gallery.embeddings_ND)
    gallery = gallery.rows(order_G)
    num_threads = torch.get_num_threads()
    at_once = min(_QUERIES_AT_ONCE, _SIMILARITIES_AT_ONCE // max(1, len(gallery)))
    parts: list[list[NDArray[np.float64]]] = []
    with ThreadPoolExecutor(num_threads) as threads:
        for chunk in _slices(len(queries), at_once):
            # one matrix product at a time: BLAS has threads of its own
            similarity_QG, relevant_QG = compared(
                queries.rows(chunk), gallery, first_G, left_out=_LEFT_OUT
            )
            num_parts = max(num_threads, math.ceil(similarity_QG.size / _RANKED_AT_ONCE))
            num_parts = min(num_parts, len(similarity_QG))
            parts += threads.map(
                partial(_scores, measures),
                np.array_split(similarity_QG, num_parts),
                np.array_split(relevant_QG, num_parts),
            )
    columns = zip(*parts, strict=True) if parts else [[np.empty(0)]] * len(measures)
    return dict(zip(measures, map(np.concatenate, columns), strict=True))


def canonical_order(
    embeddings_GD: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns an order that depends on embeddings alone, and each item's first equal in it [G].

    They are ordered by their bytes: by the first ones alone where no others have the same. The
    second array holds, for each place of the order, the place of the first equal item. A BLAS
    product may depend on an item's place in the matrix: with OpenBLAS' kernel for Haswell, equal
    items differ in the last bits. In this order the matrix is the same however the gallery was
    ordered, and `compared` gives equal items the product of their first.
    """
    order_G = _byte_order(embeddings_GD[:, :_HEAD])
    heads_GD = embeddings_GD[order_G, :_HEAD]
    as_before_G = np.zeros(len(order_G), bool)
    as_before_G[1:] = (heads_GD[1:] == heads_GD[:-1]).all(axis=1)
    alike = np.flatnonzero(as_before_G | np.append(as_before_G[1:], False))
    order_G[alike] = order_G[alike][_byte_order(embeddings_GD[order_G[alike]])]
    later = np.flatnonzero(as_before_G)
    for part in _slices(len(later), _ITEMS_AT_ONCE):
        here, before = (embeddings_GD[order_G[later[part] - back]] for back in (0, 1))
        as_before_G[later[part]] = (here == before).all(axis=1)
    first_G = np.flatnonzero(~as_before_G)[(~as_before_G).cumsum() - 1]
    return order_G, first_G


def _byte_order(rows_ND: NDArray[np.floating]) -> NDArray[np.int64]:
    """Returns the order of the rows by their bytes; equal ones stay in theirs."""
    rows_ND = np.ascontiguousarray(rows_ND) + rows_ND.dtype.type(0)  # -0.0 is 0.0
    as_bytes = np.dtype((np.void, rows_ND.shape[1] * rows_ND.itemsize))
    return rows_ND.view(as_bytes)[:, 0].argsort(kind="stable")


def compared(
    queries: Items, gallery: Items, first_G: NDArray[np.int64], *, left_out: float = -math.inf
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Returns similarity and relevance [Q, G]; the query's group is `left_out` and not relevant.

    The gallery comes in the order of `canonical_order`, with the second array that it returned.
    """
    exact = np.result_type(queries.embeddings_ND, gallery.embeddings_ND, np.float32)
    embeddings_QD = queries.embeddings_ND.astype(exact, copy=False)
    similarity_QG = np.empty((len(queries), len(gallery)), exact)
    relevant_QG = np.empty(similarity_QG.shape, bool)
    for part in _slices(len(gallery), _ITEMS_AT_ONCE):
        items = gallery.rows(part)
        embeddings_GD = items.embeddings_ND.astype(exact, copy=False)
        np.matmul(embeddings_QD, embeddings_GD.T, out=similarity_QG[:, part])
        relevant_QG[:, part] = relevance(queries.values_N, items.values_N)
    copies = np.flatnonzero(first_G != np.arange(len(gallery)))
    for part in _slices(len(copies), _ITEMS_AT_ONCE):
        similarity_QG[:, copies[part]] = similarity_QG[:, first_G[copies[part]]]
    excluded = _excluded(queries, gallery)
    similarity_QG[excluded], relevant_QG[excluded] = left_out, False
    return similarity_QG, relevant_QG


def _excluded(queries: Items, gallery: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns query and place of the items that are left out of a query's ranking."""
    order_G = gallery.excluded_N.argsort()
    first_Q, stop_Q = (
        gallery.excluded_N.searchsorted(queries.excluded_N, side, sorter=order_G)
        for side in ("left", "right")
    )
    count_Q = stop_Q - first_Q
    return np.arange(len(queries)).repeat(count_Q), order_G[ranges(first_Q, count_Q)]


def relevance(query_values_Q: Values, gallery_values_G: Values) -> NDArray[np.bool_]:
    """Returns which gallery items share a value with which query [Q, G]."""
    if isinstance(query_values_Q, csr_array):
        return np.asarray((query_values_Q @ gallery_values_G.T).toarray())
    if query_values_Q.ndim == 1:
        return np.asarray(query_values_Q[:, None] == gallery_values_G[None, :])
    # most images have few of the values: several times as fast as the product of two matrices
    return np.asarray(csr_array(query_values_Q) @ gallery_values_G.T)


def _scores(
    measures: Mapping[str, Measure],
    similarity_QG: NDArray[np.floating],
    relevant_QG: NDArray[np.bool_],
) -> list[NDArray[np.float64]]:
    """Returns each measure of each query [Q]; overwrites the similarities."""
    ranks = rank_relevant(similarity_QG, relevant_QG)
    return [score(ranks) for score in measures.values()]


def _scaled(queries: Items, gallery: Items) -> Items:
    """Returns the queries, shortened by a power of two where a similarity might reach 1.5.

    Such a power changes neither the order of similarities nor which are equal.

    Raises:
        ValueError: an embedding is not a number.
    """
    exact = np.result_type(queries.embeddings_ND, gallery.embeddings_ND, np.float32)
    limit = _longest(queries.embeddings_ND) * _longest(gallery.embeddings_ND)
    if not math.isfinite(limit):
        raise ValueError("embeddings are not all numbers: a similarity is NaN or infinite")
    if limit < 1.5:
        return queries
    scale = exact.type(2.0 ** -math.frexp(limit)[1])
    return replace(queries, embeddings_ND=queries.embeddings_ND.astype(exact) * scale)


def _longest(embeddings_ND: NDArray[np.floating]) -> float:
    """Returns the length of the longest one."""
    exact = np.result_type(embeddings_ND, np.float32)
    longest = 0.0
    for part in _slices(len(embeddings_ND), _ITEMS_AT_ONCE):
        rows_ND = embeddings_ND[part].astype(exact, copy=False)
        longest = np.maximum(longest, np.vecdot(rows_ND, rows_ND).max())  # NaN stays
    return math.sqrt(longest)


def _with_single_values(queries: Items, gallery: Items) -> tuple[Items, Items]:
    """Returns both with small whole numbers for values where each item has exactly one.

    These are faster to compare.
    """
    values = (queries.values_N, gallery.values_N)
    if any(each.ndim > 1 and (each.sum(axis=1) != 1).any() for each in values):
        return queries, gallery
    single_Q, single_G = (each if each.ndim == 1 else each.nonzero()[1] for each in values)
    names, number_N = np.unique(np.append(single_Q, single_G), return_inverse=True)
    small_N = number_N.astype(np.min_scalar_type(len(names)))
    single_Q, single_G = np.split(small_N, [len(queries)])
    return replace(queries, values_N=single_Q), replace(gallery, values_N=single_G)


def _slices(length: int, size: int) -> Iterator[slice]:
    """Yields slices of about the same length, at most `size`, over `length`."""
    count = math.ceil(length / max(1, size))
    return (slice(length * i // count, length * (i + 1) // count) for i in range(count))
