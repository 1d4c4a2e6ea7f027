"""The triplets that a data set publishes, for training and evaluation to take as they are."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError

_SLOTS = ("anchor", "positive", "negative")


def triplets_of_split(
    published: pa.Table, splits: pa.Table, *, split: str
) -> tuple[pa.Table, pa.Table]:
    """Returns the published triplets of a split that can be used, and the others, in their order.

    A triplet can be used where each of its images has a label of its attribute in the split: the
    splits decide, not the lists.

    Args:
        published: `tables.PUBLISHED_TRIPLETS`.
        splits: `tables.SPLITS`.
        split: train, valid or test.

    Raises:
        HemlineError: none can be used.
    """
    triplets = published.filter(pc.field("split") == split).combine_chunks()
    labels = splits.filter(pc.field("split") == split)
    labelled = _keys(labels, "image")
    is_usable = np.all([np.isin(_keys(triplets, slot), labelled) for slot in _SLOTS], axis=0)
    if not is_usable.any():
        raise HemlineError(
            f"split {split}: none of its {triplets.num_rows} published triplets has images with "
            "labels in that split; split.method published takes the split they were made for, "
            "and sampling.triplets drawn needs none"
        )
    return triplets.filter(is_usable), triplets.filter(~is_usable)


def plan_published(
    triplets: pa.Table, *, num_epochs: int, triplets_per_epoch: int, seed: int
) -> Iterator[pa.Table]:
    """Yields some of the triplets in random order for each epoch, as `tables.TRIPLETS`.

    An epoch has each triplet at most once and depends on (seed, epoch); it is all of the list where
    that has no more than triplets_per_epoch.
    """
    for epoch in range(num_epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(triplets.num_rows)
        yield as_epoch(triplets.take(shuffled[:triplets_per_epoch]), epoch)


def as_epoch(triplets: pa.Table, epoch: int) -> pa.Table:
    """Returns triplets of an epoch as `tables.TRIPLETS`, in their order."""
    numbers = pa.array(np.full(triplets.num_rows, epoch, np.int16))
    columns = triplets.append_column("epoch", numbers)
    return columns.select(tables.TRIPLETS.names).cast(tables.TRIPLETS)


def _keys(table: pa.Table, image: str) -> NDArray[np.int64]:
    """Returns one number per row for its attribute and image; image numbers are below 2^48."""
    return (table["attribute"].to_numpy().astype(np.int64) << 48) + table[image].to_numpy()
