"""Where relevant items stand in the rankings of some queries, from similarities.

Shape letters: Q queries, G gallery items, P pairs of a query and an item that is relevant to it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


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

    def pairs(self, part: NDArray[np.int64]) -> "RelevantRanks":
        """Returns some of the pairs, in their order; `num_relevant_Q` stays."""
        return replace(
            self,
            query_P=self.query_P[part],
            above_P=self.above_P[part],
            tied_P=self.tied_P[part],
            relevant_above_P=self.relevant_above_P[part],
            relevant_tied_P=self.relevant_tied_P[part],
        )

    def sum_per_query(self, score_P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum of a score of pairs over the pairs of each query [Q]."""
        sums_Q = np.zeros(len(self.num_relevant_Q))
        start_Q = self.query_P.searchsorted(np.arange(len(sums_Q) + 1))
        asked = np.flatnonzero(np.diff(start_Q))  # a tenth of bincount's time, but no empty sums
        sums_Q[asked] = np.add.reduceat(score_P, start_Q[asked])
        return sums_Q


def rank_relevant(
    similarity_QG: NDArray[np.floating], relevant_QG: NDArray[np.bool_]
) -> RelevantRanks:
    """Returns where the relevant items stand; overwrites the similarities, all between -2 and 2."""
    num_items = similarity_QG.shape[1]
    keys_QG = _keys(similarity_QG, relevant_QG)
    keys_QG.sort(axis=1)
    flat_P = np.flatnonzero((keys_QG.astype(np.int8) & 1).view(bool))
    start_Q = np.arange(len(keys_QG) + 1) * num_items
    pairs_Q = flat_P.searchsorted(start_Q)
    num_relevant_Q = np.diff(pairs_Q)
    ranks = RelevantRanks(
        num_relevant_Q=num_relevant_Q,
        query_P=np.arange(len(keys_QG)).repeat(num_relevant_Q),
        above_P=flat_P - start_Q[:-1].repeat(num_relevant_Q),
        tied_P=np.ones_like(flat_P),
        relevant_above_P=np.arange(len(flat_P)) - pairs_Q[:-1].repeat(num_relevant_Q),
        relevant_tied_P=np.ones_like(flat_P),
    )
    keys_QG >>= 1
    first, last = _ties(keys_QG)
    if len(first):
        pairs = flat_P.searchsorted(first)
        count = flat_P.searchsorted(last, side="right") - pairs
        tied = ranges(pairs, count)
        query = first // num_items
        ranks.above_P[tied] = (first - start_Q[query]).repeat(count)
        ranks.tied_P[tied] = (last - first + 1).repeat(count)
        ranks.relevant_above_P[tied] = (pairs - pairs_Q[query]).repeat(count)
        ranks.relevant_tied_P[tied] = count.repeat(count)
    return ranks


def _keys(
    similarity_QG: NDArray[np.floating], relevant_QG: NDArray[np.bool_]
) -> NDArray[np.signedinteger]:
    """Returns whole numbers that rise as similarities fall, relevance in their lowest bit [Q, G].

    The bits of floats, read as whole numbers, are in the same order, negative ones in the opposite
    order. Those of numbers below 2 use one bit less than there are. Sorting such keys is several
    times as fast as sorting places, and tells afterwards which are the relevant items'.
    """
    falling_QG = np.subtract(0, similarity_QG, out=similarity_QG)  # never -0.0
    num_bits = 8 * falling_QG.itemsize
    keys_QG = falling_QG.view(f"i{falling_QG.itemsize}")
    keys_QG ^= (keys_QG >> (num_bits - 1)) & np.iinfo(keys_QG.dtype).max
    keys_QG <<= 1
    keys_QG |= relevant_QG
    return keys_QG


def _ties(keys_QG: NDArray[np.signedinteger]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the first and the last place, in the flat array, of each run of equal keys."""
    as_before_QG = np.zeros((len(keys_QG), keys_QG.shape[1] + 1), bool)
    np.equal(keys_QG[:, 1:], keys_QG[:, :-1], out=as_before_QG[:, 1:-1])
    flat = as_before_QG.ravel()
    bounds = np.flatnonzero(flat[1:] != flat[:-1])
    bounds -= bounds // as_before_QG.shape[1]
    return bounds[::2], bounds[1::2]


def ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the numbers of several ranges, one after the other."""
    return np.arange(count.sum()) + (first - count.cumsum() + count).repeat(count)
