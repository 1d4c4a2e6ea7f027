"""Attribute-specific retrieval on a split: MAP per attribute, beside a random ranking."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.retrieval.metrics import (
    average_precision,
    expected_random_average_precision,
    relevance,
    triplet_relation_accuracy,
)

ValueMatrix = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class AttributeResult:
    """Average precision of an attribute's queries.

    Attributes:
        query_images_Q: image number of each of them.
        ap_Q: of each query that has a relevant gallery item, in [0, 1].
        random_ap_Q: the expectation of a random ranking for the same queries.
        num_gallery: gallery items of the attribute.
    """

    query_images_Q: NDArray[np.int64]
    ap_Q: NDArray[np.float64]
    random_ap_Q: NDArray[np.float64]
    num_gallery: int


def held_out_images(splits: pa.Table, split: str) -> NDArray[np.int64]:
    """Returns the numbers of the images of a split, ascending."""
    return np.unique(splits.filter(pc.field("split") == split)["image"].to_numpy())


def evaluate_retrieval(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
) -> dict[int, AttributeResult]:
    """Returns the result per attribute (position in the schema) that has queries in the split.

    Args:
        splits: the splits table.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings: of unit length [n, N, D].
    """
    held_out = splits.filter(pc.field("split") == split).to_pandas()
    results = {}
    for attribute, labels in held_out.groupby("attribute"):
        queries = labels[labels["role"] == "query"]
        gallery = labels[labels["role"] == "gallery"]
        if queries.empty or gallery.empty:
            continue
        num_values = int(labels["value"].max()) + 1
        query_images, query_values = _value_matrix(queries, num_values)
        gallery_images, gallery_values = _value_matrix(gallery, num_values)
        ap_Q = average_precision(
            embeddings[np.searchsorted(images, query_images), attribute],
            query_values,
            embeddings[np.searchsorted(images, gallery_images), attribute],
            gallery_values,
        )
        num_relevant_Q = relevance(query_values, gallery_values).sum(axis=1)
        random_ap_Q = np.array(
            [expected_random_average_precision(r, len(gallery_images)) for r in num_relevant_Q]
        )
        answered = num_relevant_Q > 0
        results[int(attribute)] = AttributeResult(
            query_images_Q=query_images[answered],
            ap_Q=ap_Q[answered],
            random_ap_Q=random_ap_Q[answered],
            num_gallery=len(gallery_images),
        )
    return results


def overall_map(results: dict[int, AttributeResult]) -> float:
    """Returns MAP over all queries of all attributes, in percent: the papers' "all" column."""
    return 100 * float(np.concatenate([result.ap_Q for result in results.values()]).mean())


def report(
    results: dict[int, AttributeResult], schema: AttributeSchema, *, triplet_accuracy: float
) -> dict[str, Any]:
    """Returns the figures of an evaluation as they are written to disk, all in percent."""
    random_ap = np.concatenate([result.random_ap_Q for result in results.values()])
    return {
        "map": overall_map(results),
        "random_map": 100 * float(random_ap.mean()),
        "triplet_accuracy": triplet_accuracy,
        "num_queries": len(random_ap),
        "attributes": {
            schema.names[attribute]: {
                "map": 100 * float(result.ap_Q.mean()),
                "random_map": 100 * float(result.random_ap_Q.mean()),
                "num_queries": len(result.ap_Q),
                "num_gallery": result.num_gallery,
            }
            for attribute, result in results.items()
        },
    }


def metrics_of(figures: dict[str, Any], *, prefix: str) -> dict[str, float]:
    """Returns the scores of a report under flat names such as `test.map.neck_design`."""
    overall = {name: figures[name] for name in ("map", "random_map", "triplet_accuracy")}
    per_attribute = {f"map.{name}": row["map"] for name, row in figures["attributes"].items()}
    return {f"{prefix}.{name}": value for name, value in {**overall, **per_attribute}.items()}


def bars_of(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a report's MAP per attribute as rows of `tables.MAP_PER_ATTRIBUTE`."""
    return [{"attribute": name, **row} for name, row in figures["attributes"].items()]


def median_query(
    splits: pa.Table,
    attribute: int,
    images: NDArray[np.int64],
    embeddings_ND: NDArray[np.float32],
) -> int:
    """Returns the image of the test query of an attribute whose AP is the median.

    Something to show that is neither the best nor the worst.

    Args:
        splits: the splits table; the attribute must have a query in test.
        attribute: position in the schema.
        images: ascending numbers of the embedded images [N].
        embeddings_ND: of unit length, for this attribute.
    """
    alone = splits.filter(pc.field("attribute") == attribute)
    place = alone.schema.get_field_index("attribute")
    first = pa.array(np.zeros(alone.num_rows, np.int16))
    alone = alone.set_column(place, "attribute", first)
    result = evaluate_retrieval(alone, "test", images, embeddings_ND[:, None])[0]
    middle = np.argsort(result.ap_Q, kind="stable")[len(result.ap_Q) // 2]
    return int(result.query_images_Q[middle])


def evaluate_triplets(
    triplets: pa.Table, images: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> float:
    """Returns the triplet relation accuracy on the given triplets, in percent."""
    attribute = triplets["attribute"].to_numpy()
    anchors, positives, negatives = (
        embeddings[np.searchsorted(images, triplets[name].to_numpy()), attribute]
        for name in ("anchor", "positive", "negative")
    )
    return 100 * triplet_relation_accuracy(anchors, positives, negatives)


def _value_matrix(labels: pd.DataFrame, num_values: int) -> tuple[NDArray[np.int64], ValueMatrix]:
    """Returns the images, ascending, and which values each has."""
    images, row = np.unique(labels["image"].to_numpy(), return_inverse=True)
    values = np.zeros((len(images), num_values), bool)
    values[row, labels["value"].to_numpy()] = True
    return images, values
