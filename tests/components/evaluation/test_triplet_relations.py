"""Triplets: what is in order is counted, and shown from wide to narrow; the worst come first."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from builders import PROJECT, splits_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.evaluation import triplet_relations
from components.evaluation.triplet_relations import evaluate_triplets, triplet_examples
from components.params import SamplingParams, load_section
from components.sampling.epochs import write_epochs

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=tuple(Attribute(name=name, values=("a", "b")) for name in ("length", "collar")),
)
EXAMPLE_IMAGES = np.arange(10, 40)


@pytest.fixture
def embeddings() -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=(len(EXAMPLE_IMAGES), 2, 4)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=2, keepdims=True)


@pytest.fixture
def triplets() -> pa.Table:
    rng = np.random.default_rng(5)
    rows = [
        (0, attribute, *rng.choice(EXAMPLE_IMAGES[:12], 3, replace=False))
        for attribute in (1, 0)
        for _ in range(60)
    ]
    columns = zip(*rows, strict=True)
    return pa.table([*columns], names=tables.TRIPLETS.names).cast(tables.TRIPLETS)


def test_examples_are_those_of_a_loop(triplets, embeddings):
    margins = []
    for row in triplets.to_pylist():
        if row["attribute"] == 1:
            a, p, n = (embeddings[row[slot] - 10, 1] for slot in ("anchor", "positive", "negative"))
            margins.append((float(a @ p - a @ n), row["anchor"]))
    found = triplet_examples(triplets, 1, EXAMPLE_IMAGES, embeddings, limit=3)
    assert found.num_triplets == 60
    assert found.num_in_order == sum(margin > 0 for margin, _ in margins)
    in_order = sorted((margin for margin, _ in margins if margin > 0), reverse=True)
    shown = [x.to_positive - x.to_negative for x in found.in_order]
    middle = in_order[round((len(in_order) - 1) / 2)]
    assert shown == pytest.approx([in_order[0], middle, in_order[-1]], abs=1e-5)
    worst = {}
    for margin, anchor in sorted(margins):
        worst.setdefault(anchor, margin)
    wanted = sorted(worst.values())[:3]
    shown = [x.to_positive - x.to_negative for x in found.out_of_order]
    assert shown == pytest.approx(wanted, abs=1e-5)
    assert len({x.anchor for x in found.out_of_order}) == 3


def test_accuracy_by_hand():
    """Right, wrong, and a tie, which counts as wrong: one of three."""
    embeddings = np.array([[[1.0, 0.0]], [[0.8, 0.6]], [[0.6, 0.8]], [[0.8, 0.6]]], np.float32)
    rows = [(0, 0, 0, 1, 2), (0, 0, 0, 2, 1), (0, 0, 0, 1, 3)]
    columns = zip(*rows, strict=True)
    found = pa.table([*columns], names=tables.TRIPLETS.names).cast(tables.TRIPLETS)
    assert evaluate_triplets(found, np.arange(4), embeddings) == pytest.approx(100 / 3)


def test_an_attribute_without_triplets_has_none(triplets, embeddings):
    assert triplet_examples(triplets, 5, EXAMPLE_IMAGES, embeddings, limit=3) is None


def test_perfect_and_hopeless_spaces(triplets, embeddings):
    same = np.ones_like(embeddings) / 2
    found = triplet_examples(triplets, 0, EXAMPLE_IMAGES, same, limit=2)
    assert (found.num_in_order, found.in_order) == (0, [])
    assert len(found.out_of_order) == 2


def triplets_table(rows) -> pa.Table:
    columns = zip(*((0, *row) for row in rows), strict=True)
    return pa.table([*columns], names=tables.TRIPLETS.names).cast(tables.TRIPLETS)


TRIPLET_IMAGES = np.array([3, 5, 8])
# attribute, anchor, positive, negative: right, wrong, right, a tie
TRIPLETS = [(0, 3, 5, 8), (0, 3, 8, 5), (1, 3, 8, 5), (1, 3, 5, 5)]


def embeddings_of_triplets() -> np.ndarray:
    embeddings = np.zeros((3, 2, 2), np.float32)
    embeddings[:, 0] = [[1, 0], [0.8, 0.6], [0.6, 0.8]]  # for attribute 0, 5 is nearer to 3
    embeddings[:, 1] = [[1, 0], [0.6, 0.8], [0.8, 0.6]]  # for attribute 1, 8 is
    return embeddings


@pytest.mark.parametrize("at_once", [1, 3, 4, 100])
def test_triplets_are_compared_in_the_space_of_their_attribute(at_once, monkeypatch):
    monkeypatch.setattr(triplet_relations, "_TRIPLETS_AT_ONCE", at_once)
    table = triplets_table(TRIPLETS)
    assert evaluate_triplets(table, TRIPLET_IMAGES, embeddings_of_triplets()) == 50


def test_triplets_that_cannot_be_evaluated_are_an_error():
    outside = triplets_table([*TRIPLETS, (0, 3, 5, 6)])
    with pytest.raises(HemlineError, match="images outside their split"):
        evaluate_triplets(outside, TRIPLET_IMAGES, embeddings_of_triplets())
    with pytest.raises(HemlineError, match="no triplet to evaluate"):
        evaluate_triplets(outside.slice(0, 0), TRIPLET_IMAGES, embeddings_of_triplets())


def test_published_triplets_go_all_the_way(tmp_path):
    """From the lists of a data set to the file of a split to its accuracy."""
    published = [("train", 1, 1, 2, 4), ("train", 1, 2, 1, 4)]
    published += [("test", *row) for row in TRIPLETS] + [("test", 0, 3, 5, 4)]  # 4 is in train
    labels = [(image, a, 0, "test", "gallery") for image in TRIPLET_IMAGES for a in (0, 1)]
    labels += [(image, 1, 0, "train", "train") for image in (1, 2, 4)]
    labels += [(image, 1, 0, "valid", "gallery") for image in (6, 7, 9)]
    published.append(("valid", 1, 6, 7, 9))
    params = load_section(PROJECT / "params.yaml", SamplingParams)
    columns = zip(*published, strict=True)
    catalog = pa.table([*columns], names=tables.PUBLISHED_TRIPLETS.names)
    write_epochs(
        splits_table(labels),
        tmp_path,
        params=replace(params, method="triplets", num_epochs=1),
        schema=SCHEMA,
        published=catalog.cast(tables.PUBLISHED_TRIPLETS),
    )
    found = files.read_table(tmp_path / "test.parquet", schema=tables.TRIPLETS)
    assert evaluate_triplets(found, TRIPLET_IMAGES, embeddings_of_triplets()) == 50
