"""Near-duplicate sets: the connected components of the naive comparison of all pairs."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sampling import relations
from components.sampling.relations import near_duplicate_sets


def partition(numbers):
    """Returns the sets of places with one number, which is what the numbers mean."""
    return {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers)}


def by_all_pairs(hashes, distance):
    sets = {place: {place} for place in range(len(hashes))}
    for one, other in combinations(range(len(hashes)), 2):
        if (int(hashes[one]) ^ int(hashes[other])).bit_count() <= distance:
            merged = sets[one] | sets[other]
            sets.update(dict.fromkeys(merged, merged))
    return {frozenset(members) for members in sets.values()}


@st.composite
def hash_lists(draw):
    """Random hashes, each changed in some of the bits of a mask, so that distances are small."""
    num_hashes = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    bits = rng.permutation(64)[: draw(st.integers(1, 24))].astype(np.uint64)
    base = rng.integers(0, 2**64, draw(st.integers(1, 3)), np.uint64)
    on = rng.random((num_hashes, len(bits))) < draw(st.sampled_from([0.1, 0.5]))
    changes = np.bitwise_or.reduce(np.where(on, np.uint64(1) << bits, np.uint64(0)), axis=1)
    return rng.choice(base, num_hashes) ^ changes


@settings(max_examples=300)
@given(hashes=hash_lists(), distance=st.integers(0, 8))
def test_against_all_pairs(hashes, distance):
    found = near_duplicate_sets(hashes, distance=distance)

    assert partition(found) == by_all_pairs(hashes, distance)


@given(hashes=hash_lists())
def test_nothing_is_forgotten_when_edges_are_joined_on_the_way(hashes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relations, "_MAX_EDGES", 2)
        found = near_duplicate_sets(hashes, distance=4)

    assert partition(found) == by_all_pairs(hashes, 4)


@pytest.mark.parametrize("distance", range(9))
def test_the_distance_counts_bits_wherever_they_lie(distance):
    rng = np.random.default_rng(distance)
    for _ in range(20):
        one = rng.integers(0, 2**64, dtype=np.uint64)
        bits = rng.permutation(64).astype(np.uint64)
        near = one ^ np.bitwise_or.reduce(np.uint64(1) << bits[:distance], initial=np.uint64(0))
        far = one ^ np.bitwise_or.reduce(np.uint64(1) << bits[: distance + 1])
        found = near_duplicate_sets(np.array([one, near, far]), distance=distance)
        assert found[0] == found[1]
        assert len(set(near_duplicate_sets(np.array([one, far]), distance=distance))) == 2


def test_the_order_of_the_hashes_does_not_matter():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**12, 200, np.uint64) << np.uint64(20)
    order = rng.permutation(200)

    found = near_duplicate_sets(hashes, distance=1)
    mixed = np.empty_like(found)
    mixed[order] = near_duplicate_sets(hashes[order], distance=1)
    assert partition(mixed) == partition(found)


def test_a_background_that_all_hashes_share_costs_nothing():
    # 16 neighbouring bits are 0 in all: a band of their own would make 1.8 billion pairs (8 s)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**48, 60_000, np.uint64)
    start = time.perf_counter()
    found = near_duplicate_sets(hashes, distance=3)

    assert time.perf_counter() - start < 4  # 0.1 s; a busy machine may be slow
    assert len(set(found)) > 59_900  # chance brings a pair or two together


def test_planted_near_duplicates_are_found_among_many():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (2000, 3)).astype(np.uint64)
    copies = hashes[:2000] ^ np.bitwise_or.reduce(flips, axis=1)
    found = near_duplicate_sets(np.concatenate([hashes, copies]), distance=3)

    assert (found[20_000:] == found[:2000]).all()
    assert len(set(found)) == 20_000
