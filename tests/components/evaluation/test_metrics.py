"""Metrics of rankings against loops over their definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rankings import average_precision
from sklearn.metrics import average_precision_score

from components.evaluation import metrics, ranking
from components.evaluation.evaluation import MEASURES
from components.evaluation.metrics import (
    average_precision_of,
    bootstrap_interval,
    expected_random_average_precision,
    expected_random_hit,
    gain,
    hit_at,
    ndcg_at,
    precision_at,
    r_precision,
    recall_at,
)
from components.evaluation.ranking import Items, measure

DIM = 4
ALL = {
    "ap": average_precision_of,
    "precision": lambda ranks: precision_at(ranks, k=3),
    "recall": lambda ranks: recall_at(ranks, k=3),
    "r_precision": r_precision,
    "ndcg": lambda ranks: ndcg_at(ranks, k=3),
    "hit_at_1": lambda ranks: hit_at(ranks, k=1),
    "hit": lambda ranks: hit_at(ranks, k=3),
}


def definitions(relevant: list[bool]) -> dict[str, float]:
    """Each metric at k = 3 of one ranking, from whether the item at each rank is relevant."""
    num_relevant = sum(relevant)
    if not num_relevant:
        return dict.fromkeys(ALL, math.nan)
    found, precisions, gains = 0, [], []
    for rank, hit in enumerate(relevant, start=1):
        if hit:
            found += 1
            precisions.append(found / rank)
            gains.append(1 / math.log2(rank + 1) if rank <= 3 else 0)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(3, num_relevant) + 1))
    return {
        "ap": sum(precisions) / num_relevant,
        "precision": sum(relevant[:3]) / 3,
        "recall": sum(relevant[:3]) / num_relevant,
        "r_precision": sum(relevant[:num_relevant]) / num_relevant,
        "ndcg": sum(gains) / ideal,
        "hit_at_1": relevant[0],
        "hit": any(relevant[:3]),
    }


def loop(similarity: list[float], relevant: list[bool]) -> dict[str, float]:
    """Each metric of one query: the mean over all orders that equal items may have."""
    scores = []
    for order in itertools.permutations(range(len(similarity))):
        ranking = sorted(order, key=lambda item: -similarity[item])  # stable
        scores.append(definitions([relevant[item] for item in ranking]))
    return {name: float(np.mean([score[name] for score in scores])) for name in ALL}


def unit_vectors(count: int, dim: int, *, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dim))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@st.composite
def axis_vectors(draw, *, max_size):
    """Unit vectors on few axes: similarities are exactly -1, 0 or 1, so that many tie."""
    axes = draw(arrays(np.int64, st.integers(1, max_size), elements=st.integers(0, 2 * DIM - 1)))
    return np.concatenate([np.eye(DIM), -np.eye(DIM)])[axes]


@st.composite
def items(draw, *, max_size, several_values, first_image):
    """Queries or a gallery of up to `max_size` images, numbered from `first_image`."""
    vectors = draw(axis_vectors(max_size=max_size))
    if several_values:
        values = draw(arrays(np.bool_, (len(vectors), 3)))
    else:
        values = draw(arrays(np.int64, len(vectors), elements=st.integers(0, 2)))
    numbers = draw(arrays(np.int64, len(vectors), elements=st.integers(0, 6)))
    return Items(embeddings_ND=vectors, values_N=values, images_N=first_image + numbers)


def share_a_value(values, others) -> bool:
    return bool(np.any(values == others) if np.ndim(values) == 0 else np.any(values & others))


@pytest.mark.parametrize("several_values", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@settings(max_examples=50)
@given(data=st.data())
def test_metrics_equal_a_loop_over_the_definitions(several_values, apart, data):
    """With ties, queries without a match, and queries that are in the gallery themselves."""
    queries, gallery = (
        data.draw(items(max_size=size, several_values=several_values, first_image=first))
        for size, first in ((3, 0), (5, 7 if apart else 0))
    )
    actual = measure(ALL, queries, gallery)
    for q in range(len(queries)):
        ranked = [g for g in range(len(gallery)) if queries.images_N[q] != gallery.images_N[g]]
        expected = loop(
            [float(queries.embeddings_ND[q] @ gallery.embeddings_ND[g]) for g in ranked],
            [share_a_value(queries.values_N[q], gallery.values_N[g]) for g in ranked],
        )
        found = {name: scores[q] for name, scores in actual.items()}
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_query_in_the_gallery_is_left_out_of_its_ranking_alone():
    queries = Items(
        embeddings_ND=unit_vectors(9, 3, seed=0),
        values_N=np.arange(9) % 4,
        images_N=np.arange(9),
    )
    gallery = Items(
        embeddings_ND=unit_vectors(12, 3, seed=1),
        values_N=np.arange(12) % 3,
        images_N=np.arange(5, 17),
    )
    for with_images in (False, True):
        images = {"query_images": queries.images_N, "gallery_images": gallery.images_N}
        ap = average_precision(
            queries.embeddings_ND,
            queries.values_N,
            gallery.embeddings_ND,
            gallery.values_N,
            **(images if with_images else {}),
        )
        for q in range(9):
            ranked = [g for g in range(12) if not (with_images and g + 5 == q)]
            similarity = gallery.embeddings_ND[ranked] @ queries.embeddings_ND[q]
            relevant = (gallery.values_N[ranked] == queries.values_N[q])[np.argsort(-similarity)]
            expected = definitions(relevant.tolist())["ap"]
            assert ap[q] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_equals_scikit_learn_where_nothing_ties():
    rng = np.random.default_rng(0)
    queries, gallery = unit_vectors(20, 8, seed=1), unit_vectors(60, 8, seed=2)
    query_values, gallery_values = rng.integers(4, size=20), rng.integers(4, size=60)
    expected = [
        average_precision_score(gallery_values == value, gallery @ query)
        for query, value in zip(queries, query_values, strict=True)
    ]
    actual = average_precision(queries, query_values, gallery, gallery_values)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_metrics_by_hand():
    """Relevant at ranks 1, 3 and 12 of twelve."""
    degrees = np.deg2rad(np.arange(12) * 10)
    gallery = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    values = np.isin(np.arange(1, 13), [1, 3, 12]).astype(int)
    images = np.arange(13)
    query = Items(
        embeddings_ND=np.array([[1.0, 0.0]]), values_N=np.array([1]), images_N=images[-1:]
    )
    ranked = Items(embeddings_ND=gallery, values_N=values, images_N=images[:-1])
    scores = measure(MEASURES, query, ranked)
    assert {name: score[0] for name, score in scores.items()} == pytest.approx(
        {
            "map": (1 / 1 + 2 / 3 + 3 / 12) / 3,
            "precision_at_1": 1,
            "precision_at_10": 2 / 10,
            "recall_at_10": 2 / 3,
            "r_precision": 2 / 3,
            "ndcg_at_10": (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2),
        }
    )


def test_ties_by_hand():
    """One relevant item among two equals behind a first one: rank 2 or 3, each half of the time."""
    gallery = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    ap = average_precision(np.array([[1.0, 0.0]]), np.array([7]), gallery, np.array([3, 7, 3]))
    assert ap.tolist() == pytest.approx([(1 / 2 + 1 / 3) / 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_queries", [1, 10])
def test_the_order_of_the_gallery_does_not_count(num_queries, dtype, monkeypatch):
    """Each item stands three times in the gallery; a last chunk of one item would differ."""
    gallery = np.tile(unit_vectors(568, 64, seed=0), (3, 1)).astype(dtype)
    monkeypatch.setattr(ranking, "_ITEMS_AT_ONCE", len(gallery) - 1)
    values = np.random.default_rng(1).integers(5, size=len(gallery))
    queries, asked = unit_vectors(num_queries, 64, seed=2).astype(dtype), np.arange(num_queries) % 5
    expected = average_precision(queries, asked, gallery, values)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(gallery))
        shuffled = average_precision(queries, asked, gallery[order], values[order])
        np.testing.assert_array_equal(shuffled, expected)


def test_equal_embeddings_score_as_a_random_ranking():
    gallery = np.tile([[1.0, 0.0]], (30, 1))
    values = np.repeat([0, 1], [7, 23])
    ap = average_precision(gallery[:2], np.array([0, 1]), gallery, values)
    expected = expected_random_average_precision(np.array([7, 23]), np.array([30, 30])).tolist()
    assert ap.tolist() == pytest.approx(expected)


def random_expectation(num_relevant: int, num_items: int) -> float:
    return expected_random_average_precision(np.array([num_relevant]), np.array([num_items]))[0]


@pytest.mark.parametrize("num_items", range(1, 7))
def test_random_expectation_equals_the_mean_over_all_rankings(num_items):
    for num_relevant in range(1, num_items + 1):
        precisions = []
        for order in itertools.permutations(range(num_items)):
            ranks = sorted(order.index(item) + 1 for item in range(num_relevant))
            precisions.append(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))
        assert random_expectation(num_relevant, num_items) == pytest.approx(
            float(np.mean(precisions)), rel=1e-12
        )


@given(st.integers(2, 300), st.data())
def test_random_expectation_equals_the_sum_over_ranks(num_items, data):
    """P(rank i relevant) = R/G; given that, each of the i - 1 above is with (R - 1) / (G - 1)."""
    num_relevant = data.draw(st.integers(1, num_items))
    total = 0.0
    for rank in range(1, num_items + 1):
        above = (rank - 1) * (num_relevant - 1) / (num_items - 1)
        total += num_relevant / num_items * (1 + above) / rank
    expected = total / num_relevant
    assert random_expectation(num_relevant, num_items) == pytest.approx(expected)


def test_random_expectation_without_a_relevant_item_is_nan():
    assert math.isnan(random_expectation(0, 5))
    assert math.isnan(expected_random_hit(np.array([0]), np.array([5]), k=3)[0])


@pytest.mark.parametrize("num_items", range(1, 8))
def test_the_random_hit_rate_is_the_share_of_rankings_with_a_relevant_item_in_front(num_items):
    for num_relevant in range(1, num_items + 1):
        for k in (1, 2, 5, 20):
            firsts = list(itertools.combinations(range(num_items), min(k, num_items)))
            expected = np.mean([min(first) < num_relevant for first in firsts])
            found = expected_random_hit(np.array([num_relevant]), np.array([num_items]), k=k)
            assert found == pytest.approx([expected], rel=1e-12)


def test_equal_embeddings_hit_as_a_random_ranking_does():
    gallery = Items(
        embeddings_ND=np.tile([[1.0, 0.0]], (22669, 1)),
        values_N=np.repeat([0, 1], [3, 22666]),
        images_N=np.arange(22669),
    )
    query = Items(embeddings_ND=np.eye(2)[:1], values_N=np.array([0]), images_N=np.array([30000]))
    found = measure({"hit": lambda ranks: hit_at(ranks, k=20)}, query, gallery)["hit"]
    none = math.prod((22666 - i) / (22669 - i) for i in range(20))
    assert found == pytest.approx([1 - none], abs=1e-9)
    assert expected_random_hit(np.array([3]), np.array([22669]), k=20) == pytest.approx(found)


@pytest.mark.parametrize("drawn_at_once", [1, 70, 2**22])
def test_interval_equals_a_loop_over_resamples(drawn_at_once, monkeypatch):
    monkeypatch.setattr(metrics, "_DRAWN_AT_ONCE", drawn_at_once)
    scores = np.random.default_rng(1).random(30)
    rng = np.random.default_rng(4)
    means = [np.mean([scores[i] for i in rng.integers(30, size=30)]) for _ in range(200)]
    found = bootstrap_interval(scores, confidence=0.9, num_resamples=200, seed=4)
    assert found == pytest.approx((np.percentile(means, 5), np.percentile(means, 95)))


def test_interval_of_many_scores_is_that_of_the_normal_distribution():
    scores = np.random.default_rng(0).random(4000)
    half = 1.96 * scores.std() / math.sqrt(4000)
    expected = (scores.mean() - half, scores.mean() + half)
    # quantiles of 2,000 resamples stray by about 5 % of half the width
    assert bootstrap_interval(scores) == pytest.approx(expected, abs=0.2 * half)


def test_interval_of_one_score_is_the_score():
    assert bootstrap_interval(np.array([0.25])) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("score", "random", "expected"),
    [
        (0.774, 0.751, 0.0924),  # most items share the value: a high MAP, and little learned
        (0.7644, 0.2175, 0.6989),
        (0.543, 0.539, 0.0087),
        (0.2, 0.6, -1.0),
        (0.5, 0.5, 0.0),
        (1.0, 0.9, 1.0),
        (1.0, 1.0, 0.0),  # every item is relevant: nothing to gain
    ],
)
def test_gain_is_the_share_of_the_way_from_random_to_perfect(score, random, expected):
    # of means over queries, not the mean of the queries' own
    ap, by_chance = np.array([score - 0.1, score + 0.1]), np.array([random, random])
    assert gain(ap, by_chance) == pytest.approx(expected, abs=1e-4)


def test_the_gains_interval_is_that_of_the_resamples_of_maps_interval():
    rng = np.random.default_rng(1)
    ap, by_chance = rng.random((2, 30))
    draws = np.random.default_rng(4)
    resamples = [draws.integers(30, size=30) for _ in range(200)]
    gains = [
        (ap[drawn].mean() - by_chance[drawn].mean()) / (1 - by_chance[drawn].mean())
        for drawn in resamples
    ]
    maps = [ap[drawn].mean() for drawn in resamples]
    settings = {"confidence": 0.9, "num_resamples": 200, "seed": 4}
    for values, found in [
        (gains, bootstrap_interval(ap, by_chance, statistic=gain, **settings)),
        (maps, bootstrap_interval(ap, **settings)),
    ]:
        assert found == pytest.approx((np.percentile(values, 5), np.percentile(values, 95)))


def test_the_gains_interval_of_one_query_is_its_gain():
    one = bootstrap_interval(np.array([0.4]), np.array([0.2]), statistic=gain)
    assert one == pytest.approx((0.25, 0.25))
