"""Every query's nearest items by the lists of an index, for many queries at a time.

A list and the queries that look into it are compared in one matrix product, which is some ten times
as fast as FAISS is query by query: it converts and reads a list once for all of them. How many
lists a query looks into is measured beforehand, by where the nearest items of a sample lie.

Shape letters: Q queries, n items, D embedding, P lists that a query looks into, C candidates,
K neighbours.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from components.neighbours.compared import ComparedItems
from components.neighbours.exact import (
    SPARE,
    NearestLists,
    best_of,
    keep_best,
    matrix,
    nearest_exactly,
    single,
)
from components.search.index import MIN_RECALL, AttributeIndex

_SAMPLE = 500  # items whose exact neighbours are looked for among the lists
_STANDARD_ERRORS = 2  # by which the measured recall exceeds the minimum
_COMPARED_AT_ONCE = 2**22  # similarities: 16 MiB


class Probes(NamedTuple):
    """How many lists a query looks into, and the share of the exactly nearest that are there."""

    number: int
    recall: float


def measured_probes(items: ComparedItems, index: AttributeIndex, *, top_k: int) -> Probes:
    """Returns the fewest lists that hold 95 % of the K nearest, over a sample of the items.

    The mean over the sample lies above that by twice its standard error. An item that is equally
    similar to the last of the nearest may stand for it in a search; here it does not count.
    """
    size = min(_SAMPLE, len(items))
    drawn = np.sort(np.random.default_rng(0).permutation(len(items))[:size])
    sample = items.rows(drawn)
    images_QK = nearest_exactly(sample, items, top_k=top_k).images_QK
    num_lists = index.facts.num_lists
    lists_QP = index.nearest_lists(single(sample.vectors[0]).numpy(), number=num_lists)
    rank_QP = np.argsort(lists_QP, axis=1)  # of each list, by its number
    list_of_n = np.empty(len(items), np.int64)
    for number in range(num_lists):
        places, _ = _places(items, index.list_at(number).images_n)
        list_of_n[places] = number
    found_QK = images_QK >= 0
    places_QK = np.searchsorted(items.images_n, np.where(found_QK, images_QK, items.images_n[0]))
    rank_QK = np.take_along_axis(rank_QP, list_of_n[places_QK], axis=1)
    for number in range(1, num_lists + 1):
        there_Q = (found_QK & (rank_QK < number)).sum(axis=1) / found_QK.sum(axis=1)
        error = there_Q.std() / math.sqrt(size)
        if there_Q.mean() - _STANDARD_ERRORS * error >= MIN_RECALL:
            break
    return Probes(number, float(there_Q.mean()))


def nearest_by_index(
    queries: ComparedItems,
    items: ComparedItems,
    index: AttributeIndex,
    *,
    top_k: int,
    num_probes: int,
) -> NearestLists:
    """Returns about the nearest items of every query, without the query itself and its copies.

    Similarities are those of exact search, to the bit.
    """
    queries_QD = matrix(queries, weighted=False)
    lists_QP = index.nearest_lists(queries_QD.numpy(), number=num_probes)
    values_QC = torch.full((len(queries), top_k + SPARE), -torch.inf)
    places_QC = torch.full(values_QC.shape, -1)
    # the nearest list first: what it holds tells of most items in others that they are too far
    for columns in (slice(0, 1), slice(1, None)):
        for number, rows in _queries_of_lists(lists_QP[:, columns]):
            images_n, vectors_nD = index.list_at(number)
            places, rows_there = _places(items, images_n)
            if not len(places):
                continue
            list_Dn = single(vectors_nD[rows_there]).T
            for some in rows.split(max(1, _COMPARED_AT_ONCE // len(places))):
                products_qn = queries_QD[some] @ list_Dn
                nearer = products_qn.amax(dim=1) > values_QC[some, -1]
                some, products_qn = some[nearer], products_qn[nearer]  # noqa: PLW2901
                values_QC[some], places_QC[some] = keep_best(
                    values_QC[some], places_QC[some], products_qn, torch.from_numpy(places)
                )
    return best_of(queries, items, places_QC.numpy(), top_k=top_k)


def _queries_of_lists(lists_QP: NDArray[np.int64]) -> list[tuple[int, torch.Tensor]]:
    """Returns the rows of the queries that look into a list, for every list that any does."""
    order = lists_QP.ravel().argsort(kind="stable")
    numbers, starts = np.unique(lists_QP.ravel()[order], return_index=True)
    rows = np.split(order // max(1, lists_QP.shape[1]), starts[1:])
    return [
        (number, torch.from_numpy(row)) for number, row in zip(numbers.tolist(), rows, strict=False)
    ]


def _places(
    items: ComparedItems, images_n: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | slice]:
    """Returns the places among the items of a list's images, and the rows of the list with one."""
    places = np.searchsorted(items.images_n, images_n)
    is_item = items.images_n[np.minimum(places, len(items) - 1)] == images_n
    if is_item.all():
        return places, slice(None)
    return places[is_item], np.flatnonzero(is_item)
