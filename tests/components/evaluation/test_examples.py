"""What a report shows is chosen as its rules say, checked against loops over single items."""

import numpy as np
import pytest

from components.evaluation import examples
from components.evaluation.examples import (
    Nearest,
    best_median_worst,
    confused_values,
    evenly_spaced,
    failures,
    nearest_items,
)
from components.evaluation.ranking import Items

K = 4


def items(rng, images, num_values=5, *, of_a_group=1) -> Items:
    embeddings = rng.normal(size=(len(images), 6)).astype(np.float32)
    values = rng.random((len(images), num_values)) < 0.25
    values[np.arange(len(images)), rng.integers(num_values - 1, size=len(images))] = True
    return Items(
        embeddings_ND=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        values_N=values,
        images_N=np.array(images),
        groups_N=np.array(images) // of_a_group if of_a_group > 1 else None,
    )


@pytest.fixture(params=[(1, 1), (7, 1), (2**24, 1), (7, 3)])
def nearest(request, monkeypatch) -> Nearest:
    """Of queries that are partly in the gallery, or their group is, compared a few at a time."""
    at_once, of_a_group = request.param
    monkeypatch.setattr(examples, "_SIMILARITIES_AT_ONCE", at_once * 25)
    rng = np.random.default_rng(4)
    asking, answering = (items(rng, x, of_a_group=of_a_group) for x in (range(20), range(15, 40)))
    return nearest_items(asking, answering, k=K)


def ranking(nearest: Nearest, q: int) -> list[int]:
    """Returns the places of the gallery as query q ranks them, without its group."""
    queries, gallery = nearest.queries, nearest.gallery
    others = [g for g in range(len(gallery)) if gallery.excluded_N[g] != queries.excluded_N[q]]
    similarity = {g: float(queries.embeddings_ND[q] @ gallery.embeddings_ND[g]) for g in others}
    return sorted(others, key=lambda g: -similarity[g])


def agree(nearest: Nearest, q: int, g: int) -> bool:
    return bool((nearest.queries.values_N[q] & nearest.gallery.values_N[g]).any())


def test_nearest_items_are_the_first_of_a_full_ranking(nearest):
    for q in range(len(nearest.queries)):
        ranked = ranking(nearest, q)
        relevant = [g for g in ranked if agree(nearest, q, g)]
        assert nearest.places_QK[q].tolist() == ranked[:K]
        assert nearest.agrees_QK[q].tolist() == [g in relevant for g in ranked[:K]]
        assert nearest.num_items_Q[q] == len(ranked)
        assert nearest.num_relevant_Q[q] == len(relevant)
        assert nearest.first_relevant_Q[q] == relevant[0]
        assert nearest.first_rank_Q[q] == ranked.index(relevant[0]) + 1


def test_queries_without_a_relevant_item_are_left_out():
    rng = np.random.default_rng(0)
    queries, gallery = items(rng, range(6)), items(rng, range(6, 12))
    queries.values_N[:] = gallery.values_N[:] = False
    queries.values_N[:, 0] = True
    queries.values_N[2, 1] = gallery.values_N[3, 1] = True
    assert nearest_items(queries, gallery, k=2).queries.images_N.tolist() == [2]


def test_a_gallery_smaller_than_asked_for():
    rng = np.random.default_rng(0)
    both = items(rng, range(3))
    both.values_N[:] = True
    nearest = nearest_items(both, both, k=10)
    assert nearest.places_QK.shape == (3, 3)
    assert (nearest.places_QK[:, 2] == -1).all(), "each query's own picture is not in its ranking"
    assert nearest.agrees_QK.sum() == 6


def test_confused_values_are_those_of_a_loop(nearest):
    shares = {}
    for value in range(5):
        asked = [q for q in range(len(nearest.queries)) if nearest.queries.values_N[q, value]]
        for other in range(5):
            found = [
                (q, g)
                for q in asked
                for g in ranking(nearest, q)[:K]
                if not agree(nearest, q, g) and nearest.gallery.values_N[g, other]
            ]
            if found:
                shares[value, other] = (len(found), K * len(asked), len(asked), found)
    pairs = confused_values(nearest, limit=100)
    assert {(pair.value, pair.other) for pair in pairs} == shares.keys()
    assert len(pairs) > 5
    for pair in pairs:
        num_found, num_shown, num_queries, found = shares[pair.value, pair.other]
        counted = (pair.num_found, pair.num_shown, pair.num_queries)
        assert counted == (num_found, num_shown, num_queries)
        similarity = [
            nearest.queries.embeddings_ND[q] @ nearest.gallery.embeddings_ND[g] for q, g in found
        ]
        item = nearest.places_QK[pair.query, pair.rank]
        assert (pair.query, item) == found[int(np.argmax(similarity))]
    shown = [pair.share for pair in pairs]
    assert shown == sorted(shown, reverse=True)
    assert confused_values(nearest, limit=2) == pairs[:2]


def test_failures_agree_with_less_than_half_of_what_could(nearest):
    share = {}
    for q in range(len(nearest.queries)):
        ranked = ranking(nearest, q)
        could = min(K, sum(agree(nearest, q, g) for g in ranked))
        share[q] = sum(agree(nearest, q, g) for g in ranked[:K]) / could
    found = failures(nearest, limit=100)
    assert {q: agreeing for agreeing, q in found} == {q: x for q, x in share.items() if x < 0.5}
    assert len(found) > 2
    assert [agreeing for agreeing, _ in found] == sorted(agreeing for agreeing, _ in found)
    assert failures(nearest, limit=1, leave_out=[found[0][1]]) == found[1:2]


def test_equal_items_are_equally_near_to_the_bit():
    """Each item stands three times in a row; a BLAS product may tell their places apart."""
    rng = np.random.default_rng(5)
    queries, gallery = (rng.normal(size=(64, 256)).astype(np.float32) for _ in range(2))
    found = nearest_items(
        Items(embeddings_ND=queries, values_N=np.ones((64, 1), bool), images_N=np.arange(64)),
        Items(
            embeddings_ND=np.repeat(gallery, 3, axis=0),
            values_N=np.ones((192, 1), bool),
            images_N=np.arange(100, 292),
        ),
        k=3,
    )
    assert (np.ptp(found.similarities_QK, axis=1) == 0).all()
    assert found.first_rank_Q.tolist() == [3] * 64
    np.testing.assert_array_equal(np.diff(found.places_QK, axis=1), 1)


def test_best_median_worst():
    assert best_median_worst(np.array([0.5, 0.9, 0.1, 0.7, 0.3])) == (1, 0, 2)
    assert best_median_worst(np.array([0.5])) == (0, 0, 0)


def test_evenly_spaced_from_the_highest_to_the_lowest():
    assert evenly_spaced(np.array([3, 9, 1, 7, 5]), 3) == [1, 4, 2]
    assert evenly_spaced(np.array([3, 9]), 5) == [1, 0]
    assert evenly_spaced(np.array([]), 5) == []
