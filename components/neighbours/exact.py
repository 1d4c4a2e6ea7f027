"""Every query's nearest items, exactly: matrix products choose who may be among them.

Matrix products are fast, and their last bits depend on where in the matrix an item lies: equal
vectors are not equally similar. So a product only chooses candidates, more than are asked for, and
their similarities are then computed pair by pair, as `search.py` does, to the same bits. Where more
items than the candidates may be among the nearest, by the bound of rounding, the query is searched
as `hemline search --exact` does. Lists are thus the same for any slices, threads and processors.

Shape letters: Q queries, n items, D embedding, C candidates, K neighbours.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from components.embedding.embeddings import Numbers, Vectors
from components.neighbours.compared import ComparedItems
from components.search.search import nearest, similarities

SPARE = 12
"""Candidates beyond those asked for: for the item itself, its copies, and what rounding leaves."""

NO_IMAGE = -1

_QUERIES_AT_ONCE = 2048
_ITEMS_AT_ONCE = 8192  # with 2048 queries, 64 MiB of similarities
_PAIRED_AT_ONCE = 512  # queries whose candidates are gathered: 30 MiB for 28 of 512 numbers
_LENGTH = 1.02  # at most, of a unit vector in half precision, squared


class NearestLists(NamedTuple):
    """Neighbours of some queries, nearest first: image numbers and similarities [Q, K].

    Equal similarities are ordered by image number. Where there are fewer than K, the rest is
    `NO_IMAGE` at -inf.
    """

    images_QK: NDArray[np.int64]
    similarities_QK: NDArray[np.float32]

    def put(self, rows: slice | NDArray[np.bool_], some: "NearestLists") -> None:
        """Replaces the lists of some queries by others of at most as many neighbours."""
        number = some.images_QK.shape[1]
        self.images_QK[rows, :number] = some.images_QK
        self.similarities_QK[rows, :number] = some.similarities_QK


def no_lists(num_queries: int, top_k: int) -> NearestLists:
    """Returns lists without a neighbour."""
    shape = (num_queries, top_k)
    return NearestLists(np.full(shape, NO_IMAGE), np.full(shape, -np.inf, np.float32))


def nearest_exactly(queries: ComparedItems, items: ComparedItems, *, top_k: int) -> NearestLists:
    """Returns the nearest items of every query, without the query itself and its copies."""
    found = no_lists(len(queries), top_k)
    if not len(items):
        return found
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        some = queries.rows(slice(start, start + _QUERIES_AT_ONCE))
        places_QC, least_Q = _candidates(some, items, min(top_k + SPARE, len(items)))
        lists = best_of(some, items, places_QC, top_k=top_k)
        if places_QC.shape[1] < len(items):
            unsure_Q = lists.similarities_QK[:, -1] <= least_Q + _rounding(items)
            for row in np.flatnonzero(unsure_Q).tolist():
                _search(some, row, items, lists)
        found.put(slice(start, start + len(some)), lists)
    return found


def best_of(
    queries: ComparedItems,
    items: ComparedItems,
    places_QC: NDArray[np.int64],
    *,
    top_k: int,
) -> NearestLists:
    """Returns the nearest of each query's candidates, given by their places among the items.

    A place below 0 stands for none. The query itself and its copies are left out.
    """
    found = no_lists(len(queries), top_k)
    for start in range(0, len(queries), _PAIRED_AT_ONCE):
        rows = slice(start, start + _PAIRED_AT_ONCE)
        some, places_qC = queries.rows(rows), places_QC[rows]
        similarities_qC = pair_similarities(some, items, places_qC)
        images_qC = items.images_n[places_qC]
        left_out = (items.contents_n[places_qC] == some.contents_n[:, None]) | (places_qC < 0)
        lists = sorted_lists(
            np.where(left_out, NO_IMAGE, images_qC),
            np.where(left_out, np.float32(-np.inf), similarities_qC),
            top_k=top_k,
        )
        found.put(rows, lists)
    return found


def pair_similarities(
    queries: ComparedItems, items: ComparedItems, places_QC: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the similarity of each query and its items, given by their places [Q, C].

    The bits are those of `search.similarities`, whatever is asked together.
    """
    total_QC = np.zeros(places_QC.shape, np.float32)
    for query_QD, item_nD, weight in zip(
        queries.vectors, items.vectors, queries.weights, strict=True
    ):
        item_QCD = single(item_nD[places_QC]).numpy()
        total_QC += np.float32(weight) * np.einsum("qcd,qd->qc", item_QCD, single(query_QD).numpy())
    return total_QC


def sorted_lists(
    images_QC: NDArray[np.int64], similarities_QC: NDArray[np.float32], *, top_k: int
) -> NearestLists:
    """Returns the first K of each row, most similar first, equally similar by image number."""
    order_QC = np.lexsort((images_QC, -similarities_QC), axis=1)[:, :top_k]
    return NearestLists(
        np.take_along_axis(images_QC, order_QC, axis=1),
        np.take_along_axis(similarities_QC, order_QC, axis=1),
    )


def single(vectors: Numbers) -> torch.Tensor:
    """Returns vectors in single precision; torch converts half several times as fast as numpy."""
    return torch.from_numpy(np.ascontiguousarray(vectors)).float()


def matrix(items: ComparedItems, *, weighted: bool) -> torch.Tensor:
    """Returns one row per item whose products with others' rows are their similarities.

    Those of one side must be weighted.
    """
    factors = items.weights if weighted else (1.0,) * len(items.weights)
    return torch.cat(
        [single(each) * factor for each, factor in zip(items.vectors, factors, strict=True)], dim=1
    )


def keep_best(
    values_QC: torch.Tensor,
    places_QC: torch.Tensor,
    more_Qn: torch.Tensor,
    more_places_n: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the C greatest of what was best so far and of more items, with their places."""
    top_QC, columns_QC = more_Qn.topk(min(values_QC.shape[1], more_Qn.shape[1]), dim=1)
    values = torch.cat([values_QC, top_QC], dim=1)
    places = torch.cat([places_QC, more_places_n[columns_QC]], dim=1)
    best_QC, order_QC = values.topk(values_QC.shape[1], dim=1)
    return best_QC, places.gather(1, order_QC)


def _candidates(
    queries: ComparedItems, items: ComparedItems, number: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the places of each query's most similar items by a matrix product [Q, C].

    And the least of their similarities [Q].
    """
    matrix_QD = matrix(queries, weighted=True)
    values_QC = torch.full((len(queries), number), -torch.inf)
    places_QC = torch.full(values_QC.shape, -1)
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        some = items.rows(slice(start, start + _ITEMS_AT_ONCE))
        products_Qn = matrix_QD @ matrix(some, weighted=False).T
        places_n = torch.arange(start, start + len(some))
        values_QC, places_QC = keep_best(values_QC, places_QC, products_Qn, places_n)
    return places_QC.numpy(), values_QC[:, -1].numpy()


def _rounding(items: ComparedItems) -> np.float32:
    """Returns how far two ways to sum up one similarity can be apart.

    A sum of N products in any order is off by at most N u / (1 - N u) times the sum of their sizes
    (u = 2^-24), which for unit vectors is at most 1. Source: Higham, Accuracy and Stability of
    Numerical Algorithms, 3.1.
    """
    dim = sum(vectors_nD.shape[1] for vectors_nD in items.vectors) + len(items.vectors)
    return np.float32(2 * _LENGTH * dim * 2.0**-24 * sum(items.weights))


def _search(queries: ComparedItems, row: int, items: ComparedItems, lists: NearestLists) -> None:
    """Writes a query's list as exact search finds it."""
    top_k = lists.images_QK.shape[1]
    query = queries.rows(slice(row, row + 1))
    kept_I = np.zeros(int(items.images_n.max()) + 1, bool)
    kept_I[items.images_n[items.contents_n != query.contents_n]] = True
    parts = [[Vectors(items.images_n, vectors_nD) for vectors_nD in items.vectors]]
    vectors = [single(query_1D).numpy()[0] for query_1D in query.vectors]
    found = nearest(similarities(parts, vectors, items.weights, kept_I=kept_I), top_k=top_k)
    number = len(found.images)
    lists.images_QK[row], lists.similarities_QK[row] = NO_IMAGE, -np.inf
    lists.images_QK[row, :number] = found.images
    lists.similarities_QK[row, :number] = found.similarities
