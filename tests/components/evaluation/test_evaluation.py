"""Evaluation of a split: who is a query, who is in the gallery, and what is averaged over what."""

import json

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table
from sklearn.metrics import average_precision_score

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.evaluation.evaluation import (
    bars_of,
    evaluate_retrieval,
    held_out_images,
    metrics_of,
    overall_map,
    report,
)
from components.evaluation.figures import gain_text, not_above_random
from components.evaluation.metrics import bootstrap_interval, expected_random_average_precision

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="length", values=("short", "long")),
        Attribute(name="collar", values=("none", "round", "peter pan")),
        Attribute(name="unused", values=("a", "b")),
    ),
)
# image, attribute, value, split, role
ROWS = [
    (10, 0, 0, "test", "query"),
    (11, 0, 0, "test", "gallery"),
    (12, 0, 1, "test", "gallery"),
    (13, 0, 0, "test", "gallery"),
    (14, 1, 2, "test", "query"),
    (15, 1, 1, "test", "query"),
    (16, 1, 1, "test", "query"),
    (17, 1, 1, "test", "gallery"),
    (18, 1, 0, "test", "gallery"),
    (19, 1, 2, "test", "gallery"),
    (19, 1, 0, "test", "gallery"),  # two values
    (20, 0, 0, "valid", "query"),
    (21, 0, 1, "valid", "gallery"),
    (22, 0, 0, "valid", "gallery"),
    (1, 0, 0, "train", "train"),
    (2, 2, 1, "train", "train"),
]


def table(rows) -> pa.Table:
    return splits_table(rows)


def at_angles(degrees: list[float]) -> np.ndarray:
    """Returns embeddings [n, attributes, 2]; attribute 1's are turned by a quarter."""
    turned = np.deg2rad(np.array(degrees)[:, None] + np.array([0, 90, 0]))
    return np.stack([np.cos(turned), np.sin(turned)], axis=-1).astype(np.float32)


TEST_IMAGES = np.arange(10, 20)
# length: 10 asks, 11 (1 degree, relevant), 12 (2, not), 13 (3, relevant): AP (1 + 2/3) / 2 = 5/6
# collar: 14 asks at 0: 17 (10, not), 18 (20, not), 19 (30, relevant): AP 1/3
#         15 asks at 12: 17 (relevant) first: AP 1.  16 asks at 25: 18, 19 (5 off), 17: AP 1/3
ANGLES = [0, 1, 2, 3, 0, 12, 25.5, 10, 20, 30]
AP = {0: [5 / 6], 1: [1 / 3, 1.0, 1 / 3]}
ROLES = ("query", "gallery")


def test_a_split_by_hand():
    results = evaluate_retrieval(table(ROWS), "test", TEST_IMAGES, at_angles(ANGLES))
    assert {a: pytest.approx(result.ap_Q.tolist()) for a, result in results.items()} == AP
    assert [result.num_gallery for result in results.values()] == [3, 3]
    random_ap = expected_random_average_precision(np.array([1, 1, 1]), np.array([3, 3, 3]))
    assert results[1].scores["random_map"].tolist() == pytest.approx(random_ap.tolist())


def test_each_attribute_equals_scikit_learn_where_nothing_ties():
    """Every image has a value of both attributes, is a query and stands in the gallery itself."""
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(40, 2, 8))
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    values = rng.integers(3, size=(40, 2))
    rows = [
        (image, attribute, values[image, attribute], "test", role)
        for image in range(40)
        for attribute in range(2)
        for role in ROLES
    ]
    results = evaluate_retrieval(table(rows), "test", np.arange(40), embeddings)
    assert [*results] == [0, 1]
    for attribute, result in results.items():
        for image, ap in zip(result.query_images_Q, result.ap_Q, strict=True):
            others = np.arange(40) != image
            similarity = embeddings[others, attribute] @ embeddings[image, attribute]
            relevant = values[others, attribute] == values[image, attribute]
            assert ap == pytest.approx(average_precision_score(relevant, similarity), rel=1e-9)


def test_rows_in_any_order_and_more_images_change_nothing():
    shuffled = [ROWS[i] for i in np.random.default_rng(0).permutation(len(ROWS))]
    images = np.arange(8, 23)
    embeddings = at_angles([90, 45, *ANGLES, 1, 2, 3])
    results = evaluate_retrieval(table(shuffled), "test", images, embeddings)
    assert {a: pytest.approx(result.ap_Q.tolist()) for a, result in results.items()} == AP


def test_overall_is_the_mean_over_queries_and_not_over_attributes():
    results = evaluate_retrieval(table(ROWS), "test", TEST_IMAGES, at_angles(ANGLES))
    assert overall_map(results) == pytest.approx(100 * (5 / 6 + 1 / 3 + 1 + 1 / 3) / 4)


def test_embeddings_that_are_the_values_reach_100():
    rng = np.random.default_rng(1)
    values = rng.integers(3, size=(60, 2))
    rows = [
        (image, attribute, values[image, attribute], "test", "query" if image < 12 else "gallery")
        for image in range(60)
        for attribute in range(2)
    ]
    embeddings = np.eye(3, dtype=np.float32)[values]
    results = evaluate_retrieval(table(rows), "test", np.arange(60), embeddings)
    assert overall_map(results) == 100
    swapped = evaluate_retrieval(table(rows), "test", np.arange(60), embeddings[:, ::-1])
    assert overall_map(swapped) < 60  # each attribute is judged in its own space


def test_a_query_without_a_match_is_left_out_and_counted():
    unmatched = [*ROWS, (23, 0, 1, "valid", "query"), (24, 0, 0, "valid", "query")]
    rows = [row for row in unmatched if row[0] != 21]  # the only long one of the gallery
    results = evaluate_retrieval(table(rows), "valid", np.arange(20, 25), at_angles([0] * 5))
    assert results[0].query_images_Q.tolist() == [20, 24]
    assert results[0].ap_Q.tolist() == [1, 1]
    assert results[0].scores["random_map"].tolist() == [1, 1]
    assert results[0].num_unmatched == 1


def test_an_attribute_without_an_answerable_query_is_left_out():
    rows = [row for row in ROWS if row[0] != 13 and row[0] != 11]  # no short one in the gallery
    results = evaluate_retrieval(table(rows), "test", TEST_IMAGES, at_angles(ANGLES))
    assert [*results] == [1]


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(HemlineError, match="no query has an item of its value in the gallery"):
        evaluate_retrieval(table(ROWS[:1]), "test", TEST_IMAGES, at_angles(ANGLES))


def test_a_query_in_the_gallery_is_not_its_own_match():
    rows = [(image, 0, int(image == 12), "test", role) for image in (10, 11, 12) for role in ROLES]
    results = evaluate_retrieval(table(rows), "test", np.arange(10, 13), at_angles([0, 20, 5]))
    # 10 finds 12 before 11, and 11 finds 12 before 10, among two; nobody has the value of 12
    assert results[0].query_images_Q.tolist() == [10, 11]
    assert results[0].ap_Q.tolist() == [1 / 2, 1 / 2]
    assert results[0].scores["random_map"].tolist() == pytest.approx([3 / 4, 3 / 4])
    assert results[0].num_unmatched == 1


def gain_of(score: float, random: float) -> float:
    return 100 * (score - random) / (100 - random)


def test_report():
    results = evaluate_retrieval(table(ROWS), "test", TEST_IMAGES, at_angles(ANGLES))
    written = report(results, SCHEMA, triplet_accuracy=91.5)
    random_map = 100 * expected_random_average_precision(np.array([2, 1]), np.array([3, 3]))
    assert written["map"] == pytest.approx(overall_map(results))
    assert written["random_map"] == pytest.approx((random_map[0] + 3 * random_map[1]) / 4)
    assert written["gain"] == pytest.approx(gain_of(written["map"], written["random_map"]))
    assert written["gain_low"] < written["gain"] < written["gain_high"]
    assert written["triplet_accuracy"] == 91.5
    assert written["num_queries"] == 4
    assert written["r_precision"] == pytest.approx(100 * (1 / 2 + 0 + 1 + 0) / 4)
    assert [*written["attributes"]] == ["length", "collar"]
    low, high = bootstrap_interval(np.array(AP[1]))
    assert written["attributes"]["collar"] == {
        "map": pytest.approx(100 * (1 / 3 + 1 + 1 / 3) / 3),
        "map_low": pytest.approx(100 * low),
        "map_high": pytest.approx(100 * high),
        "random_map": pytest.approx(random_map[1]),
        # random is the same of every query: each end is a resample's MAP, corrected
        "gain": pytest.approx(gain_of(100 * (1 / 3 + 1 + 1 / 3) / 3, random_map[1])),
        "gain_low": pytest.approx(gain_of(100 * low, random_map[1])),
        "gain_high": pytest.approx(gain_of(100 * high, random_map[1])),
        "precision_at_1": pytest.approx(100 / 3),
        "precision_at_10": pytest.approx(10),  # one relevant item, of three in all
        "recall_at_10": 100,
        "r_precision": pytest.approx(100 / 3),
        "ndcg_at_10": pytest.approx(100 * (1 / 2 + 1 + 1 / 2) / 3),  # at ranks 3, 1 and 3
        "num_queries": 3,
        "num_unmatched": 0,
        "num_gallery": 3,
    }


def test_the_overall_interval_is_over_the_queries_of_all_attributes():
    results = evaluate_retrieval(table(ROWS), "test", TEST_IMAGES, at_angles(ANGLES))
    written = report(results, SCHEMA, triplet_accuracy=91.5)
    low, high = bootstrap_interval(np.array([*AP[0], *AP[1]]))
    assert (written["map_low"], written["map_high"]) == pytest.approx((100 * low, 100 * high))
    assert written["map_low"] < written["map"] < written["map_high"]


def test_a_report_is_json_that_any_reader_takes():
    """Not even with queries and an attribute that nothing matches."""
    unmatched = [(20, 1, 0, "test", "query"), (21, 2, 0, "test", "query")]
    rows = [*ROWS, *unmatched, (22, 2, 1, "test", "gallery")]
    rows = [row for row in rows if row[:3] not in {(18, 1, 0), (19, 1, 0)}]
    results = evaluate_retrieval(
        table(rows), "test", np.arange(10, 23), at_angles([*ANGLES, 1, 2, 3])
    )
    written = report(results, SCHEMA, triplet_accuracy=91.5)
    assert written["num_unmatched"] == written["attributes"]["collar"]["num_unmatched"] == 1
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_a_report_as_flat_metrics_and_as_bars():
    results = evaluate_retrieval(table(ROWS), "test", TEST_IMAGES, at_angles(ANGLES))
    figures = report(results, SCHEMA, triplet_accuracy=91.5)
    collar = figures["attributes"]["collar"]
    flat = metrics_of(figures, prefix="test")
    assert {*flat} == {
        "test/map",
        "test/map_low",
        "test/map_high",
        "test/precision_at_1",
        "test/precision_at_10",
        "test/recall_at_10",
        "test/r_precision",
        "test/ndcg_at_10",
        "test/random_map",
        "test/triplet_accuracy",
        "test/gain",
        "test/gain_low",
        "test/gain_high",
        "test/map/length",
        "test/map/collar",
        "test/gain/length",
        "test/gain/collar",
    }
    assert (flat["test/map"], flat["test/map/collar"]) == (figures["map"], collar["map"])
    columns = tables.MAP_PER_ATTRIBUTE.names
    bars = {bar["attribute"]: [bar[name] for name in columns[1:]] for bar in bars_of(figures)}
    assert bars.keys() == {"length", "collar"}
    drawn = ("map", "map_low", "map_high", "random_map", "gain", "gain_low", "gain_high")
    assert bars["collar"] == [collar[x] for x in drawn]


def test_attributes_that_are_not_above_random_are_named():
    """Collar is embedded by its values, length by noise, and sleeve as one point for all."""
    rng = np.random.default_rng(5)
    schema = AttributeSchema(
        dataset="by hand",
        attributes=tuple(
            Attribute(name=name, values=("a", "b")) for name in ("length", "collar", "sleeve")
        ),
    )
    values = rng.integers(2, size=(200, 3))
    rows = [
        (image, attribute, values[image, attribute], "test", ROLES[image >= 50])
        for image in range(200)
        for attribute in range(3)
    ]
    embeddings = rng.normal(size=(200, 3, 4)).astype(np.float32)
    embeddings[:, 1] = np.eye(4)[values[:, 1]]
    embeddings[:, 2] = [1, 0, 0, 0]
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    results = evaluate_retrieval(table(rows), "test", np.arange(200), embeddings)
    figures = report(results, schema, triplet_accuracy=50)
    assert not_above_random(figures) == ["length", "sleeve"]
    assert gain_text(figures["attributes"]["collar"]) == "100.0 (100.0 to 100.0)"
    assert gain_text(figures["attributes"]["sleeve"]) == "0.0 (0.0 to 0.0)"
    assert figures["attributes"]["sleeve"]["map"] > 45, "MAP alone looks like something"


def test_figures_of_an_older_version_have_no_gain_and_are_read():
    older = {"map": 60.0, "random_map": 50.0, "attributes": {"collar": {"map": 60.0}}}
    assert not_above_random(older) == []
    assert gain_text(older) == ""


def test_held_out_images_are_ascending_and_once_each():
    assert held_out_images(table(ROWS[::-1]), "test").tolist() == TEST_IMAGES.tolist()
    assert held_out_images(table(ROWS), "valid").tolist() == [20, 21, 22]
