"""Average precision, its expectation for a random ranking, and triplet relation accuracy."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score

from components.retrieval import metrics
from components.retrieval.metrics import (
    average_precision,
    expected_random_average_precision,
    triplet_relation_accuracy,
)

DIM = 4


def loop(queries, query_values, gallery, gallery_values):
    """The definition, one query at a time; values are sets."""
    result = []
    for query, values in zip(queries, query_values, strict=True):
        similarity = [float(query @ item) for item in gallery]
        ranking = sorted(range(len(gallery)), key=lambda g: (-similarity[g], g))
        found, precisions = 0, []
        for rank, g in enumerate(ranking, start=1):
            if values & gallery_values[g]:
                found += 1
                precisions.append(found / rank)
        result.append(sum(precisions) / found if found else math.nan)
    return np.array(result)


@st.composite
def axis_vectors(draw, *, max_size):
    """Unit vectors on few axes: similarities are exactly -1, 0 or 1, so that many tie."""
    axes = draw(arrays(np.int64, st.integers(1, max_size), elements=st.integers(0, 2 * DIM - 1)))
    return np.concatenate([np.eye(DIM), -np.eye(DIM)])[axes]


def unit_vectors(count: int, dim: int, *, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dim))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@settings(deadline=None)
@given(st.data(), axis_vectors(max_size=5), axis_vectors(max_size=9))
def test_equals_a_loop_over_the_definition_with_ties(data, queries, gallery):
    one_value = st.integers(0, 2)
    query_values = data.draw(arrays(np.int64, len(queries), elements=one_value))
    gallery_values = data.draw(arrays(np.int64, len(gallery), elements=one_value))
    sets = [[{v} for v in values] for values in (query_values.tolist(), gallery_values.tolist())]
    np.testing.assert_allclose(
        average_precision(queries, query_values, gallery, gallery_values),
        loop(queries, sets[0], gallery, sets[1]),
        rtol=1e-12,
    )


@settings(deadline=None)
@given(st.data(), axis_vectors(max_size=5), axis_vectors(max_size=9))
def test_equals_the_loop_where_images_have_several_values(data, queries, gallery):
    query_values = data.draw(arrays(np.bool_, (len(queries), 3)))
    gallery_values = data.draw(arrays(np.bool_, (len(gallery), 3)))
    sets = [
        [set(np.flatnonzero(row).tolist()) for row in values]
        for values in (query_values, gallery_values)
    ]
    np.testing.assert_allclose(
        average_precision(queries, query_values, gallery, gallery_values),
        loop(queries, sets[0], gallery, sets[1]),
        rtol=1e-12,
    )


@pytest.mark.parametrize("queries_per_chunk", [1, 7, 256])
def test_equals_scikit_learn_where_nothing_ties(queries_per_chunk, monkeypatch):
    monkeypatch.setattr(metrics, "_QUERIES_PER_CHUNK", queries_per_chunk)
    rng = np.random.default_rng(0)
    queries, gallery = unit_vectors(20, 8, seed=1), unit_vectors(60, 8, seed=2)
    query_values, gallery_values = rng.integers(4, size=20), rng.integers(4, size=60)
    expected = [
        average_precision_score(gallery_values == value, gallery @ query)
        for query, value in zip(queries, query_values, strict=True)
    ]
    actual = average_precision(queries, query_values, gallery, gallery_values)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_by_hand():
    """Relevant at ranks 1 and 3 of four: (1/1 + 2/3) / 2 = 5/6."""
    gallery = np.array([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0], [0.8, 0.6]])
    ap = average_precision(np.array([[1.0, 0.0]]), np.array([7]), gallery, np.array([3, 7, 7, 3]))
    assert ap.tolist() == pytest.approx([5 / 6])


def test_equal_similarities_keep_the_gallerys_order():
    gallery = np.tile([[1.0, 0.0]], (20, 1))  # long enough for an unstable sort to move something
    for place in range(20):
        values = (np.arange(20) == place).astype(int)
        ap = average_precision(np.array([[1.0, 0.0]]), np.array([1]), gallery, values)
        assert ap.tolist() == pytest.approx([1 / (place + 1)])


def test_a_query_without_a_match_is_nan_and_alone():
    vectors = np.eye(2)
    ap = average_precision(vectors, np.array([9, 0]), vectors, np.array([0, 0]))
    assert math.isnan(ap[0])
    assert ap[1] == 1


def test_half_precision_embeddings_are_accepted():
    vectors = np.eye(3, dtype=np.float16)
    values = np.arange(3)
    assert average_precision(vectors, values, vectors, values).tolist() == [1, 1, 1]


@pytest.mark.parametrize("num_items", range(1, 7))
def test_random_expectation_equals_the_mean_over_all_rankings(num_items):
    for num_relevant in range(1, num_items + 1):
        precisions = []
        for ranking in itertools.permutations(range(num_items)):
            ranks = sorted(ranking.index(item) + 1 for item in range(num_relevant))
            precisions.append(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))
        assert expected_random_average_precision(num_relevant, num_items) == pytest.approx(
            float(np.mean(precisions)), rel=1e-12
        )


@settings(deadline=None)
@given(st.integers(2, 300), st.data())
def test_random_expectation_equals_the_sum_over_ranks(num_items, data):
    """P(rank i relevant) = R/G; given that, each of the i - 1 above is with (R - 1) / (G - 1)."""
    num_relevant = data.draw(st.integers(1, num_items))
    total = 0.0
    for rank in range(1, num_items + 1):
        above = (rank - 1) * (num_relevant - 1) / (num_items - 1)
        total += num_relevant / num_items * (1 + above) / rank
    expected = total / num_relevant
    assert expected_random_average_precision(num_relevant, num_items) == pytest.approx(expected)


def test_random_expectation_without_a_relevant_item_is_nan():
    assert math.isnan(expected_random_average_precision(0, 5))


PUBLISHED_RANDOM_MAP = [17.20, 12.50, 13.35, 17.45, 22.36, 21.63, 11.09, 21.19]
PUBLISHED_RANDOM_MAP_OVERALL = 15.79


@pytest.fixture(scope="module")
def fashionai() -> dict[str, np.ndarray]:
    """The authors' test index: rows of image, attribute, value, by role."""
    if "HEMLINE_REAL_DATA" not in os.environ:
        pytest.skip("HEMLINE_REAL_DATA names no folder with published/FashionAI/*_test.txt")
    folder = Path(os.environ["HEMLINE_REAL_DATA"]) / "published" / "FashionAI"
    return {
        role: np.loadtxt(folder / f"{role}_test.txt", dtype=np.int64)
        for role in ("query", "candidate")
    }


def of_attribute(rows: np.ndarray, attribute: int) -> np.ndarray:
    return rows[rows[:, 1] == attribute, 2]


def assert_published(ap_by_attribute: list[np.ndarray]) -> None:
    """The papers' own row is one draw, so that both it and ours stray from the expectation."""
    means = [100 * float(ap.mean()) for ap in ap_by_attribute]
    assert means == pytest.approx(PUBLISHED_RANDOM_MAP, abs=0.3)
    overall = 100 * float(np.concatenate(ap_by_attribute).mean())
    assert overall == pytest.approx(PUBLISHED_RANDOM_MAP_OVERALL, abs=0.3)


def test_random_embeddings_reach_the_published_random_row(fashionai):
    ap = []
    for attribute in range(len(PUBLISHED_RANDOM_MAP)):
        queries = of_attribute(fashionai["query"], attribute)
        gallery = of_attribute(fashionai["candidate"], attribute)
        ap.append(
            average_precision(
                unit_vectors(len(queries), 64, seed=attribute),
                queries,
                unit_vectors(len(gallery), 64, seed=100 + attribute),
                gallery,
            )
        )
    assert_published(ap)


def test_random_expectation_is_the_published_random_row(fashionai):
    ap = []
    for attribute in range(len(PUBLISHED_RANDOM_MAP)):
        gallery = of_attribute(fashionai["candidate"], attribute)
        relevant = [(gallery == v).sum() for v in of_attribute(fashionai["query"], attribute)]
        ap.append(np.array([expected_random_average_precision(r, len(gallery)) for r in relevant]))
    assert_published(ap)


def test_triplet_relation_accuracy_by_hand():
    """Right, wrong, and a tie, which counts as wrong: one of three."""
    near, far, anchor = [0.8, 0.6], [0.6, 0.8], [1.0, 0.0]
    accuracy = triplet_relation_accuracy(
        np.array([anchor] * 3), np.array([near, far, near]), np.array([far, near, near])
    )
    assert accuracy == pytest.approx(1 / 3)
