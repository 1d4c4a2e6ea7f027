"""Retrieval metrics of each query, and the intervals of their means.

Shape letters: Q queries, G gallery items, P pairs of a query and an item that is relevant to it, R
number of items relevant to a query, k ranks looked at.

Every metric is NaN for a query without a relevant item: means leave such queries out. Equal
similarities count by the mean over all orders of equal items; see `ranking.py`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln
from scipy.stats import bootstrap

from components.evaluation.relevant_ranks import RelevantRanks

_DRAWN_AT_ONCE = 2**22  # bounds the bootstrap in memory


def average_precision_of(ranks: RelevantRanks) -> NDArray[np.float64]:
    """Returns the average precision of each query [Q] in [0, 1], as ASEN and AG-MAN define it.

    With R relevant items, AP = 1/R * sum over relevant items of (relevant items up to and with its
    rank) / (its rank). MAP of an attribute is the mean over its queries, overall MAP that over the
    queries of all attributes, so that attributes weigh by their number of queries.
    """
    precision_P = (ranks.relevant_above_P + 1) / (ranks.above_P + 1)
    tied = np.flatnonzero(ranks.tied_P > 1)
    precision_P[tied] = _precision_among_equals(
        ranks.above_P[tied],
        ranks.tied_P[tied],
        ranks.relevant_above_P[tied],
        ranks.relevant_tied_P[tied],
    )
    return _divided(ranks.sum_per_query(precision_P), ranks.num_relevant_Q)


def precision_at(ranks: RelevantRanks, *, k: int) -> NDArray[np.float64]:
    """Returns precision@k of each query [Q]: relevant items among the first k, divided by k.

    The denominator is k also where the gallery has fewer items.
    """
    return np.where(ranks.num_relevant_Q > 0, _found_within(ranks, k) / k, np.nan)


def recall_at(ranks: RelevantRanks, *, k: int) -> NDArray[np.float64]:
    """Returns recall@k of each query [Q]: relevant items among the first k, divided by R."""
    return _divided(_found_within(ranks, k), ranks.num_relevant_Q)


def r_precision(ranks: RelevantRanks) -> NDArray[np.float64]:
    """Returns R-precision of each query [Q]: relevant items among the first R, divided by R."""
    found_Q = _found_within(ranks, ranks.num_relevant_Q[ranks.query_P])
    return _divided(found_Q, ranks.num_relevant_Q)


def hit_at(ranks: RelevantRanks, *, k: int) -> NDArray[np.float64]:
    """Returns hit@k of each query [Q]: 1 where a relevant item is among the first k, else 0.

    Its mean is the hit rate, Acc@k of street-to-shop retrieval. The first relevant item decides:
    with a items above it and n equal to it, r of them relevant, some order of the equal ones puts
    k - a of them among the first k, and the share of orders in which none of these is relevant is
    C(n-r, k-a) / C(n, k-a). Source: Kiapour et al., Where to Buy It, ICCV 2015, section 5.
    """
    first_P = np.flatnonzero(ranks.relevant_above_P == 0)
    tied_P = ranks.tied_P[first_P]
    taken_P = (k - ranks.above_P[first_P]).clip(0, tied_P)
    hit_Q = np.full(len(ranks.num_relevant_Q), np.nan)
    hit_Q[ranks.query_P[first_P]] = 1 - share_without(
        tied_P, ranks.relevant_tied_P[first_P], taken_P
    )
    return hit_Q


def ndcg_at(ranks: RelevantRanks, *, k: int) -> NDArray[np.float64]:
    """Returns nDCG@k of each query [Q] with binary relevance.

    DCG@k is the sum of 1 / log2(1 + rank) over the relevant items among the first k; it is divided
    by the DCG@k of a ranking with the relevant items first. Source: Järvelin and Kekäläinen,
    Cumulated gain-based evaluation of IR techniques, TOIS 2002, in the form with log2(1 + rank).
    """
    # discount[i]: sum over the first i ranks
    discount = np.concatenate([[0], (1 / np.log2(np.arange(1, k + 1) + 1)).cumsum()])
    first = ranks.pairs(np.flatnonzero(ranks.above_P < k))
    upto_P = discount[np.minimum(first.above_P + first.tied_P, k)]
    gain_P = (upto_P - discount[first.above_P]) / first.tied_P
    ideal_Q = discount[np.minimum(ranks.num_relevant_Q, k)]
    return _divided(first.sum_per_query(gain_P), ideal_Q)


def count_relevant(ranks: RelevantRanks) -> NDArray[np.float64]:
    """Returns R of each query [Q]; 0 where nothing is relevant."""
    return ranks.num_relevant_Q.astype(np.float64)


def expected_random_average_precision(
    num_relevant_Q: NDArray[np.float64], num_items_Q: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the expected AP of a random ranking of each query's items [Q].

    The item at rank i is relevant with probability R/G, and given that, each of the i-1 above it
    with probability (R-1)/(G-1), so that
    E[AP] = 1/G * sum_{i=1..G} (1 + (i-1)(R-1)/(G-1)) / i
          = 1/G * (H_G + (G - H_G)(R-1)/(G-1)), H_G the G-th harmonic number.
    NaN where nothing is relevant.
    """
    none_Q = np.zeros_like(num_items_Q)
    expected_Q = _precision_among_equals(none_Q, num_items_Q, none_Q, num_relevant_Q)
    return np.where(num_relevant_Q > 0, expected_Q, np.nan)


def expected_random_hit(
    num_relevant_Q: NDArray[np.float64], num_items_Q: NDArray[np.int64], *, k: int
) -> NDArray[np.float64]:
    """Returns the expected hit@k of a random ranking of each query's items [Q].

    Its first k are a sample without replacement: 1 - C(G-R, k) / C(G, k). NaN where nothing is
    relevant.
    """
    taken_Q = np.minimum(k, num_items_Q)
    expected_Q = 1 - share_without(num_items_Q, num_relevant_Q, taken_Q)
    return np.where(num_relevant_Q > 0, expected_Q, np.nan)


def gain(
    ap_Q: NDArray[np.float64], random_Q: NDArray[np.float64], *, axis: int = -1
) -> NDArray[np.float64]:
    """Returns how far MAP lies from a random ranking's (0) towards a perfect one's (1), a scalar.

    (MAP - random) / (1 - random), the chance-corrected form of Cohen's kappa, random the mean over
    the same queries of `expected_random_average_precision`; negative where MAP is below it. 0 where
    a random ranking is perfect: there is nothing to gain. Rounded to 12 digits: equal embeddings,
    which score as a random ranking does, gain 0 and not the last bits.
    """
    random = random_Q.mean(axis=axis)
    above = ap_Q.mean(axis=axis) - random
    share = np.divide(above, 1 - random, out=np.zeros_like(above), where=random < 1)
    return share.round(12) + 0.0  # -0.0 is 0.0


def bootstrap_interval(
    *scores_Q: NDArray[np.float64],
    statistic: Callable[..., NDArray[np.float64]] = np.mean,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of a statistic of queries, by default the mean.

    Each resample is Q queries sampled with replacement, with all of their scores, none NaN; the
    ends are the (1 - confidence) / 2 and (1 + confidence) / 2 quantiles, linearly interpolated, of
    the resamples' statistics. The same seed gives the same resamples. Source: Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, section 13.3.
    """
    num_queries = len(scores_Q[0])
    if num_queries == 1:  # SciPy needs two
        return float(statistic(*scores_Q)), float(statistic(*scores_Q))
    found = bootstrap(
        scores_Q,
        statistic,
        paired=len(scores_Q) > 1,
        confidence_level=confidence,
        n_resamples=num_resamples,
        batch=max(1, _DRAWN_AT_ONCE // num_queries),
        method="percentile",
        rng=seed,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def share_without(
    num_items: NDArray[np.int64],
    num_answers: NDArray[np.int64] | NDArray[np.float64],
    num_taken: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Returns the probability that none of so many items taken at random answers.

    C(n - m, j) / C(n, j) for n items, m of which answer, and j taken.
    """
    others = num_items - num_answers
    log_share = (
        gammaln(others + 1)
        - gammaln(np.maximum(others - num_taken, 0) + 1)
        - gammaln(num_items + 1)
        + gammaln(num_items - num_taken + 1)
    )
    return np.where(others < num_taken, 0, np.exp(np.minimum(log_share, 0)))


def _precision_among_equals(
    above_P: NDArray[np.int64],
    tied_P: NDArray[np.int64],
    relevant_above_P: NDArray[np.int64],
    relevant_tied_P: NDArray[np.int64] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the expected precision at the rank of a relevant item among equals [P].

    Of n equal items, r of them relevant, below a items with b relevant ones, the item stands at
    the j-th place with probability 1/n, and then each of the j-1 equal ones above it is relevant
    with probability d = (r-1)/(n-1), so that, H the harmonic numbers,
    E = 1/n * sum_{j=1..n} (b + 1 + (j-1) d) / (a + j)
      = d + (b + 1 - (a+1) d) (H_{a+n} - H_a) / n.
    """
    share_P = (relevant_tied_P - 1) / np.maximum(tied_P - 1, 1)
    harmonic_P = digamma(above_P + tied_P + 1) - digamma(above_P + 1)
    return share_P + (relevant_above_P + 1 - (above_P + 1) * share_P) * harmonic_P / tied_P


def _found_within(ranks: RelevantRanks, k_P: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how many relevant items are expected among the first k of each query [Q]."""
    within = np.flatnonzero(ranks.above_P < k_P)
    first = ranks.pairs(within)
    taken_P = (k_P if isinstance(k_P, int) else k_P[within]) - first.above_P
    return first.sum_per_query((taken_P / first.tied_P).clip(max=1))


def _divided(
    total_Q: NDArray[np.float64], count_Q: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the quotients [Q], NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return total_Q / count_Q
