"""The triplets that a data set publishes, for training and evaluation to take as they are."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError

_SLOTS = ("anchor", "positive", "negative")


def triplets_in_split(published: pa.Table, labels: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Returns the published triplets of a split that stay in it, and the others, in their order.

    A triplet stays in the split where each of its images has a label of its attribute there; what
    the lists were made for does not count.

    Args:
        published: `tables.PUBLISHED_TRIPLETS` of one split.
        labels: `tables.SPLITS` of that split.

    Raises:
        HemlineError: none stays in it.
    """
    labelled = _keys(labels, "image")
    stays = np.all([np.isin(_keys(published, slot), labelled) for slot in _SLOTS], axis=0)
    if not stays.any():
        raise HemlineError(
            f"each of {published.num_rows} published triplets has an image without a label of its "
            "attribute in this split"
            if published.num_rows
            else "the data set publishes no triplets"
        )
    return published.filter(stays), published.filter(~stays)


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
