"""Which images are related, so that one of them in training gives another of them away."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from components.errors import HemlineError
from components.sampling.near_duplicates import connected, near_duplicate_sets

NEAR_DUPLICATE = "near_duplicate"


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


def units(related: pd.DataFrame) -> pd.Series:
    """Returns for each image the set of images that must not be torn apart.

    Images are in one set when the relations, of whichever kind in turn, lead from one to the other.
    Like the relations, a set is named by the smallest image number in it.
    """
    place = np.arange(len(related))
    edges = [np.stack([place, np.searchsorted(related.index, x)]) for x in related.to_numpy().T]
    return _named(pd.Series(connected(len(related), np.hstack(edges)), related.index))


def _named(keys: pd.Series) -> pd.Series:
    """Returns for each image the smallest image of its key; images without a key are alone."""
    alone = keys.index.to_series()
    return alone.groupby(keys).transform("min").fillna(alone).astype("int64")


def _hashes_of(frame: pd.DataFrame, hashes: pa.Table) -> NDArray[np.uint64]:
    place = pd.Index(hashes["image"].to_numpy()).get_indexer(frame.index)
    missing = frame["path"][place < 0]
    if len(missing):
        raise HemlineError(
            f"{len(missing)} of {len(frame)} images have no perceptual hash in the image store, "
            f"the first of them {missing.iloc[0]}; the store is of another catalog: `dvc repro` "
            "makes it anew"
        )
    return np.asarray(hashes["perceptual_hash"].to_numpy()[place], np.uint64)
