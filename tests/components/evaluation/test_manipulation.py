"""Attribute manipulation against plain loops written from the definition, and a simulation."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from components.evaluation import manipulation_task
from components.evaluation.manipulation import (
    KS,
    ChangeScores,
    first_items,
    hit_rates,
    measure_changes,
)
from components.evaluation.manipulation_task import LabelledEmbeddings, ManipulationTask

NUM_VALUES = (3, 4, 2)
DIM = 4


def images(count: int, *, seed: int, first_image: int, ties: bool) -> LabelledEmbeddings:
    """Images with missing labels and several values.

    With ties, embeddings are axes and their opposites: products are whole numbers, and many scores
    are equal.
    """
    rng = np.random.default_rng(seed)
    if ties:
        axes = np.eye(DIM, dtype=np.float32)[rng.integers(0, 2, (count, len(NUM_VALUES)))]
        embeddings = axes * rng.choice([-1, 1], (count, len(NUM_VALUES), 1))
    else:
        embeddings = rng.standard_normal((count, len(NUM_VALUES), DIM))
        embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    labels = []
    for num_values in NUM_VALUES:
        found = np.eye(num_values, dtype=bool)[rng.integers(num_values, size=count)]
        found |= rng.random(found.shape) < 0.1
        found[rng.random(count) < 0.2] = False
        labels.append(found)
    return LabelledEmbeddings(
        embeddings_nND=embeddings.astype(np.float32),
        labels=labels,
        images_n=np.arange(first_image, first_image + count),
    )


def some_prototypes(*, seed: int, missing: tuple[int, int], ties: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = [rng.standard_normal((count, DIM)) for count in NUM_VALUES]
    if ties:
        vectors = [np.eye(DIM)[rng.integers(DIM, size=count)] for count in NUM_VALUES]
    made = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in vectors]
    made[missing[0]][missing[1]] = np.nan
    return made


def loops(queries, gallery, prototypes, weights):
    """Every change with hit@k and nDCG@k for each row, by the definition; equal items in runs."""
    changes, impossible = {}, [0] * len(NUM_VALUES)
    for q in range(len(queries)):
        has = [set(np.flatnonzero(labels[q])) for labels in queries.labels]
        labelled = [a for a, values in enumerate(has) if values]
        items = [g for g in range(len(gallery)) if gallery.images_n[g] != queries.images_n[q]]
        if len(labelled) < 2:
            continue
        for a in labelled:
            for v in range(NUM_VALUES[a]):
                if v in has[a]:
                    continue
                target = {b: {v} if b == a else has[b] for b in labelled}
                gains = {
                    g: sum(
                        any(gallery.labels[b][g, value] for value in values)
                        for b, values in target.items()
                    )
                    / len(target)
                    for g in items
                }
                if max(gains.values(), default=0) < 1:
                    continue
                if np.isnan(prototypes[a][v]).any():
                    impossible[a] += 1
                    continue
                changed, unchanged = {}, {}
                for g in items:
                    terms = [
                        weights[b]
                        * float(queries.embeddings_nND[q, b] @ gallery.embeddings_nND[g, b])
                        for b in range(len(NUM_VALUES))
                    ]
                    unchanged[g] = sum(terms)
                    terms[a] = weights[a] * float(prototypes[a][v] @ gallery.embeddings_nND[g, a])
                    changed[g] = sum(terms)
                changes[q, a, v] = {
                    "": measured(changed, gains),
                    "unchanged_": measured(unchanged, gains),
                    "random_": measured(dict.fromkeys(items, 0.0), gains),
                }
    return changes, impossible


def measured(scores, gains):
    """hit@k and nDCG@k; equal items come in every order, of which the mean is taken."""
    runs: dict[float, list[int]] = {}
    for g, score in sorted(scores.items(), key=lambda pair: -pair[1]):
        runs.setdefault(round(score, 9), []).append(g)
    hits, ndcgs = [], []
    ideal_order = sorted(gains.values(), reverse=True)
    for k in KS:
        missed, place, dcg = Fraction(1), 0, 0.0
        for run in runs.values():
            answers = sum(gains[g] == 1 for g in run)
            mean = sum(gains[g] for g in run) / len(run)
            others = len(run) - answers
            for taken in range(min(len(run), k - place)):
                missed *= Fraction(max(others - taken, 0), len(run) - taken)
                dcg += mean / math.log2(place + taken + 2)
            place += min(len(run), k - place)
        ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(ideal_order[:k]))
        hits.append(float(1 - missed))
        ndcgs.append(dcg / ideal)
    return hits, ndcgs


def agree(found: ChangeScores, expected) -> None:
    named = zip(found.query_C, found.attribute_C, found.value_C, strict=True)
    keys = [tuple(map(int, key)) for key in named]
    assert keys == sorted(expected)
    for row in ("", "random_", "unchanged_"):
        hits, ndcgs = zip(*(expected[key][row] for key in keys), strict=True)
        np.testing.assert_allclose(found.hit_CK[row], hits, atol=1e-9, err_msg=row)
        np.testing.assert_allclose(found.ndcg_CK[row], ndcgs, atol=1e-9, err_msg=row)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_items", [9, 40, 130])
def test_scores_are_those_of_plain_loops(num_items, ties):
    queries = images(25, seed=1, first_image=num_items - 5, ties=ties)
    gallery = images(num_items, seed=2, first_image=0, ties=ties)
    for ours, theirs in zip(gallery.labels, queries.labels, strict=True):
        ours[-5:] = theirs[:5]  # five images are queries and items
    gallery.embeddings_nND[-5:] = queries.embeddings_nND[:5]
    prototypes = some_prototypes(seed=3, missing=(1, 2), ties=ties)
    weights = np.array([1.0, 0.5, 2.0])
    expected, impossible = loops(queries, gallery, prototypes, weights)
    task = ManipulationTask(gallery, prototypes)
    found = measure_changes(task, task.ask(queries), weights)
    assert len(expected) > 20
    assert sum(impossible) > 0
    agree(found, expected)
    assert found.num_without_prototype_N.tolist() == impossible
    if ties and num_items > 9:  # whole numbers are not what scores of ties come to
        assert np.any(found.hit_CK[""] % 1)


def test_hit_rates_are_the_means_per_attribute_for_any_weights():
    queries = images(30, seed=4, first_image=100, ties=True)
    gallery = images(60, seed=5, first_image=0, ties=True)
    task = ManipulationTask(gallery, some_prototypes(seed=6, missing=(0, 0), ties=True))
    asked = list(task.ask(queries))
    rates = []
    for weights in (np.ones(3), np.array([0.25, 4.0, 0.0])):
        whole = measure_changes(task, asked, weights)
        expected = [
            whole.hit_CK[""][whole.attribute_C == attribute, KS.index(5)].mean()
            for attribute in range(3)
        ]
        rates.append(hit_rates(task, asked, weights, k=5))
        np.testing.assert_allclose(rates[-1], expected, atol=1e-12)
    assert (rates[0] != rates[1]).any()


def test_an_attribute_without_a_change_has_no_rate():
    queries, gallery = (
        LabelledEmbeddings(
            embeddings_nND=np.ones((2, 2, 1), np.float32),
            labels=[np.array([[True, False], [False, True]]), np.array([[True], [True]])],
            images_n=np.arange(2) + first,
        )
        for first in (0, 10)
    )
    task = ManipulationTask(gallery, [np.ones((2, 1), np.float32), np.ones((1, 1), np.float32)])
    rates = hit_rates(task, task.ask(queries), np.ones(2), k=2)
    assert rates[0] == 1
    assert np.isnan(rates[1])


def test_a_random_ranking_hits_as_often_as_rankings_drawn_at_random():
    queries = images(6, seed=7, first_image=100, ties=False)
    gallery = images(70, seed=8, first_image=0, ties=False)
    task = ManipulationTask(gallery, some_prototypes(seed=9, missing=(2, 1), ties=False))
    asked = list(task.ask(queries))
    expected = measure_changes(task, asked, np.ones(3))
    rng = np.random.default_rng(10)
    order = np.argsort(rng.random((4000, len(gallery))), axis=1)
    change = 0
    for one in asked:
        for place in range(len(one.value_C)):
            answers = np.zeros(len(gallery), bool)
            answers[one.item_P[one.change_P == place]] = True
            for column, k in enumerate(KS):
                simulated = answers[order[:, :k]].any(axis=1).mean()
                # four standard errors of a share of 4,000
                bound = 4 * 0.5 / math.sqrt(4000)
                assert abs(simulated - expected.hit_CK["random_"][change, column]) < bound
            change += 1
    assert change == len(expected.value_C) > 10


def test_equal_scores_count_by_the_mean_of_all_orders():
    """Four items at one score, one of which answers, all 24 orders written out."""
    embeddings = np.ones((4, 2, 1), np.float32)
    gallery = LabelledEmbeddings(
        embeddings_nND=embeddings,
        labels=[
            np.array([[0, 1], [0, 1], [1, 0], [0, 0]], bool),
            np.array([[1, 0], [0, 1], [1, 0], [0, 1]], bool),
        ],
        images_n=np.arange(4),
    )
    query = LabelledEmbeddings(
        embeddings_nND=embeddings[:1],
        labels=[np.array([[1, 0]], bool), np.array([[1, 0]], bool)],
        images_n=np.array([9]),
    )
    task = ManipulationTask(gallery, [np.ones((2, 1), np.float32)] * 2)
    found = measure_changes(task, task.ask(query), np.ones(2))
    assert found.attribute_C.tolist() == [0]  # nothing has the second value of 1 and the first of 0
    gains = [1, 0.5, 0.5, 0]
    orders = list(permutations(gains))
    ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(gains))
    dcg = [sum(gain / math.log2(i + 2) for i, gain in enumerate(order)) for order in orders]
    assert found.hit_CK[""][0, 0] == pytest.approx(sum(o[0] == 1 for o in orders) / 24, abs=1e-12)
    assert found.ndcg_CK[""][0, 1] == pytest.approx(np.mean(dcg) / ideal, abs=1e-12)
    assert found.ndcg_CK[""][0, 0] == pytest.approx(0.5, abs=1e-12)


def test_the_order_of_rows_and_what_is_compared_at_once_change_nothing(monkeypatch):
    queries = images(20, seed=11, first_image=50, ties=False)
    gallery = images(60, seed=12, first_image=0, ties=False)
    gallery.embeddings_nND[30:] = gallery.embeddings_nND[:30]  # copies with other labels
    prototypes = some_prototypes(seed=13, missing=(0, 1), ties=False)
    task = ManipulationTask(gallery, prototypes)
    whole = measure_changes(task, task.ask(queries), np.ones(3))
    assert np.any(whole.hit_CK[""] % 1), "an item and its copy are equal"

    order = np.random.default_rng(14).permutation(60)
    shuffled = LabelledEmbeddings(
        embeddings_nND=gallery.embeddings_nND[order],
        labels=[labels[order] for labels in gallery.labels],
        images_n=gallery.images_n[order],
    )
    monkeypatch.setattr(manipulation_task, "_COSINES_AT_ONCE", 1)
    monkeypatch.setattr(manipulation_task, "_ITEMS_AT_ONCE", 7)
    task = ManipulationTask(shuffled, prototypes)
    other = measure_changes(task, task.ask(queries), np.ones(3))
    for row in ("", "random_", "unchanged_"):
        np.testing.assert_allclose(other.hit_CK[row], whole.hit_CK[row], atol=1e-12)
        np.testing.assert_allclose(other.ndcg_CK[row], whole.ndcg_CK[row], atol=1e-12)


def test_first_items_are_the_nearest_with_those_that_answer_marked():
    queries = images(8, seed=15, first_image=30, ties=False)
    gallery = images(35, seed=16, first_image=0, ties=False)
    task = ManipulationTask(gallery, some_prototypes(seed=17, missing=(0, 1), ties=False))
    asked = list(task.ask(queries))
    found = measure_changes(task, asked, np.ones(3))
    change = 0
    for one in asked:
        for place in range(len(one.value_C)):
            shown = first_items(task, one, np.ones(3), change=place, num_items=10)
            assert len(set(shown.images_R.tolist())) == 10
            assert queries.images_n[one.query] not in shown.images_R
            answers = shown.agreeing_R == one.num_labelled
            assert answers.any() == found.hit_CK[""][change, KS.index(10)]
            above = found.above_C[change]
            assert above >= 10 or answers.argmax() == above
            change += 1


def test_what_does_not_go_together_is_refused():
    gallery = images(5, seed=1, first_image=0, ties=False)
    prototypes = some_prototypes(seed=1, missing=(0, 0), ties=False)
    with pytest.raises(ValueError, match="must be those of the same attributes"):
        ManipulationTask(gallery, prototypes[::-1])
    with pytest.raises(ValueError, match="do not go together"):
        LabelledEmbeddings(
            embeddings_nND=gallery.embeddings_nND, labels=gallery.labels[:2], images_n=np.arange(5)
        )
    task = ManipulationTask(gallery, prototypes)
    for weights in (np.ones(2), np.array([1, np.nan, 1])):
        with pytest.raises(ValueError, match="a number for each of 3 attributes"):
            measure_changes(task, [], weights)
    gallery.embeddings_nND[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="embeddings are not all numbers"):
        ManipulationTask(gallery, prototypes)
    with pytest.raises(ValueError, match="embeddings are not all numbers"):
        next(task.ask(gallery))
