"""Values named from embeddings; travels with a registered model, so it needs no other file here.

The probabilities are those of `components/prototypes/tags.py`.

Shape letters: V values of an attribute, D embedding.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray


class NamedValue(NamedTuple):
    """The most likely value, its probability, and the second; None where there is no second."""

    value: str
    confidence: float
    second_value: str | None
    second_confidence: float


class _Prototypes(NamedTuple):
    values: list[str]
    vectors_VD: NDArray[np.float32]
    prior_V: NDArray[np.float64]
    temperature: float


class NamedValues:
    """The prototypes of a model, ready to name values."""

    def __init__(self, path: Path) -> None:
        """Reads the file of prototypes."""
        table = pq.read_table(path)
        calibrations = json.loads(table.schema.metadata[b"hemline"])["calibrations"]
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in table.to_pylist():
            if row["vector"] is not None:
                rows.setdefault(row["attribute"], []).append(row)
        self._attributes = {
            attribute: _Prototypes(
                values=[row["value"] for row in found],
                vectors_VD=np.array([row["vector"] for row in found], np.float32),
                prior_V=calibrations[attribute]["prior"]
                * np.log([max(row["num_images"], 1) for row in found]),
                temperature=calibrations[attribute]["temperature"],
            )
            for attribute, found in rows.items()
        }

    def name(self, attribute: str, embedding_D: NDArray[np.float32]) -> NamedValue | None:
        """Returns the most likely value of an image; None: no value of the attribute has a vector.

        Args:
            attribute: a name of the model's schema.
            embedding_D: the image's embedding for it.
        """
        known = self._attributes.get(attribute)
        if known is None:
            return None
        cosines_V = known.vectors_VD.astype(np.float64) @ embedding_D.astype(np.float64)
        logits_V = cosines_V / known.temperature + known.prior_V
        share_V = np.exp(logits_V - logits_V.max())
        share_V /= share_V.sum()
        first, *others = np.argsort(-share_V, kind="stable")[:2].tolist()
        return NamedValue(
            value=known.values[first],
            confidence=float(share_V[first]),
            second_value=known.values[others[0]] if others else None,
            second_confidence=float(share_V[others[0]]) if others else 0.0,
        )
