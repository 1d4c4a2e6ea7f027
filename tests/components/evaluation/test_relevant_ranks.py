"""Where relevant items stand, against a loop over the definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.evaluation.relevant_ranks import ranges, rank_relevant

# both zeros, the smallest numbers beside them, neighbours in the last bit, the largest below 2
SIMILARITIES = {
    np.float32: [-1.9, -1.0, -0.5, -1e-45, -0.0, 0.0, 1e-45, 0.5, 1 - 2**-24, 1.0, 2 - 2**-23],
    np.float64: [-1.9, -1.0, -0.5, -5e-324, -0.0, 0.0, 5e-324, 0.5, 1 - 2**-53, 1.0, 2 - 2**-52],
}


def ranks_of(similarity_G: list[float], relevant_G: list[bool]) -> list[tuple[int, int, int, int]]:
    """Above, tied and the relevant ones of both, of one query's relevant items by falling rank."""
    found = []
    for mine, is_relevant in zip(similarity_G, relevant_G, strict=True):
        above = [r for s, r in zip(similarity_G, relevant_G, strict=True) if s > mine]
        tied = [r for s, r in zip(similarity_G, relevant_G, strict=True) if s == mine]
        if is_relevant:
            found.append((len(above), len(tied), sum(above), sum(tied)))
    return sorted(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_equals_a_loop_over_the_definitions(dtype, data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(0, 40)))
    drawn = st.sampled_from(SIMILARITIES[dtype])
    similarity_QG = data.draw(arrays(dtype, shape, elements=drawn))
    relevant_QG = data.draw(arrays(np.bool_, shape))
    ranks = rank_relevant(similarity_QG.copy(), relevant_QG)
    assert ranks.num_relevant_Q.tolist() == relevant_QG.sum(axis=1).tolist()
    columns = (ranks.above_P, ranks.tied_P, ranks.relevant_above_P, ranks.relevant_tied_P)
    pairs = np.stack(columns, axis=1)
    assert (np.diff(ranks.query_P) >= 0).all()
    for query, (similarity_G, relevant_G) in enumerate(
        zip(similarity_QG.tolist(), relevant_QG.tolist(), strict=True)
    ):
        found = [tuple(pair) for pair in pairs[ranks.query_P == query].tolist()]
        assert sorted(found) == ranks_of(similarity_G, relevant_G)


def test_sums_are_over_the_pairs_that_are_left():
    relevant_QG = np.array([[True, True, False], [False, False, False], [True, True, True]])
    ranks = rank_relevant(np.array([[0.3, 0.1, 0.2]] * 3), relevant_QG)
    assert ranks.above_P.tolist() == [0, 2, 0, 1, 2]
    assert ranks.sum_per_query(np.array([1.0, 2, 4, 8, 16])).tolist() == [3, 0, 28]
    behind = ranks.pairs(np.flatnonzero(ranks.above_P > 0))
    assert behind.sum_per_query(np.array([1.0, 2, 4])).tolist() == [1, 0, 6]
    assert behind.num_relevant_Q.tolist() == [2, 0, 3]
    none = ranks.pairs(np.flatnonzero(ranks.above_P > math.inf))
    assert none.sum_per_query(np.empty(0)).tolist() == [0, 0, 0]


def test_ranges_follow_one_another():
    first, count = np.array([7, 3, 3, 0]), np.array([2, 0, 3, 1])
    assert ranges(first, count).tolist() == [7, 8, 3, 4, 5, 0]
    assert ranges(first[:0], count[:0]).tolist() == []
