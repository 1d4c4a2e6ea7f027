"""How often tags are right on a split, and how honest their probabilities are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from components.attributes import AttributeSchema, metric_part
from components.prototypes.prototypes import Prototypes
from components.prototypes.tags import calibration_error, tag

_SHOWN = ("accuracy", "most_frequent", "calibration_error")


def evaluate_tags(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    *,
    prototypes: Prototypes,
    schema: AttributeSchema,
) -> dict[str, Any]:
    """Returns the section `tags` of an evaluation's figures, in percent.

    `accuracy` is the share of images whose most likely value is one of theirs, `most_frequent` the
    accuracy of always naming the value that most training images have, `calibration_error` the
    expected calibration error. Of the section itself, they are means over attributes. Attributes
    without a label in the split, or without a prototype, are left out, and so is an identity; {}
    where all are.

    Args:
        splits: `tables.SPLITS`.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings: embeddings of unit length [n, N, D].
        prototypes: of all attributes but an identity.
        schema: the attributes.
    """
    labels = splits.to_pandas()
    in_split, training = (labels[labels["split"] == name] for name in (split, "train"))
    attributes = {}
    for attribute in schema.listed:
        described = schema.attributes[attribute]
        found = prototypes.attributes[described.name]
        theirs = in_split[in_split["attribute"] == attribute]
        if theirs.empty or len(found.missing) == len(found.values):
            continue
        numbers, rows = np.unique(theirs["image"].to_numpy(), return_inverse=True)
        has_nV = np.zeros((len(numbers), len(described.values)), bool)
        has_nV[rows, theirs["value"].to_numpy()] = True
        tags = tag(
            embeddings[np.searchsorted(images, numbers), attribute],
            found,
            prototypes.calibrations[described.name],
        )
        is_right_n = has_nV[np.arange(len(numbers)), tags.value_n]
        attributes[described.name] = {
            "accuracy": 100 * float(is_right_n.mean()),
            "most_frequent": 100 * float(has_nV[:, _most_frequent(training, attribute)].mean()),
            "calibration_error": 100 * calibration_error(tags.confidence_n, is_right_n),
            "num_images": len(numbers),
        }
    if not attributes:
        return {}
    means = {x: float(np.mean([row[x] for row in attributes.values()])) for x in _SHOWN}
    return {**means, "attributes": attributes}


def tag_metrics(figures: Mapping[str, Any], *, prefix: str) -> dict[str, float]:
    """Returns the scores of a section by MLflow's names, such as `test/tags/accuracy/neckline`."""
    if not figures:
        return {}
    per_attribute = {
        f"{score}/{metric_part(name)}": row[score]
        for name, row in figures["attributes"].items()
        for score in ("accuracy", "calibration_error")
    }
    means = {name: figures[name] for name in _SHOWN}
    return {f"{prefix}/tags/{name}": value for name, value in {**means, **per_attribute}.items()}


def _most_frequent(training: pd.DataFrame, attribute: int) -> int:
    """Returns the value that most training images have; of equal ones the first."""
    values = training.loc[training["attribute"] == attribute, "value"]
    return int(np.bincount(values).argmax())
