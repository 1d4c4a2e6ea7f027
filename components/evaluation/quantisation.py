"""What retrieval loses where the network calculates in 8-bit integers.

Shape letters: n images, N attributes, D embedding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.evaluation.evaluation import AttributeResult, evaluate_retrieval, overall_map


def evaluate_quantised(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings_nND: NDArray[np.float32],
    quantised_nND: NDArray[np.float32],
    *,
    results: Mapping[int, AttributeResult],
    schema: AttributeSchema,
) -> dict[str, Any]:
    """Returns MAP in 8-bit integers and its change, over all queries and for each attribute.

    In percent and percent points. `smallest_cosine` is that of an image's two embeddings for one
    attribute, over all images and attributes.

    Args:
        splits: `tables.SPLITS`.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings_nND: embeddings of unit length in floating point.
        quantised_nND: the same in 8-bit integers.
        results: what `evaluate_retrieval` gives for `embeddings_nND`.
        schema: all attributes.
    """
    quantised = evaluate_retrieval(splits, split, images, quantised_nND)

    def change(attribute: int) -> dict[str, float]:
        now, before = (100 * each[attribute].ap_Q.mean() for each in (quantised, results))
        return {"map": float(now), "map_change": float(now - before)}

    cosines = np.einsum("nkd,nkd->nk", embeddings_nND, quantised_nND)
    return {
        "map": overall_map(quantised),
        "map_change": overall_map(quantised) - overall_map(results),
        "smallest_cosine": float(cosines.min()),
        "attributes": {schema.names[attribute]: change(attribute) for attribute in results},
    }


def quantisation_text(figures: Mapping[str, Any]) -> str:
    """Returns what 8-bit integers change, for people."""
    attributes = figures["attributes"]
    worst = min(attributes, key=lambda name: attributes[name]["map_change"])
    return (
        f"in 8-bit integers: MAP {figures['map']:.2f} ({figures['map_change']:+.2f}; {worst} "
        f"{attributes[worst]['map_change']:+.2f}), smallest cosine {figures['smallest_cosine']:.4f}"
    )


def refuses(figures: Mapping[str, Any], *, max_drop: float) -> bool:
    """Returns whether 8-bit integers lose more MAP than `gate.max_quantisation_drop` allows."""
    return -float(figures["map_change"]) > max_drop
