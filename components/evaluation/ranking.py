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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Values: TypeAlias = NDArray[np.integer] | NDArray[np.bool_] | csr_array
"""The value of each image, int [N]; or which values each has, bool [N, V]: none, one or several.

Sparse where V may be tens of thousands.
"""

_QUERIES_AT_ONCE = 1024  # more does not speed up the matrix product
_SIMILARITIES_AT_ONCE = 2**26  # 256 MiB of float32
_ITEMS_AT_ONCE = 2**14  # in one matrix product; bounds copies of the gallery to another type
_RANKED_AT_ONCE = 2**21  # per thread; each may be a pair, of about 100 bytes


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


@dataclass(frozen=True, kw_only=True)
class RelevantRanks:
    """Where the relevant items of some queries stand; pairs are ordered by query.

    Attributes:
        num_relevant_Q: relevant items of each query; may be 0.
        query_P: place of the pair's query among the queries.
        above_P: items more similar to the query than the pair's item.
        tied_P: items exactly as similar, itself included.
        relevant_above_P: the relevant ones of those above.
        relevant_tied_P: the relevant ones of those tied, itself included.
    """

    num_relevant_Q: NDArray[np.int64]
    query_P: NDArray[np.int64]
    above_P: NDArray[np.int64]
    tied_P: NDArray[np.int64]
    relevant_above_P: NDArray[np.int64]
    relevant_tied_P: NDArray[np.int64]

    def sum_per_query(self, score_P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum of a score of pairs over the pairs of each query [Q]."""
        sums_Q = np.bincount(self.query_P, score_P, minlength=len(self.num_relevant_Q))
        return sums_Q.astype(np.float64, copy=False)  # whole numbers where there is no pair


Measure = Callable[[RelevantRanks], NDArray[np.float64]]
"""A score of each query [Q]; NaN for a query without a relevant item."""


def measure(
    measures: Mapping[str, Measure], queries: Items, gallery: Items
) -> dict[str, NDArray[np.float64]]:
    """Returns each measure of each query [Q]; the gallery is ranked by falling cosine similarity.

    An item is relevant to a query where they share a value; the query's group, itself included, is
    not in its ranking. Similarities are computed in float32, or in float64 where
    embeddings are. Beside the embeddings and two copies of the gallery's, 0.5 GiB and 0.2 GiB per
    thread are used at most, whatever their number; there are as many threads as torch has.

    Raises:
        ValueError: values of queries and gallery differ in form, or an embedding is not a number.
    """
    import torch  # noqa: PLC0415 - the gate reads scores and measures none

    if queries.values_N.shape[1:] != gallery.values_N.shape[1:]:
        shapes = f"{queries.values_N.shape} and {gallery.values_N.shape}"
        raise ValueError(f"values of queries and gallery differ in form: {shapes}")
    queries, gallery = _with_single_values(queries, gallery)
    order_G, first_G = canonical_order(gallery.embeddings_ND)
    gallery = gallery.rows(order_G)
    num_threads = torch.get_num_threads()
    at_once = min(_QUERIES_AT_ONCE, _SIMILARITIES_AT_ONCE // max(1, len(gallery)))
    parts: list[list[NDArray[np.float64]]] = []
    with ThreadPoolExecutor(num_threads) as threads:
        for chunk in _slices(len(queries), at_once):
            # one matrix product at a time: BLAS has threads of its own
            similarity_QG, relevant_QG = compared(queries.rows(chunk), gallery, first_G)
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

    The second array holds, for each place of the order, the place of the first equal item. A BLAS
    product may depend on an item's place in the matrix: with OpenBLAS' kernel for Haswell, equal
    items differ in the last bits. In this order the matrix is the same however the gallery was
    ordered, and `compared` gives equal items the product of their first.
    """
    rows_GD = np.ascontiguousarray(embeddings_GD) + embeddings_GD.dtype.type(0)  # -0.0 is 0.0
    as_bytes = np.dtype((np.void, rows_GD.shape[1] * rows_GD.itemsize))
    order_G = rows_GD.view(as_bytes)[:, 0].argsort(kind="stable")
    new_G = np.ones(len(order_G), bool)
    for part in _slices(len(order_G) - 1, _ITEMS_AT_ONCE):
        before, here = order_G[:-1][part], order_G[1:][part]
        new_G[1:][part] = (rows_GD[here] != rows_GD[before]).any(axis=1)
    first_G = np.flatnonzero(new_G)[new_G.cumsum() - 1]
    return order_G, first_G


def compared(
    queries: Items, gallery: Items, first_G: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Returns similarity and relevance [Q, G]; the query's group is at -inf and not relevant.

    The gallery comes in the order of `canonical_order`, with the second array that it returned.
    """
    exact = np.result_type(queries.embeddings_ND, gallery.embeddings_ND, np.float32)
    embeddings_QD = queries.embeddings_ND.astype(exact, copy=False)
    similarity_QG = np.empty((len(queries), len(gallery)), exact)
    relevant_QG = np.empty(similarity_QG.shape, bool)
    for part in _slices(len(gallery), _ITEMS_AT_ONCE):
        items = gallery.rows(part)
        embeddings_GD = items.embeddings_ND.astype(exact, copy=False)
        similarity_QG[:, part] = embeddings_QD @ embeddings_GD.T
        relevant_QG[:, part] = relevance(queries.values_N, items.values_N)
    copies = np.flatnonzero(first_G != np.arange(len(gallery)))
    for part in _slices(len(copies), _ITEMS_AT_ONCE):
        similarity_QG[:, copies[part]] = similarity_QG[:, first_G[copies[part]]]
    for part in _slices(len(gallery), _ITEMS_AT_ONCE):
        excluded_QG = queries.excluded_N[:, None] == gallery.excluded_N[None, part]
        similarity_QG[:, part][excluded_QG] = -np.inf
        relevant_QG[:, part][excluded_QG] = False
    return similarity_QG, relevant_QG


def relevance(query_values_Q: Values, gallery_values_G: Values) -> NDArray[np.bool_]:
    """Returns which gallery items share a value with which query [Q, G]."""
    if isinstance(query_values_Q, csr_array):
        return np.asarray((query_values_Q @ gallery_values_G.T).toarray())
    if query_values_Q.ndim == 1:
        return np.asarray(query_values_Q[:, None] == gallery_values_G[None, :])
    shared_QG = query_values_Q.astype(np.float32) @ gallery_values_G.T.astype(np.float32)
    return np.asarray(shared_QG > 0)


def rank_relevant(
    similarity_QG: NDArray[np.floating], relevant_QG: NDArray[np.bool_]
) -> RelevantRanks:
    """Returns where the relevant items stand; sorts the similarities in place.

    Raises:
        ValueError: a similarity is not a number.
    """
    num_relevant_Q = np.count_nonzero(relevant_QG, axis=1)
    similarity_P = similarity_QG[relevant_QG]
    # sorting values and looking the relevant up is several times as fast as sorting places
    similarity_QG.sort(axis=1)
    if np.isnan(similarity_QG[:, -1:]).any():
        raise ValueError("embeddings are not all numbers: a similarity is NaN")
    stop_Q = num_relevant_Q.cumsum()
    pairs_of = list(map(slice, stop_Q - num_relevant_Q, stop_Q))
    for pairs in pairs_of:
        similarity_P[pairs].sort()
    query_P = np.arange(len(stop_Q)).repeat(num_relevant_Q)
    upto_P, tied_P = _places(similarity_QG, query_P, similarity_P, pairs_of)
    run_start_P, run_stop_P = _runs(query_P, similarity_P)
    return RelevantRanks(
        num_relevant_Q=num_relevant_Q,
        query_P=query_P,
        above_P=similarity_QG.shape[1] - upto_P,
        tied_P=tied_P,
        relevant_above_P=stop_Q[query_P] - run_stop_P,
        relevant_tied_P=run_stop_P - run_start_P,
    )


def _scores(
    measures: Mapping[str, Measure],
    similarity_QG: NDArray[np.floating],
    relevant_QG: NDArray[np.bool_],
) -> list[NDArray[np.float64]]:
    """Returns each measure of each query [Q]; sorts the similarities in place."""
    ranks = rank_relevant(similarity_QG, relevant_QG)
    return [score(ranks) for score in measures.values()]


def _with_single_values(queries: Items, gallery: Items) -> tuple[Items, Items]:
    """Returns both with int values where each item has exactly one: faster to compare."""
    values = (queries.values_N, gallery.values_N)
    if any(each.ndim == 1 or (each.sum(axis=1) != 1).any() for each in values):
        return queries, gallery
    single_Q, single_G = (each.nonzero()[1] for each in values)
    return replace(queries, values_N=single_Q), replace(gallery, values_N=single_G)


def _places(
    similarity_QG: NDArray[np.floating],
    query_P: NDArray[np.int64],
    similarity_P: NDArray[np.floating],
    pairs_of: Sequence[slice],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns how many items are at most as similar as each pair's, and how many exactly [P].

    Similarities ascend in each row, and over each query's pairs, which lie at its `pairs_of`.
    """
    upto_P = np.empty(len(similarity_P), np.int64)
    for similarity_G, pairs in zip(similarity_QG, pairs_of, strict=True):
        upto_P[pairs] = similarity_G.searchsorted(similarity_P[pairs], side="right")
    tied_P = np.ones_like(upto_P)
    before_P = similarity_QG[query_P, np.maximum(upto_P - 2, 0)]
    with_ties = np.unique(query_P[(before_P == similarity_P) & (upto_P > 1)])
    for query in with_ties.tolist():  # a second search for all would take half as long again
        pairs = pairs_of[query]
        below = similarity_QG[query].searchsorted(similarity_P[pairs], side="left")
        tied_P[pairs] = upto_P[pairs] - below
    return upto_P, tied_P


def _runs(
    query_P: NDArray[np.int64], similarity_P: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns for each pair where the run of equal similarities of its query starts and stops."""
    num_pairs = len(query_P)
    new_P = np.ones(num_pairs, bool)
    new_P[1:] = (query_P[1:] != query_P[:-1]) | (similarity_P[1:] != similarity_P[:-1])
    bounds = np.append(np.flatnonzero(new_P), num_pairs)
    run_P = new_P.cumsum() - 1
    return bounds[run_P], bounds[run_P + 1]


def _slices(length: int, size: int) -> Iterator[slice]:
    """Yields slices of about the same length, at most `size`, over `length`."""
    count = math.ceil(length / max(1, size))
    return (slice(length * i // count, length * (i + 1) // count) for i in range(count))
