"""Items in splits: what keeps their images together, and what a report says of them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema

NO_IDENTITY = -2  # -1 is the position of an attribute that is gone
"""Stands for the position of the identity where a data set has no items."""

_SPLITS, _HELD_OUT = ("train", "valid", "test"), ("query", "gallery")


def item_links(labels: pa.Table, identity: int) -> NDArray[np.int64]:
    """Returns pairs of image numbers [2, n] that connect the images of every item.

    Args:
        labels: columns image, attribute and value.
        identity: position of the attribute whose values are items.
    """
    of_items = labels.filter(pc.field("attribute") == identity)
    image, item = of_items["image"].to_numpy(), of_items["value"].to_numpy()
    _, first, number = np.unique(item, return_index=True, return_inverse=True)
    return np.stack([image, image[first][number]])


def item_counts(
    splits: pa.Table, images: pa.Table, *, schema: AttributeSchema
) -> dict[str, dict[str, int]]:
    """Returns what a report says of the items of each split; empty without items.

    `num_without_query` and `num_without_gallery` count items, of valid and test: 0 where every
    image asks and answers;
    `num_images_without_domain` is 0 where the data set knows no domains.

    Args:
        splits: `tables.SPLITS`.
        images: catalog rows.
        schema: schema of the catalog.
    """
    if schema.identity is None:
        return {}
    labels = splits.filter(pc.field("attribute") == schema.identity).to_pandas()
    without = images.filter(pc.field("domain").is_null())
    knows_domains = without.num_rows < images.num_rows
    images_without = without["image"].to_numpy() if knows_domains else np.empty(0, np.int64)
    by_split = dict(list(labels.groupby("split")))
    return {x: _counts(by_split[x], images_without) for x in _SPLITS if x in by_split}


def _counts(rows: pd.DataFrame, images_without: NDArray[np.int64]) -> dict[str, int]:
    num_items = rows["value"].nunique()
    counts = {"num_items": num_items}
    if "train" not in set(rows["role"]):
        both = rows["exclusion_group"].notna()
        items_of = {x: rows.loc[(rows["role"] == x) | both, "value"].nunique() for x in _HELD_OUT}
        counts |= {f"num_without_{x}": num_items - items_of[x] for x in _HELD_OUT}
    num_without_domain = rows.loc[rows["image"].isin(images_without), "image"].nunique()
    return {**counts, "num_images_without_domain": num_without_domain}
