"""What a report shows of an attribute's retrieval, chosen by rule and not by hand.

Shape letters: Q queries, K nearest items of each, G gallery items, V values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.ranking import Items, canonical_order, compared

_SIMILARITIES_AT_ONCE = 2**24  # 64 MiB of float32


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The first items of each query's ranking; queries without a relevant item are left out.

    Attributes:
        queries: in the order of `evaluation.AttributeResult`.
        gallery: what was ranked.
        places_QK: places in the gallery, nearest first; -1 where there are fewer items.
        similarities_QK: cosines; -inf where there are fewer items.
        agrees_QK: which share a value with their query.
        num_relevant_Q: items of the gallery that share a value with the query.
        first_relevant_Q: place in the gallery of the nearest relevant item.
        first_rank_Q: its rank, counted from 1; equal items stand before it.
    """

    queries: Items
    gallery: Items
    places_QK: NDArray[np.int64]
    similarities_QK: NDArray[np.floating]
    agrees_QK: NDArray[np.bool_]
    num_relevant_Q: NDArray[np.int64]
    first_relevant_Q: NDArray[np.int64]
    first_rank_Q: NDArray[np.int64]

    @property
    def could_agree_Q(self) -> NDArray[np.int64]:  # noqa: N802 (shape letters)
        """How many of the nearest could share a value with their query [Q]."""
        return np.minimum(self.num_relevant_Q, self.places_QK.shape[1])


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A value whose queries find another value instead.

    Attributes:
        value: position of the queries' value.
        other: position of the value that they find.
        num_found: of the queries' nearest items, those that have the other value and share none
            with their query.
        num_shown: the queries' nearest items.
        num_queries: queries that have the value.
        query: place of the query whose such item is most similar.
        item: place of that item in the gallery.
    """

    value: int
    other: int
    num_found: int
    num_shown: int
    num_queries: int
    query: int
    item: int

    @property
    def share(self) -> float:
        """Of what the queries of the value were shown, what has the other value."""
        return self.num_found / self.num_shown


def nearest_items(queries: Items, gallery: Items, *, k: int) -> Nearest:
    """Returns the k nearest gallery items of every query that has a relevant one.

    An item that has the query's image number is not in its ranking. Memory is bounded whatever the
    number of queries, beside k items each.
    """
    k = min(k, len(gallery))
    at_once = max(1, _SIMILARITIES_AT_ONCE // max(1, len(gallery)))
    starts = range(0, len(queries), at_once)
    order_G, first_G = canonical_order(gallery.embeddings_ND)
    back_G, in_order = order_G.argsort(), gallery.rows(order_G)
    parts = []
    for start in starts:
        some = queries.rows(slice(start, start + at_once))
        similarity_QG, relevant_QG = compared(some, in_order, first_G)
        parts.append(_nearest(similarity_QG[:, back_G], relevant_QG[:, back_G], k))
    places, similarities, agrees, num_relevant, first, first_rank = map(
        np.concatenate, zip(*parts, strict=True)
    )
    answered = num_relevant > 0
    return Nearest(
        queries=queries.rows(answered),
        gallery=gallery,
        places_QK=places[answered],
        similarities_QK=similarities[answered],
        agrees_QK=agrees[answered],
        num_relevant_Q=num_relevant[answered],
        first_relevant_Q=first[answered],
        first_rank_Q=first_rank[answered],
    )


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
    pairs = []
    is_wrong_QK = (nearest.places_QK >= 0) & ~nearest.agrees_QK
    for value in np.flatnonzero(nearest.queries.values_N.any(axis=0)).tolist():
        asked_q = np.flatnonzero(nearest.queries.values_N[:, value])
        wrong_P, rank_P = np.nonzero(is_wrong_QK[asked_q])
        places_P = nearest.places_QK[asked_q[wrong_P], rank_P]
        found_V = nearest.gallery.values_N[places_P].sum(axis=0)
        num_shown = int((nearest.places_QK[asked_q] >= 0).sum())
        for other in np.flatnonzero(found_V).tolist():
            counts = int(found_V[other]), num_shown, len(asked_q)
            pairs.append((-counts[0] / num_shown, -len(asked_q), value, other, counts))
    pairs.sort()
    return [
        _confusion(nearest, value, other, counts=counts)
        for _, _, value, other, counts in pairs[:limit]
    ]


def failures(nearest: Nearest, *, limit: int, leave_out: Sequence[int] = ()) -> list[int]:
    """Returns the places of the queries whose nearest items agree least, worst first.

    Of what could agree (`Nearest.could_agree_Q`), less than half does; of equal shares the query
    with more relevant items in the gallery comes first.

    Args:
        nearest: of all queries.
        limit: how many at most.
        leave_out: places that are not wanted.
    """
    share_Q = nearest.agrees_QK.sum(axis=1) / nearest.could_agree_Q
    order = np.lexsort([-nearest.num_relevant_Q, share_Q])
    return [int(q) for q in order if share_Q[q] < 0.5 and q not in leave_out][:limit]


def _nearest(
    similarity_QG: NDArray[np.floating], relevant_QG: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.generic], ...]:
    """Returns the columns of `Nearest` for some queries, those without a relevant item too."""
    some_QK = np.argpartition(-similarity_QG, k - 1, axis=1)[:, :k]
    of_some_QK = np.take_along_axis(similarity_QG, some_QK, axis=1)
    places_QK = np.take_along_axis(some_QK, np.lexsort((some_QK, -of_some_QK)), axis=1)
    similarities_QK = np.take_along_axis(similarity_QG, places_QK, axis=1)
    agrees_QK = np.take_along_axis(relevant_QG, places_QK, axis=1)
    to_relevant_QG = np.where(relevant_QG, similarity_QG, -np.inf)
    first_Q = to_relevant_QG.argmax(axis=1)
    nearest_Q1 = to_relevant_QG.max(axis=1, keepdims=True)
    at_least_as_near_QG = similarity_QG >= nearest_Q1
    return (
        np.where(np.isneginf(similarities_QK), -1, places_QK),
        similarities_QK,
        agrees_QK,
        relevant_QG.sum(axis=1),
        first_Q,
        at_least_as_near_QG.sum(axis=1),
    )


def _confusion(
    nearest: Nearest, value: int, other: int, *, counts: tuple[int, int, int]
) -> Confusion:
    """Returns a pair with its most similar example."""
    has_other_QK = nearest.gallery.values_N[nearest.places_QK, other]
    is_confused_QK = has_other_QK & ~nearest.agrees_QK & (nearest.places_QK >= 0)
    is_confused_QK &= nearest.queries.values_N[:, [value]]
    similarity_QK = np.where(is_confused_QK, nearest.similarities_QK, -np.inf)
    query, rank = np.unravel_index(similarity_QK.argmax(), similarity_QK.shape)
    num_found, num_shown, num_queries = counts
    return Confusion(
        value=value,
        other=other,
        num_found=num_found,
        num_shown=num_shown,
        num_queries=num_queries,
        query=int(query),
        item=int(nearest.places_QK[query, rank]),
    )
