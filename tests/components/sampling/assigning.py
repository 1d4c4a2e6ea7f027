"""Small catalogs and their assignment, for the tests of splits, leaks and their continuation."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from builders import images_table
from numpy.typing import ArrayLike, NDArray

from components import tables
from components.params import SplitParams
from components.sampling.relations import related_images
from components.sampling.splits import Assignment, split_labels

PARAMS = SplitParams(
    method="random",
    near_duplicates="together",
    near_duplicate_distance=3,
    seed=0,
    train_share=0.8,
    valid_share=0.1,
    test_share=0.1,
    query_share=0.2,
)


def assigned(
    images: pa.Table,
    labels: pa.Table,
    *,
    hashes: ArrayLike | None = None,
    params: SplitParams = PARAMS,
    identity: int | None = None,
    previous: Assignment | None = None,
) -> Assignment:
    """Returns the assignment of a catalog, of hashes that are far apart if none are given."""
    table = hashes_table(images, far_apart(images) if hashes is None else hashes)
    related = related_images(images, table, near_duplicate_distance=params.searched_distance)
    return split_labels(
        images, labels, related, params=params, identity=identity, previous=previous
    )


def far_apart(images: pa.Table) -> NDArray[np.uint64]:
    """Returns random hashes: of some thousands, none differ in fewer than a dozen bits."""
    random = np.random.default_rng(0).integers(0, 2**64, 5000, np.uint64)
    return random[images["image"].to_numpy()]


def hashes_table(images: pa.Table, hashes: ArrayLike) -> pa.Table:
    """Returns perceptual hashes of images as a table."""
    columns = {"image": images["image"], "perceptual_hash": np.asarray(hashes, np.uint64)}
    return pa.table(columns).cast(tables.IMAGE_HASHES)


def distinct(num_images: int) -> pa.Table:
    """Returns images that are related to no other."""
    return images_table(str(image) for image in range(num_images))


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Returns the rows of a table as tuples, without exclusion groups."""
    return [
        tuple(value for name, value in row.items() if name != "exclusion_group")
        for row in table.to_pylist()
    ]


def splits_of(*rows: tuple[Any, ...], unanswerable: Iterable[tuple[Any, ...]] = ()) -> Assignment:
    """Returns an assignment by its rows."""
    return Assignment(
        splits=_table(rows, tables.SPLITS),
        unanswerable=_table(unanswerable, tables.UNANSWERABLE),
    )


def _table(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    records = [dict(zip(schema.names, row, strict=False)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)
