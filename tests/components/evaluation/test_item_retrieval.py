"""Retrieval of items: hit rates, in whole and by category, beside other attributes."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table

from components.attributes import Attribute, AttributeSchema
from components.evaluation.categories import evaluate_categories
from components.evaluation.evaluation import HIT_KS, evaluate_retrieval, metrics_of, report
from components.evaluation.figures import hits_text, item_row
from components.evaluation.metrics import bootstrap_interval, expected_random_hit

ITEM, CATEGORY, COLOUR = 1, 0, 2
SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="category", values=("coat", "dress", "hat")),
        Attribute(name="item", num_items=40_000),
        Attribute(name="colour", values=("red", "blue")),
    ),
)
NUM_IMAGES, NUM_QUERIES = 360, 120


def table(rows) -> pa.Table:
    return splits_table(rows)


def role(image: int) -> str:
    return "query" if image < NUM_QUERIES else "gallery"


@pytest.fixture(scope="module")
def shop():
    """Returns rows and embeddings of photographs of items, whose numbers are far apart."""
    rng = np.random.default_rng(0)
    item = rng.integers(0, 90, NUM_IMAGES)
    vectors = rng.normal(size=(90, 1, 8))[item] + rng.normal(size=(NUM_IMAGES, 3, 8))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    rows = [(i, ITEM, 431 * int(item[i]), "test", role(i)) for i in range(NUM_IMAGES)]
    rows += [(i, CATEGORY, int(item[i] % 2), "test", role(i)) for i in range(NUM_IMAGES)]
    rows += [(i, COLOUR, int(item[i] % 3 == 0), "test", role(i)) for i in range(NUM_IMAGES)]
    return rows, vectors.astype(np.float32)


def measured(rows, embeddings):
    return evaluate_retrieval(table(rows), "test", np.arange(NUM_IMAGES), embeddings)


def by_definition(rows, embeddings, *, among=lambda image: True):
    """The first rank of each answered query's item, and how many images show it in the gallery."""
    values = {}
    for image, attribute, value, *_ in rows:
        if attribute == ITEM:
            values.setdefault(image, set()).add(value)
    gallery = [i for i in range(NUM_QUERIES, NUM_IMAGES) if i in values and among(i)]
    ranks, counts = [], []
    for query in [i for i in range(NUM_QUERIES) if i in values and among(i)]:
        shown = [bool(values[query] & values[image]) for image in gallery]
        similarity = embeddings[gallery, ITEM] @ embeddings[query, ITEM]
        in_order = [shown[place] for place in np.argsort(-similarity)]
        if any(shown):
            ranks.append(in_order.index(True) + 1)
            counts.append(sum(shown))
    return np.array(ranks), np.array(counts), len(gallery)


def test_hit_rates_equal_their_definition(shop):
    rows, embeddings = shop
    figures = report(measured(*shop), SCHEMA, triplet_accuracy=50)
    ranks, counts, num_gallery = by_definition(rows, embeddings)

    row = figures["attributes"]["item"]
    assert row["num_queries"] == len(ranks) < NUM_QUERIES
    assert row["num_unmatched"] == NUM_QUERIES - len(ranks)
    for k in HIT_KS:
        assert row[f"hit_at_{k}"] == pytest.approx(100 * np.mean(ranks <= k))
        random = expected_random_hit(counts, np.full(len(counts), num_gallery), k=k)
        assert row[f"random_hit_at_{k}"] == pytest.approx(100 * random.mean())
    low, high = bootstrap_interval((ranks <= 20).astype(float))
    assert row["hit_at_20_low"] == pytest.approx(100 * low)
    assert row["hit_at_20_high"] == pytest.approx(100 * high)
    assert item_row(figures) is row
    assert hits_text(row).startswith(f"hit@20 {row['hit_at_20']:.1f} (")


def test_an_image_may_show_several_items(shop):
    rows, embeddings = shop
    both = [(i, ITEM, 431 * (i % 90), "test", role(i)) for i in range(0, NUM_IMAGES, 7)]
    rows = sorted({*rows, *both})
    ranks, _, _ = by_definition(rows, embeddings)

    row = report(measured(rows, embeddings), SCHEMA, triplet_accuracy=50)["attributes"]["item"]
    assert row["hit_at_5"] == pytest.approx(100 * np.mean(ranks <= 5))
    assert row["num_queries"] == len(ranks)


def test_hit_rates_are_of_items_alone_and_the_overall_scores_of_all_queries(shop):
    results = measured(*shop)
    figures = report(results, SCHEMA, triplet_accuracy=50)
    listed = replace(SCHEMA, attributes=tuple(Attribute(name=x, values="ab") for x in "abc"))
    without = report(results, listed, triplet_accuracy=50)

    assert {key: x for key, x in figures.items() if key != "attributes"} == {
        key: x for key, x in without.items() if key != "attributes"
    }
    assert [*without["attributes"]["a"]] == [*figures["attributes"]["category"]]
    assert not any("hit" in key for key in figures["attributes"]["colour"])
    assert item_row(without) is None
    flat = metrics_of(figures, prefix="test")
    assert {key for key in flat if "hit" in key} == {f"test/hit_at_{k}/item" for k in HIT_KS}
    assert flat["test/hit_at_20/item"] == figures["attributes"]["item"]["hit_at_20"]


def test_within_a_category_queries_are_held_against_the_gallery_of_the_same(shop):
    rows, embeddings = shop
    category = {row[0]: row[2] for row in rows if row[1] == CATEGORY}
    found = evaluate_categories(
        table(rows), "test", np.arange(NUM_IMAGES), embeddings, schema=SCHEMA
    )

    assert [*found] == ["coat", "dress"]
    for value, row in enumerate(found.values()):
        ranks, _, num_gallery = by_definition(
            rows, embeddings, among=lambda image, value=value: category[image] == value
        )
        assert row["num_gallery"] == num_gallery
        assert row["num_queries"] == len(ranks)
        assert row["hit_at_20"] == pytest.approx(100 * np.mean(ranks <= 20))
        assert row["hit_at_20_low"] <= row["hit_at_20"] <= row["hit_at_20_high"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_an_image_has_its_category_also_where_another_split_says_it(shop):
    rows, embeddings = shop
    moved = [(*row[:3], "valid" if row[1] == CATEGORY else "test", row[4]) for row in rows]
    one, other = (
        evaluate_categories(table(x), "test", np.arange(NUM_IMAGES), embeddings, schema=SCHEMA)
        for x in (rows, moved)
    )
    assert one == other


def test_without_items_or_without_categories_there_are_no_figures_by_category(shop):
    rows, embeddings = shop
    no_category = replace(
        SCHEMA, attributes=(Attribute(name="c", values="a"), *SCHEMA.attributes[1:])
    )
    no_item = replace(SCHEMA, attributes=(SCHEMA.attributes[0],))
    elsewhere = [row for row in rows if row[1] != ITEM]
    for some, schema in ((rows, no_category), (rows, no_item), (elsewhere, SCHEMA)):
        assert not evaluate_categories(
            table(some), "test", np.arange(NUM_IMAGES), embeddings, schema=schema
        )


def test_queries_whose_item_is_not_in_the_gallery_are_counted_and_do_not_count(shop):
    rows, embeddings = shop
    alone = [(i, ITEM, 39_999, "test", "query") for i in range(0, 30)]
    rows = [row for row in rows if not (row[0] < 30 and row[1] == ITEM)]
    before, after = (
        report(measured(x, embeddings), SCHEMA, triplet_accuracy=50)["attributes"]["item"]
        for x in (rows, [*rows, *alone])
    )
    assert after["num_unmatched"] == before["num_unmatched"] + 30
    assert {**after, "num_unmatched": 0} == {**before, "num_unmatched": 0}
