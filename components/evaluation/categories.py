"""Retrieval of items within each category: the queries of one against the gallery of the same.

Source: Street2Shop's tables (Kiapour et al., Where to Buy It, ICCV 2015, section 5).
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.evaluation.evaluation import means_of, queries_and_gallery, result_of

CATEGORY = "category"
"""The attribute whose values are categories."""


def evaluate_categories(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    *,
    schema: AttributeSchema,
) -> dict[str, dict[str, Any]]:
    """Returns figures of the items of each category, as a row of `evaluation.report` has them.

    Empty where there are no items in the split or no categories; categories none of whose queries
    has a relevant item are left out. An image of several categories counts in each.

    Args:
        splits: `tables.SPLITS`; an image has its category also in another split's gallery.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings: embeddings of unit length [n, N, D].
        schema: the attributes.
    """
    of_items = (pc.field("split") == split) & (pc.field("attribute") == schema.identity)
    if schema.identity is None or CATEGORY not in schema.names or not splits.filter(of_items):
        return {}
    queries, gallery = queries_and_gallery(splits, split, schema.identity, images, embeddings)
    place = schema.index(CATEGORY)
    labels = splits.filter(pc.field("attribute") == place)
    image, category = labels["image"].to_numpy(), labels["value"].to_numpy()
    figures = {}
    for value, name in enumerate(schema.attributes[place].values):
        of_category = image[category == value]
        asking, answering = (
            items.rows(np.isin(items.images_N, of_category)) for items in (queries, gallery)
        )
        result = result_of(asking, answering)
        if len(result.ap_Q):
            means = means_of(result, with_hits=True)
            figures[name] = {**means, "num_gallery": result.num_gallery}
    return figures
