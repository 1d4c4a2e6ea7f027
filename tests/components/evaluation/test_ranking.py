"""Exact rankings: bounds on what is in memory at once change nothing, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from rankings import average_precision
from scipy.sparse import csr_array

from components.evaluation import ranking
from components.evaluation.evaluation import MEASURES
from components.evaluation.ranking import Items, canonical_order, measure, relevance

VALUES = {"one each": np.arange, "several": lambda n: np.random.default_rng(n).random((n, 4)) < 0.3}


def some_items(count: int, *, values: np.ndarray, seed: int) -> Items:
    """Embeddings of small whole numbers: their products are exact, and many are equal."""
    drawn = np.random.default_rng(seed).integers(-2, 3, (count, 6))
    return Items(embeddings_ND=drawn.astype(np.float32), values_N=values, images_N=np.arange(count))


@pytest.mark.parametrize("values", ["one each", "several"])
@pytest.mark.parametrize(
    "bound",
    ["_QUERIES_AT_ONCE", "_SIMILARITIES_AT_ONCE", "_ITEMS_AT_ONCE", "_RANKED_AT_ONCE"],
)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_change_nothing(values, bound, size, monkeypatch):
    queries, gallery = (
        some_items(count, values=VALUES[values](count), seed=count) for count in (23, 61)
    )
    whole = measure(MEASURES, queries, gallery)
    monkeypatch.setattr(ranking, bound, size)
    chunked = measure(MEASURES, queries, gallery)
    assert chunked.keys() == whole.keys()
    for name, scores in whole.items():
        assert len(scores) == 23
        np.testing.assert_array_equal(chunked[name], scores)


def test_chunks_of_queries_and_of_the_gallery_are_taken(monkeypatch):
    """Also where the constants would allow all at once: no more than they say is compared."""
    seen = []

    def spy(query_values, gallery_values):
        seen.append((len(query_values), len(gallery_values)))
        return relevance(query_values, gallery_values)

    monkeypatch.setattr(ranking, "relevance", spy)
    monkeypatch.setattr(ranking, "_SIMILARITIES_AT_ONCE", 130)
    monkeypatch.setattr(ranking, "_ITEMS_AT_ONCE", 40)
    gallery = some_items(61, values=np.arange(61) % 3, seed=0)
    measure(MEASURES, some_items(5, values=np.arange(5) % 3, seed=1), gallery)
    assert sorted(seen) == [(1, 30), (1, 31), (2, 30), (2, 30), (2, 31), (2, 31)]


def test_one_value_each_as_a_matrix_is_the_same():
    queries, gallery = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 0, 1, 2, 1]]
    asked, values = np.array([0, 2, 1, 1]), np.array([2, 0, 0, 1, 2])
    np.testing.assert_array_equal(
        average_precision(queries, np.eye(3, dtype=bool)[asked], gallery, np.eye(3)[values] > 0),
        average_precision(queries, asked, gallery, values),
    )


@pytest.mark.parametrize("values", ["one each", "several"])
def test_sparse_values_are_the_same_as_dense_ones(values):
    """Of 40,000 values, most of which nothing has."""
    dense = {
        "one each": lambda n: np.eye(9, dtype=bool)[np.arange(n) % 9],
        "several": VALUES["several"],
    }[values]
    queries, gallery = (some_items(n, values=dense(n), seed=n) for n in (23, 61))
    sparse = []
    for items in (queries, gallery):
        image, value = items.values_N.nonzero()
        wide = csr_array((np.ones(len(image), bool), (image, 4444 * value)), (len(items), 40000))
        sparse.append(replace(items, values_N=wide))
    found, expected = measure(MEASURES, *sparse), measure(MEASURES, queries, gallery)
    for name, scores in expected.items():
        np.testing.assert_array_equal(found[name], scores)


def test_half_precision_counts_as_single():
    """In half precision itself these two similarities, 1 and 1 + 2^-12, would be equal."""
    gallery = np.array([[1, 0], [1, 2**-6]], np.float16)
    query = np.array([[1, 2**-6]], np.float16)
    assert average_precision(query, np.array([1]), gallery, np.array([0, 1])).tolist() == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [2.0**-40, 0.5, 2.0, 1024.0, 2.0**40])
def test_the_length_of_embeddings_does_not_count(factor, dtype):
    """Powers of two change no bits: results are the same, and equal similarities stay equal."""
    queries, gallery = (some_items(n, values=np.arange(n) % 3, seed=n) for n in (23, 61))
    expected = measure(MEASURES, queries, gallery)
    longer = [
        replace(items, embeddings_ND=items.embeddings_ND.astype(dtype) * dtype(factor))
        for items in (queries, gallery)
    ]
    for some in ([longer[0], gallery], [queries, longer[1]], longer):
        for name, scores in measure(MEASURES, *some).items():
            np.testing.assert_array_equal(scores, expected[name])


def test_values_may_be_any_whole_numbers():
    queries, gallery = (some_items(n, values=np.arange(n) % 3, seed=n) for n in (23, 61))
    expected = measure(MEASURES, queries, gallery)
    named = np.array([-(2**60), 7, 2**60])
    renamed = [replace(items, values_N=named[items.values_N]) for items in (queries, gallery)]
    for name, scores in measure(MEASURES, *renamed).items():
        np.testing.assert_array_equal(scores, expected[name])


def test_a_query_without_a_match_is_nan_in_all_measures_and_alone():
    queries, gallery = (
        Items(embeddings_ND=np.eye(2), values_N=np.array(values), images_N=np.array(images))
        for values, images in (([9, 0], [1, 2]), ([0, 0], [3, 4]))
    )
    for scores in measure(MEASURES, queries, gallery).values():
        assert math.isnan(scores[0])
        assert scores[1] > 0


def test_an_empty_gallery_and_no_queries():
    none, both = np.empty(0, np.int64), np.array([0, 1])
    nothing = Items(embeddings_ND=np.empty((0, 2)), values_N=none, images_N=none)
    queries = Items(embeddings_ND=np.eye(2), values_N=both, images_N=both)
    assert np.isnan([*measure(MEASURES, queries, nothing).values()]).all()
    for scores in measure(MEASURES, nothing, queries).values():
        assert scores.shape == (0,)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_an_embedding_that_is_not_a_number_is_refused(number):
    broken = np.array([[1.0, 0.0], [number, 0.0]])
    with pytest.raises(ValueError, match="a similarity is NaN"):
        average_precision(np.eye(2), np.array([0, 1]), broken, np.array([0, 1]))


def test_what_does_not_fit_is_refused():
    vectors, values = np.eye(2), np.array([0, 1])
    with pytest.raises(ValueError, match=r"differ in length: \[2, 1, 2, 2\]"):
        average_precision(vectors, values[:1], vectors, values)
    with pytest.raises(ValueError, match=r"differ in length: \[2, 2, 1, 1\]"):
        average_precision(
            vectors, values, vectors, values, query_images=values, gallery_images=values[:1]
        )
    with pytest.raises(ValueError, match=r"differ in form: \(2,\) and \(2, 2\)"):
        average_precision(vectors, values, vectors, vectors > 0)


@pytest.mark.parametrize("ahead", [0, 15, 16, 40])
def test_equal_embeddings_are_found_wherever_they_stand(ahead):
    """Rows 0, 2 and 4 are equal, as -0.0 is 0.0; any order of rows gives the same matrix.

    Also behind numbers in which all but the last are alike.
    """
    rows = np.array([[0.0, 1], [1, 0], [-0.0, 1], [-1, 0], [0, 1], [0, 1]], np.float32)
    rows = np.hstack([np.ones((6, ahead), np.float32), rows])
    rows[-1, 0] = 3
    order, first = canonical_order(rows)
    for seed in range(5):
        shuffled = rows[np.random.default_rng(seed).permutation(len(rows))]
        again, same_first = canonical_order(shuffled)
        np.testing.assert_array_equal(shuffled[again], rows[order])
        np.testing.assert_array_equal(same_first, first)
    for place, row in enumerate(rows[order]):
        equal = np.flatnonzero((rows[order] == row).all(axis=1))
        assert first[place] == equal[0]
        assert equal.tolist() == [*range(equal[0], equal[0] + len(equal))]
