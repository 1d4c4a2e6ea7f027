"""Figures of attribute manipulation: who asks and who answers, means, intervals, what is said."""

import json

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table

from components.attributes import Attribute, AttributeSchema
from components.evaluation.figures import manipulation_text
from components.evaluation.manipulation_bounds import KS
from components.evaluation.manipulation_figures import (
    Manipulation,
    evaluate_manipulation,
    manipulation_metrics,
    manipulation_report,
)

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="length", values=("short", "long", "never drawn")),
        Attribute(name="colour & print", values=("red", "blue")),
    ),
)
AXES = np.eye(4, dtype=np.float32)
PROTOTYPES = [np.vstack([AXES[:2], np.full((1, 4), np.nan, np.float32)]), AXES[2:]]
SHORT, LONG, RED, BLUE = (0, 0), (0, 1), (1, 0), (1, 1)


def table(rows) -> pa.Table:
    return splits_table(rows)


def labelled(*images, role: str, split: str = "test"):
    """Rows of (number, label, label, ...)."""
    return [(number, *label, split, role) for number, *labels in images for label in labels]


def found_of(rows, *, prototypes=PROTOTYPES, weights=(1.0, 1.0)) -> Manipulation:
    """Images are embedded at the axis of their value; without a label, between all."""
    splits = table(rows)
    images = np.unique([row[0] for row in rows if row[3] == "test"])
    embeddings = np.full((len(images), 2, 4), 0.5, np.float32)
    for image, attribute, value, split, _ in rows:
        if split == "test":
            embeddings[np.searchsorted(images, image), attribute] = AXES[2 * attribute + value]
    return evaluate_manipulation(
        splits, "test", images, embeddings, prototypes=prototypes, weights=weights
    )


ROWS = [
    *labelled((1, SHORT, RED), (2, LONG, BLUE), (3, SHORT), role="query"),
    *labelled((11, SHORT, RED), (12, LONG, RED), (13, SHORT, BLUE), (14, LONG), role="gallery"),
    *labelled((15, SHORT, RED), (16, SHORT, RED), (17, SHORT, RED), role="gallery"),
    *labelled((90, LONG, RED), role="gallery", split="valid"),
    *labelled((91, LONG, RED), role="train", split="train"),
]


def test_a_split_by_hand():
    found = found_of(ROWS)
    section = manipulation_report(found, SCHEMA)
    # 1 asks for long red (12) and short blue (13), 2 for short blue (13) and long red (12)
    assert section["num_changes"] == 4
    assert section["num_queries"] == 2
    assert section["num_gallery"] == 7
    assert section["num_one_label"] == 1, "3 has labels of one attribute"
    assert section["num_unanswered"] == 0
    assert section["macro"]["hit_1"] == 100, "embeddings at the values' axes find the target"
    assert section["macro"]["ndcg_50"] == pytest.approx(100)
    assert section["macro"]["random_hit_1"] == pytest.approx(100 / 7)
    assert section["macro"]["random_hit_5"] == pytest.approx(100 * 5 / 7)
    assert section["macro"]["hit_20_low"] == section["macro"]["hit_20_high"] == 100
    # as it is, 1 finds the four short red ones first, so no answer; 2 finds 14 first, which is long
    # and halfway to blue, and then 12 and 13, its two answers, in any order
    assert section["micro"]["unchanged_hit_1"] == 0
    assert section["micro"]["unchanged_hit_5"] == pytest.approx(100 * (2 * 1 / 2 + 2) / 4)
    assert section["macro"]["unchanged_hit_20"] == 100
    assert [*section["attributes"]] == ["length", "colour & print"]
    length = section["attributes"]["length"]
    assert (length["num_queries"], length["num_changes"]) == (2, 2)
    assert json.loads(json.dumps(section)) == section


def test_the_section_says_why_nothing_is_measured():
    one_label = [
        *labelled((1, SHORT), (2, RED), role="query"),
        *labelled((3, LONG), (4, BLUE), role="gallery"),
    ]
    section = manipulation_report(found_of(one_label), SCHEMA)
    assert section == {"not_measured": "images have one label"}
    assert manipulation_metrics(section, prefix="test") == {}
    assert manipulation_text({"manipulation": section}) == "not measured: images have one label"

    unanswered = [
        *labelled((1, SHORT, RED), role="query"),
        *labelled((2, LONG, BLUE), (3, LONG), role="gallery"),
    ]
    section = manipulation_report(found_of(unanswered), SCHEMA)
    assert section == {"not_measured": "no item has all labels of a query but one that is changed"}

    nowhere = [PROTOTYPES[0] * np.nan, PROTOTYPES[1] * np.nan]
    section = manipulation_report(found_of(ROWS, prototypes=nowhere), SCHEMA)
    assert section == {"not_measured": "no value that could be asked for has a prototype"}


def test_figures_of_an_older_version_say_nothing():
    assert manipulation_text({"map": 50.0, "attributes": {}}) == ""


def test_few_images_of_several_labels_are_measured_and_counted():
    rows = [
        *labelled((1, SHORT, RED), (2, SHORT), (3, RED), (4, LONG, BLUE), role="query"),
        *labelled((11, LONG, RED), (12, SHORT), role="gallery"),
    ]
    section = manipulation_report(found_of(rows), SCHEMA)
    assert section["num_one_label"] == 2
    assert section["num_queries"] == 2  # 1: long red; 4: long red too
    assert section["num_changes"] == 2


def test_an_image_that_is_query_and_item_keeps_all_its_labels_and_never_finds_itself():
    rows = [
        (1, 0, 0, "test", "query"),
        (1, 1, 0, "test", "gallery"),
        *labelled((2, LONG, RED), (3, SHORT, RED), role="gallery"),
    ]
    found = found_of(rows)
    assert found.queries.images_n.tolist() == [1]
    assert sorted(found.task.images_G.tolist()) == [1, 2, 3]
    section = manipulation_report(found, SCHEMA)
    assert section["num_changes"] == 1  # long red: 2
    assert section["macro"]["random_hit_1"] == pytest.approx(50), "of two items, not three"


def test_weights_decide_between_the_changed_attribute_and_the_others():
    rows = [
        *labelled((1, SHORT, RED), role="query"),
        *labelled((11, LONG, RED), (12, LONG, BLUE), (13, SHORT, RED), role="gallery"),
    ]
    section = manipulation_report(found_of(rows, weights=(1.0, 0.0)), SCHEMA)
    assert section["macro"]["hit_1"] == pytest.approx(50), "11 and 12 are equal"
    section = manipulation_report(found_of(rows, weights=(0.0, 1.0)), SCHEMA)
    assert section["macro"]["hit_1"] == pytest.approx(50), "11 and 13 are equal"
    assert manipulation_report(found_of(rows), SCHEMA)["macro"]["hit_1"] == 100


def test_items_are_no_attribute_that_is_changed_or_asks():
    """Their labels are left out, whatever their roles and wherever they stand in the schema."""
    schema = AttributeSchema(
        dataset="by hand",
        attributes=(Attribute(name="item", num_items=70_000), *SCHEMA.attributes),
    )
    rows = [(image, 1 + attribute, *others) for image, attribute, *others in ROWS]
    rows += [(image, 0, 69_000, "test", "query") for image in (1, 2, 11, 15)]
    images = np.unique([row[0] for row in rows if row[3] == "test"])
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((len(images), 3, 4)).astype(np.float32)
    without, found = (
        evaluate_manipulation(
            table(some), "test", images, some_embeddings, prototypes=prototypes, weights=weights
        )
        for some, some_embeddings, prototypes, weights in (
            (ROWS, embeddings[:, 1:], PROTOTYPES, (1.0, 2.0)),
            (rows, embeddings, [np.empty((0, 4), np.float32), *PROTOTYPES], (0.0, 1.0, 2.0)),
        )
    )

    assert manipulation_report(found, schema) == manipulation_report(without, SCHEMA)


def test_of_items_alone_nothing_is_measured():
    rows = [(image, 0, image // 2, "test", ("query", "gallery")[image % 2]) for image in range(8)]
    embeddings = np.ones((8, 1, 4), np.float32) / 2
    nothing = [np.empty((0, 4), np.float32)]
    found = evaluate_manipulation(
        table(rows), "test", np.arange(8), embeddings, prototypes=nothing, weights=(0.0,)
    )

    assert manipulation_report(found, SCHEMA) == {"not_measured": "images have one label"}


@pytest.fixture(scope="module")
def random_split() -> tuple[Manipulation, dict]:
    rng = np.random.default_rng(0)
    rows = []
    for image in range(120):
        role = ("query", "gallery")[image % 2]
        rows += labelled(
            (image, (0, int(rng.integers(2))), (1, int(rng.random() < 0.3))), role=role
        )
    splits = table(rows)
    embeddings = rng.standard_normal((120, 2, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    found = evaluate_manipulation(
        splits, "test", np.arange(120), embeddings, prototypes=PROTOTYPES, weights=(1.0, 1.0)
    )
    return found, manipulation_report(found, SCHEMA)


def test_macro_is_the_mean_over_attributes_and_micro_that_over_changes(random_split):
    found, section = random_split
    scores = found.scores
    # an unbalanced number of changes, or the two would be equal
    scores_of = [scores.attribute_C == attribute for attribute in (0, 1)]
    for column, k in enumerate(KS):
        hit_C = scores.hit_CK[""][:, column]
        assert section["micro"][f"hit_{k}"] == pytest.approx(100 * hit_C.mean())
        means = [hit_C[mine].mean() for mine in scores_of]
        assert section["macro"][f"hit_{k}"] == pytest.approx(100 * np.mean(means))
        length = section["attributes"]["length"]
        assert length[f"hit_{k}"] == pytest.approx(100 * means[0])


def test_intervals_resample_queries_with_all_their_changes(random_split):
    found, section = random_split
    scores = found.scores
    hit_C = scores.hit_CK[""][:, KS.index(20)]
    queries = np.unique(scores.query_C)
    rng = np.random.default_rng(1)
    resampled = []
    for _ in range(2000):
        drawn = rng.choice(queries, len(queries))
        changes = np.concatenate([np.flatnonzero(scores.query_C == query) for query in drawn])
        attribute_C = scores.attribute_C[changes]
        means = [
            hit_C[changes][attribute_C == a].mean() for a in (0, 1) if (attribute_C == a).any()
        ]
        resampled.append(100 * np.mean(means))
    expected = np.quantile(resampled, [0.025, 0.975])
    ends = [section["macro"][f"hit_20_{end}"] for end in ("low", "high")]
    # of 2,000 resamples, the 2.5 % quantile is within a tenth of the interval's width
    np.testing.assert_allclose(ends, expected, atol=0.1 * np.ptp(expected))
    assert ends[0] < section["macro"]["hit_20"] < ends[1]


def test_metrics_have_names_that_mlflow_takes(random_split):
    _, section = random_split
    logged = manipulation_metrics(section, prefix="test")
    assert logged["test/manipulation/hit_20"] == section["macro"]["hit_20"]
    assert logged["test/manipulation/micro_hit_20"] == section["micro"]["hit_20"]
    name = "test/manipulation/hit_20/colour :26 print"
    assert logged[name] == section["attributes"]["colour & print"]["hit_20"]
    assert logged["test/manipulation/random_ndcg_20"] == section["macro"]["random_ndcg_20"]
    text = manipulation_text({"manipulation": section})
    assert text.startswith(f"hit@20 {section['macro']['hit_20']:.1f} (")
