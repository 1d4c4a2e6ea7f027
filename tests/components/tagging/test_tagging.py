"""Tags of a folder of embeddings beside their labels, of which some are planted wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import flip_a_bit
from embedded_folders import write_embedded_folder

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.prototypes.making import make_prototypes
from components.prototypes.prototypes import Prototypes
from components.prototypes.tags import UNCALIBRATED, calibrate
from components.tagging.audit import LabelledTags, accuracies, doubts, labelled_tags, most_doubtful
from components.tagging.folder import MANIFEST, VALUES, make_tags

NUM_ITEMS, DIM, PLANTED = 2000, 24, 40
VALUES_OF_FIT = ("slim", "wide", "loose", "boxy", "unseen")
SCHEMA = AttributeSchema(
    dataset="d",
    attributes=(Attribute(name="fit", values=VALUES_OF_FIT), Attribute(name="hem", values=("a",))),
)
RNG = np.random.default_rng(0)
TRUE = RNG.choice(4, NUM_ITEMS, p=[0.4, 0.3, 0.2, 0.1])
SPLIT = np.array(["train", "valid", "test"])[RNG.choice(3, NUM_ITEMS, p=[0.6, 0.2, 0.2])]
CENTRES = RNG.normal(size=(4, DIM))
CENTRES /= np.linalg.norm(CENTRES, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Vectors around a centre of each value, some of them nearer to another's."""
    noisy = CENTRES[TRUE] + 0.19 * np.random.default_rng(1).normal(size=(NUM_ITEMS, DIM))
    unit = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return unit.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def planted() -> np.ndarray:
    """Items that have another label than their value, 2 % of all."""
    return np.random.default_rng(2).choice(NUM_ITEMS, PLANTED, replace=False)


@pytest.fixture(scope="module")
def splits(planted: np.ndarray) -> pa.Table:
    labels = TRUE.copy()
    labels[planted] = (labels[planted] + 1) % 4
    rows = {
        "image": np.arange(NUM_ITEMS),
        "attribute": np.zeros(NUM_ITEMS, np.int16),
        "value": labels.astype(np.int16),
        "split": SPLIT,
        "role": np.where(SPLIT == "train", "train", "gallery"),
    }
    return pa.table(rows, schema=tables.LABELS).filter(pa.array(np.arange(NUM_ITEMS) % 10 != 9))


@pytest.fixture(scope="module")
def prototypes(splits: pa.Table, vectors: np.ndarray) -> Prototypes:
    labels = splits.to_pandas()
    train, valid = (labels[labels["split"] == name] for name in ("train", "valid"))
    embeddings = np.stack([vectors, vectors], axis=1)
    fit, hem = make_prototypes(train, SCHEMA, np.arange(NUM_ITEMS), embeddings)
    has = np.eye(5, dtype=bool)[valid["value"]]
    calibration = calibrate(vectors[valid["image"]], has, fit)
    return Prototypes(
        attributes={"fit": fit, "hem": hem},
        weights={"fit": 1.0, "hem": 1.0},
        calibrations={"fit": calibration, "hem": UNCALIBRATED},
        model="m",
    )


@pytest.fixture(scope="module")
def embedded(
    tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray, prototypes: Prototypes
) -> Embeddings:
    return write_embedded_folder(
        tmp_path_factory.mktemp("embedded"),
        {"fit": vectors, "hem": vectors},
        part_sizes=[1200, 0, 800],
        prototypes=prototypes,
    )


@pytest.fixture(scope="module")
def beside(embedded: Embeddings, prototypes: Prototypes, splits: pa.Table) -> LabelledTags:
    return labelled_tags(embedded.vectors("fit"), prototypes, splits, SCHEMA, "fit")


def test_every_item_has_a_tag_labelled_or_not(
    tmp_path: Path, embedded: Embeddings, prototypes: Prototypes, vectors: np.ndarray
) -> None:
    made, num_made = make_tags(embedded, prototypes, ["fit"], tmp_path)
    assert (made.num_items, num_made) == (NUM_ITEMS, 2)
    table = pd.read_parquet(tmp_path / VALUES).sort_values("item")
    assert [*table] == [
        "item",
        "attribute",
        "value",
        "confidence",
        "second_value",
        "second_confidence",
    ]
    logits = vectors.astype(np.float64) @ prototypes.attributes["fit"].vectors_VD[:4].T
    calibration = made.calibrations["fit"]
    counts = prototypes.attributes["fit"].num_images_V[:4]
    logits = logits / calibration["temperature"] + calibration["prior"] * np.log(counts)
    order = np.argsort(-logits, axis=1)
    names = np.array(VALUES_OF_FIT)
    assert (table["value"].to_numpy() == names[order[:, 0]]).all()
    assert (table["second_value"].to_numpy() == names[order[:, 1]]).all()
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table["confidence"], shares.max(axis=1), rtol=1e-4)
    assert len(pl.read_parquet(tmp_path / VALUES)) == NUM_ITEMS
    assert pq.read_table(tmp_path / VALUES).num_rows == NUM_ITEMS


def test_what_is_there_is_not_made_again(
    tmp_path: Path, embedded: Embeddings, prototypes: Prototypes
) -> None:
    make_tags(embedded, prototypes, ["fit"], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / VALUES).iterdir()}
    missing, kept = before
    missing.unlink()
    (tmp_path / MANIFEST).unlink()
    _, num_made = make_tags(embedded, prototypes, ["fit"], tmp_path)
    assert num_made == 1
    assert missing.exists()
    assert kept.stat().st_mtime_ns == before[kept]


@pytest.mark.parametrize("share", [0.3, 0.999])  # in a page, in the file's description
def test_a_damaged_part_is_made_again(
    tmp_path: Path, embedded: Embeddings, prototypes: Prototypes, share: float
) -> None:
    before, _ = make_tags(embedded, prototypes, ["fit"], tmp_path)
    damaged = next((tmp_path / VALUES).iterdir())
    whole = damaged.read_bytes()
    flip_a_bit(damaged, share=share)
    after, num_made = make_tags(embedded, prototypes, ["fit"], tmp_path)
    assert num_made == 1
    assert damaged.read_bytes() == whole
    assert after == before


def test_an_attribute_without_prototypes_is_refused(
    tmp_path: Path, embedded: Embeddings, prototypes: Prototypes
) -> None:
    with pytest.raises(HemlineError, match="no value of 'hem' has a prototype"):
        make_tags(embedded, prototypes, ["hem"], tmp_path)


def test_accuracy_and_calibration_of_each_split(
    beside: LabelledTags, splits: pa.Table, planted: np.ndarray
) -> None:
    rows = {row.split: row for row in accuracies(beside)}
    labels = splits.to_pandas()
    assert {name: row.num_items for name, row in rows.items()} == (
        labels["split"].value_counts().to_dict()
    )
    test = labels[labels["split"] == "test"]
    assert rows["test"].most_frequent == (test["value"] == 0).mean()
    assert 0.8 < rows["test"].accuracy < 0.99
    assert rows["test"].calibration_error < 0.06


def test_planted_labels_are_those_that_are_contradicted_most(
    beside: LabelledTags, planted: np.ndarray
) -> None:
    found = most_doubtful([*doubts(beside)], 20)
    assert [each.log_odds for each in found] == sorted((x.log_odds for x in found), reverse=True)
    precision = np.mean([each.image in {*planted.tolist()} for each in found])
    assert precision > 0.7  # at random: 0.02
    first = found[0]
    assert first.labels == (VALUES_OF_FIT[(TRUE[first.image] + 1) % 4],)
    assert first.value == VALUES_OF_FIT[TRUE[first.image]]
    assert first.split == SPLIT[first.image]


def test_only_labels_of_the_splits_asked_for(beside: LabelledTags) -> None:
    held_out = [*doubts(beside, splits=["test", "valid"])]
    assert {each.split for each in held_out} == {"test", "valid"}
    assert len(held_out) == sum(each.split != "train" for each in doubts(beside))


def test_one_of_several_labels_is_enough_and_an_unknown_one_says_nothing(
    embedded: Embeddings, prototypes: Prototypes
) -> None:
    """Item 0 has all values; item 1 one not trained on, item 2 one newer than the model."""
    newer = AttributeSchema(
        dataset="d", attributes=(Attribute(name="fit", values=(*VALUES_OF_FIT, "newer")),)
    )
    labels = [*((0, value) for value in range(4)), (1, 4), (2, 5)]
    rows = [
        {"image": image, "attribute": 0, "value": value, "split": "test", "role": "query"}
        for image, value in labels
    ]
    splits = pa.Table.from_pylist(rows, schema=tables.SPLITS)
    found = labelled_tags(embedded.vectors("fit"), prototypes, splits, newer, "fit")
    assert found.is_right_n.tolist() == [True, False, False]
    assert [*doubts(found)] == []
    (row,) = accuracies(found)
    assert (row.num_items, row.accuracy) == (3, pytest.approx(1 / 3))
