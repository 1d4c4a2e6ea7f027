"""Which perceptual hashes are near one another, found without comparing all pairs.

Multi-index hashing (Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index
Hashing, CVPR 2012): two hashes that differ in at most `distance` bits agree in at least one of any
`distance` + 1 disjoint bands of bits, so that only hashes that share a band are compared.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_NUM_BITS = 64
_MAX_EDGES = 2**22  # held at a time: 64 MiB

Codes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def near_duplicate_sets(hashes: Codes, *, distance: int) -> Numbers:
    """Returns for each hash the number of its set; the numbers count from 0.

    A set is a connected component: its hashes are linked by steps of at most `distance` bits, so
    that two of them may be further apart.

    Memory is linear in the number of hashes. Time is that of the pairs that share a band: near
    linear where hashes vary. A band that n different hashes have in common costs n² / 2
    comparisons, whatever they are worth.

    Args:
        hashes: of 64 bits each.
        distance: bits in which neighbours may differ, at least 0.
    """
    different, place = np.unique(hashes, return_inverse=True)
    sets = np.arange(len(different))
    if distance == 0:
        return sets[place]
    edges, num_edges = [_links(sets)], 0
    for band in _bands(different, num_bands=distance + 1):
        for pairs in _pairs_in_band(different, band, distance=distance):
            edges.append(pairs[:, sets[pairs[0]] != sets[pairs[1]]])
            num_edges += edges[-1].shape[1]
            if num_edges > _MAX_EDGES:
                sets = connected(len(sets), np.hstack(edges))
                edges, num_edges = [_links(sets)], 0
    return connected(len(sets), np.hstack(edges))[place]


def connected(num_nodes: int, edges: Numbers) -> Numbers:
    """Returns for each node the number of its connected component, by edges [2, n]."""
    graph = coo_array((np.ones(edges.shape[1], bool), tuple(edges)), shape=(num_nodes, num_nodes))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _links(sets: Numbers) -> Numbers:
    """Returns edges [2, n] that connect every set: from each member to the first of its set."""
    _, first, number = np.unique(sets, return_index=True, return_inverse=True)
    return np.stack([np.arange(len(sets)), first[number]])


def _bands(codes: Codes, *, num_bands: int) -> Iterator[Codes]:
    """Yields masks of disjoint bands that tell the hashes apart about equally well.

    Bits are dealt out in the order of how evenly they divide the hashes: with neighbouring bits in
    a band, a white background at the top of every photograph would make one band useless.
    """
    bits = np.arange(_NUM_BITS, dtype=np.uint64)
    num_ones = np.array([np.count_nonzero((codes >> bit) & np.uint64(1)) for bit in bits])
    by_use = bits[np.argsort(np.abs(2 * num_ones - len(codes)), kind="stable")]
    for band in range(num_bands):
        yield np.bitwise_or.reduce(np.uint64(1) << by_use[band::num_bands])


def _pairs_in_band(codes: Codes, band: Codes, *, distance: int) -> Iterator[Numbers]:
    """Yields the places [2, n] of hashes that agree in a band and are near one another.

    Hashes are sorted by the band, which makes a run of those that agree; round k compares each
    with the k-th after it in its run.
    """
    order = np.argsort(codes & band, kind="stable")
    codes, key = codes[order], (codes & band)[order]
    end = np.searchsorted(key, key, side="right")
    first, step = np.arange(len(codes)), 1
    while len(first := first[first + step < end[first]]):
        near = np.bitwise_count(codes[first] ^ codes[first + step]) <= distance
        if near.any():
            yield order[np.stack([first[near], first[near] + step])]
        step += 1
