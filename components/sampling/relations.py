"""Which images are related, so that one of them in training gives another of them away.

Near-duplicates are found without comparing all pairs, by multi-index hashing (Norouzi, Punjani and
Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012): two hashes that differ in
at most `distance` bits agree in at least one of any `distance` + 1 disjoint bands of bits, so that
only hashes that share a band are compared.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.errors import HemlineError

NEAR_DUPLICATE = "near_duplicate"

_NUM_BITS = 64  # of a perceptual hash
_MAX_EDGES = 2**22  # held at a time: 64 MiB

Codes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def related_images(
    images: pa.Table, hashes: pa.Table, *, near_duplicate_distance: int | None
) -> pd.DataFrame:
    """Returns the sets of related images: a row per image, a column per kind of relation.

    A set is named by the smallest image number in it, so that an image that is related to no other
    has its own number. The index holds the image numbers, ascending.

    Kinds: identical_file (sha256), group (what the data set says that images belong to; images
    without a group are alone) and near_duplicate (perceptual hashes).

    Args:
        images: catalog rows.
        hashes: `tables.IMAGE_HASHES` of these images at least.
        near_duplicate_distance: bits in which the hashes of near-duplicates differ at most; None
            leaves the kind out.

    Raises:
        HemlineError: an image has no perceptual hash.
    """
    frame = images.select(["image", "path", "sha256", "group"]).to_pandas()
    frame = frame.sort_values("image").set_index("image")
    related = {"identical_file": frame["sha256"], "group": frame["group"]}
    if near_duplicate_distance is not None:
        codes = near_duplicate_sets(_hashes_of(frame, hashes), distance=near_duplicate_distance)
        related[NEAR_DUPLICATE] = pd.Series(codes, frame.index)
    return pd.DataFrame({kind: _named(keys) for kind, keys in related.items()}, index=frame.index)


def units(related: pd.DataFrame, links: Numbers | None = None) -> pd.Series:
    """Returns for each image the set of images that must not be torn apart.

    Images are in one set when the relations, of whichever kind in turn, lead from one to the other.
    Like the relations, a set is named by the smallest image number in it.

    Args:
        related: `related_images`.
        links: more pairs of related images, by their numbers [2, n].
    """
    place = np.arange(len(related))
    edges = [np.stack([place, np.searchsorted(related.index, x)]) for x in related.to_numpy().T]
    if links is not None:
        edges.append(np.searchsorted(related.index, links))
    return _named(pd.Series(_connected(len(related), np.hstack(edges)), related.index))


def _named(keys: pd.Series) -> pd.Series:
    """Returns for each image the smallest image of its key; images without a key are alone."""
    alone = keys.index.to_series()
    return alone.groupby(keys).transform("min").fillna(alone).astype("int64")


def _hashes_of(frame: pd.DataFrame, hashes: pa.Table) -> Codes:
    place = pd.Index(hashes["image"].to_numpy()).get_indexer(frame.index)
    missing = frame["path"][place < 0]
    if len(missing):
        raise HemlineError(
            f"{len(missing)} of {len(frame)} images have no perceptual hash in the image store, "
            f"the first of them {missing.iloc[0]}; the store is of another catalog: `dvc repro` "
            "makes it again"
        )
    return np.asarray(hashes["perceptual_hash"].to_numpy()[place], np.uint64)


def near_duplicate_sets(hashes: Codes, *, distance: int) -> Numbers:
    """Returns for each hash the number of its set; the numbers count from 0.

    A set is a connected component: its hashes are linked by steps of at most `distance` bits, so
    that two of them may be further apart.

    Memory is linear in the number of hashes. Time is that of the pairs that share a band: near
    linear where hashes vary. A band that n different hashes have in common costs n² / 2
    comparisons, whatever they are worth.
    """
    different, place = np.unique(hashes, return_inverse=True)
    sets = np.arange(len(different))
    edges, num_edges = [_links(sets)], 0
    for band in _bands(different, num_bands=distance + 1):
        for pairs in _pairs_in_band(different, band, distance=distance):
            edges.append(pairs[:, sets[pairs[0]] != sets[pairs[1]]])
            num_edges += edges[-1].shape[1]
            if num_edges > _MAX_EDGES:
                sets = _connected(len(sets), np.hstack(edges))
                edges, num_edges = [_links(sets)], 0
    return _connected(len(sets), np.hstack(edges))[place]


def _connected(num_nodes: int, edges: Numbers) -> Numbers:
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
