"""What a report shows of an attribute's retrieval, chosen by rule and not by hand.

Shape letters: Q queries, K nearest items of each, G gallery items, V values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.ranking import Items, canonical_order, compared

_SIMILARITIES_AT_ONCE = 2**24  # 64 MiB of float32


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The first items of each query's ranking; queries without a relevant item are left out.

    Attributes:
        queries: queries in the order of `evaluation.AttributeResult`.
        gallery: what was ranked.
        places_QK: places in the gallery, nearest first; -1 where there are fewer items.
        similarities_QK: cosines; -inf where there are fewer items.
        agrees_QK: whether they share a value with their query.
        num_items_Q: number of gallery items in its ranking: all but those of its group.
        num_relevant_Q: number of those that share a value with the query.
        first_relevant_Q: place in the gallery of the nearest relevant item.
        first_rank_Q: its rank, counted from 1; equal items stand before it.
    """

    queries: Items
    gallery: Items
    places_QK: NDArray[np.int64]
    similarities_QK: NDArray[np.floating]
    agrees_QK: NDArray[np.bool_]
    num_items_Q: NDArray[np.int64]
    num_relevant_Q: NDArray[np.int64]
    first_relevant_Q: NDArray[np.int64]
    first_rank_Q: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A value whose queries find another value instead, and the most similar example.

    Attributes:
        value: position of the queries' value.
        other: position of the value that they find.
        num_found: number of their nearest items that have the other value and share none with
            their query.
        num_shown: number of their nearest items.
        num_queries: number of queries that have the value.
        query: place of the example's query.
        rank: rank of the example's item among the nearest of its query, counted from 0.
    """

    value: int
    other: int
    num_found: int
    num_shown: int
    num_queries: int
    query: int
    rank: int

    @property
    def share(self) -> float:
        """Share of the other value among the nearest items of the value's queries."""
        return self.num_found / self.num_shown


def nearest_items(queries: Items, gallery: Items, *, k: int) -> Nearest:
    """Returns the k nearest gallery items of every query that has a relevant one.

    The query's group, itself included, is not in its ranking. Memory is bounded whatever the number
    of queries, beside k items each.
    """
    k = min(k, len(gallery))
    at_once = max(1, _SIMILARITIES_AT_ONCE // max(1, len(gallery)))
    order_G, first_G = canonical_order(gallery.embeddings_ND)
    back_G, in_order = order_G.argsort(), gallery.rows(order_G)
    parts = []
    for start in range(0, len(queries), at_once):
        some = queries.rows(slice(start, start + at_once))
        similarity_QG, relevant_QG = compared(some, in_order, first_G)
        parts.append(_nearest(similarity_QG[:, back_G], relevant_QG[:, back_G], k))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    answered = columns["num_relevant_Q"] > 0
    columns = {name: column[answered] for name, column in columns.items()}
    return Nearest(queries=queries.rows(answered), gallery=gallery, **columns)


def best_median_worst(scores_Q: NDArray[np.floating]) -> tuple[int, int, int]:
    """Returns the places of the highest, the median and the lowest score.

    The median is the upper one of an even number; of equal scores the first counts as lower.
    """
    order = np.argsort(scores_Q, kind="stable")
    return int(order[-1]), int(order[len(order) // 2]), int(order[0])


def evenly_spaced(scores_N: NDArray[np.floating], count: int) -> list[int]:
    """Returns the places of up to `count` scores, evenly spaced from the highest to the lowest."""
    order = np.argsort(-scores_N, kind="stable")
    steps = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(place) for place in order[steps.round().astype(np.int64)]]


def confused_values(nearest: Nearest, *, limit: int) -> list[Confusion]:
    """Returns the pairs of values that are confused most, by falling share.

    The share of a pair (a, b) is, of the nearest items of all queries that have a, those that have
    b and share no value with their query. Equal shares: more queries first, then in the order of
    the values. An item or a query of several values counts for each.
    """
    values_QV = nearest.queries.values_N.astype(float)  # for BLAS; counts stay exact
    is_shown_QK = nearest.places_QK >= 0
    is_wrong_QK = is_shown_QK & ~nearest.agrees_QK
    is_found_QKV = nearest.gallery.values_N[nearest.places_QK] & is_wrong_QK[:, :, None]
    num_found_VV = values_QV.T @ is_found_QKV.sum(axis=1)
    num_shown_V = values_QV.T @ is_shown_QK.sum(axis=1)
    num_queries_V = values_QV.sum(axis=0)
    value_P, other_P = np.nonzero(num_found_VV)
    share_P = num_found_VV[value_P, other_P] / num_shown_V[value_P]
    confusions = []
    for pair in np.lexsort((-num_queries_V[value_P], -share_P))[:limit]:
        value, other = int(value_P[pair]), int(other_P[pair])
        is_example_QK = is_found_QKV[:, :, other] & nearest.queries.values_N[:, [value]]
        similarity_QK = np.where(is_example_QK, nearest.similarities_QK, -np.inf)
        query, rank = np.unravel_index(similarity_QK.argmax(), similarity_QK.shape)
        confusions.append(
            Confusion(
                value=value,
                other=other,
                num_found=int(num_found_VV[value, other]),
                num_shown=int(num_shown_V[value]),
                num_queries=int(num_queries_V[value]),
                query=int(query),
                rank=int(rank),
            )
        )
    return confusions


def failures(
    nearest: Nearest, *, limit: int, leave_out: Sequence[int] = ()
) -> list[tuple[float, int]]:
    """Returns up to `limit` queries whose nearest items agree least: share and place, worst first.

    The share is that of the nearest items that agree, of as many as could; it is below one half. Of
    equal shares the query with more relevant items in the gallery comes first.
    """
    could_agree_Q = np.minimum(nearest.num_relevant_Q, nearest.places_QK.shape[1])
    share_Q = nearest.agrees_QK.sum(axis=1) / could_agree_Q
    order = np.lexsort([-nearest.num_relevant_Q, share_Q])
    found = [(float(share_Q[q]), int(q)) for q in order if q not in leave_out]
    return [(share, q) for share, q in found if share < 0.5][:limit]


def _nearest(
    similarity_QG: NDArray[np.floating], relevant_QG: NDArray[np.bool_], k: int
) -> dict[str, NDArray[Any]]:
    """Returns the columns of `Nearest` for some queries, those without a relevant item too."""
    some_QK = np.argpartition(-similarity_QG, k - 1, axis=1)[:, :k]
    of_some_QK = np.take_along_axis(similarity_QG, some_QK, axis=1)
    places_QK = np.take_along_axis(some_QK, np.lexsort((some_QK, -of_some_QK)), axis=1)
    similarities_QK = np.take_along_axis(similarity_QG, places_QK, axis=1)
    to_relevant_QG = np.where(relevant_QG, similarity_QG, -np.inf)
    at_least_as_near_QG = similarity_QG >= to_relevant_QG.max(axis=1, keepdims=True)
    return {
        "places_QK": np.where(np.isneginf(similarities_QK), -1, places_QK),
        "similarities_QK": similarities_QK,
        "agrees_QK": np.take_along_axis(relevant_QG, places_QK, axis=1),
        "num_items_Q": (~np.isneginf(similarity_QG)).sum(axis=1),
        "num_relevant_Q": relevant_QG.sum(axis=1),
        "first_relevant_Q": to_relevant_QG.argmax(axis=1),
        "first_rank_Q": at_least_as_near_QG.sum(axis=1),
    }
