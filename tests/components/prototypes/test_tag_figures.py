"""Figures of tags: accuracy beside the most frequent value, and calibration."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import splits_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.prototypes.prototypes import Prototypes, ValueVectors
from components.prototypes.tag_figures import evaluate_tags, tag_metrics
from components.prototypes.tags import UNCALIBRATED

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="collar", values=("none", "rib", "unseen")),
        Attribute(name="fit (cm)", values=("slim", "loose")),
        Attribute(name="unlabelled", values=("a",)),
    ),
)


def _splits() -> pa.Table:
    rows = [(100 + n, 0, 1, "train", "train") for n in range(3)]
    rows += [(200, 0, 0, "train", "train"), (200, 1, 0, "train", "train")]
    # image, collar: 1 none, 2 none and rib, 3 rib, 4 unseen; image 4 is loose
    labels = [(1, 0, 0), (2, 0, 0), (2, 0, 1), (3, 0, 1), (4, 0, 2), (4, 1, 1)]
    rows += [(*label, "test", "query") for label in labels]
    return splits_table(rows)


def _prototypes() -> Prototypes:
    attributes = {}
    for attribute in SCHEMA.attributes:
        vectors_VD = np.eye(3, dtype=np.float32)[: len(attribute.values)]
        vectors_VD[2:] = np.nan
        attributes[attribute.name] = ValueVectors(
            values=attribute.values,
            vectors_VD=vectors_VD,
            num_images_V=np.ones(len(attribute.values), np.int64),
            spread_V=np.zeros(len(attribute.values), np.float32),
        )
    names = dict.fromkeys(attributes, 1.0)
    calibrations = dict.fromkeys(attributes, UNCALIBRATED)
    return Prototypes(attributes=attributes, weights=names, calibrations=calibrations, model="m")


def test_figures_by_hand() -> None:
    """All images look like `none` and `slim`, with certainty: 2 of 4 and none of 1 are right."""
    embeddings = np.tile(np.eye(3, dtype=np.float32)[0], (4, 3, 1))
    found = evaluate_tags(
        _splits(), "test", np.arange(1, 5), embeddings, prototypes=_prototypes(), schema=SCHEMA
    )
    assert [*found["attributes"]] == ["collar", "fit (cm)"]
    collar, fit = found["attributes"].values()
    assert (collar["accuracy"], collar["num_images"]) == (50, 4)
    assert collar["most_frequent"] == 50  # rib: images 2 and 3
    assert collar["calibration_error"] == pytest.approx(50, abs=0.01)
    assert (fit["accuracy"], fit["most_frequent"], fit["num_images"]) == (0, 0, 1)
    assert found["accuracy"] == 25
    metrics = tag_metrics(found, prefix="test")
    assert metrics["test/tags/accuracy"] == 25
    assert metrics["test/tags/accuracy/fit :28cm:29"] == 0


def test_nothing_to_measure_is_nothing() -> None:
    empty = np.empty((0, 3, 3), np.float32)
    found = evaluate_tags(
        _splits(), "valid", np.arange(0), empty, prototypes=_prototypes(), schema=SCHEMA
    )
    assert found == {}
    assert tag_metrics(found, prefix="test") == {}


def test_items_are_not_named() -> None:
    """Wherever they stand among the attributes; nothing else changes."""
    item = Attribute(name="item", num_items=9)
    schema = AttributeSchema(dataset="by hand", attributes=(item, *SCHEMA.attributes))
    splits = _splits().to_pandas()
    splits["attribute"] += 1
    items = splits.assign(attribute=0, value=8).drop_duplicates("image")
    table = pa.Table.from_pandas(pd.concat([items, splits]), schema=tables.SPLITS)
    embeddings = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
    with_items, without = (
        evaluate_tags(
            some, "test", np.arange(1, 5), vectors, prototypes=_prototypes(), schema=of_it
        )
        for some, vectors, of_it in (
            (table, embeddings, schema),
            (_splits(), embeddings[:, 1:], SCHEMA),
        )
    )
    assert with_items == without
