"""Exact search against a sort in plain Python."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from embedded_folders import unit_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from components.embedding.embeddings import Vectors
from components.search import search
from components.search.search import Neighbours, nearest, similarities


@settings(max_examples=150)
@given(data=st.data())
def test_search_is_a_full_sort(data: st.DataObject) -> None:
    """Small whole numbers: sums are exact, and ties are many."""
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    num_items, num_attributes = sum(sizes), data.draw(st.integers(1, 3))
    whole = np.random.default_rng(data.draw(st.integers(0, 99)))
    matrices = whole.integers(-2, 3, (num_attributes, num_items, 3))
    images = whole.permutation(2 * num_items + 1)[:num_items]
    queries = whole.integers(-2, 3, (num_attributes, 3))
    weights = whole.integers(1, 4, num_attributes)
    top_k = data.draw(st.integers(1, num_items + 2))
    storage = data.draw(st.sampled_from([np.float16, np.float32]))
    among = set(whole.permutation(images)[: data.draw(st.integers(0, num_items))].tolist())

    expected = sorted(
        (
            -sum(int(w * (m[row] @ q)) for w, m, q in zip(weights, matrices, queries, strict=True)),
            image,
        )
        for row, image in enumerate(images.tolist())
        if image in among
    )[:top_k]

    bounds = np.cumsum([0, *sizes])
    parts = [
        [Vectors(images[a:b], matrix[a:b].astype(storage)) for matrix in matrices]
        for a, b in pairwise(bounds)
    ]
    kept = np.isin(np.arange(2 * num_items + 1), list(among))
    scored = similarities(parts, [*queries.astype(np.float32)], weights.tolist(), kept_I=kept)
    best = nearest(scored, top_k=top_k)
    assert best.images.tolist() == [image for _, image in expected]
    assert best.similarities.tolist() == [-negative for negative, _ in expected]


def test_similarity_is_the_dot_product_of_halves() -> None:
    """Of all magnitudes that half precision has, the smallest (below 6e-5) among them."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 64)) * 2.0 ** rng.integers(-24, 1, (500, 64))).astype(
        np.float16
    )
    query = rng.normal(size=64).astype(np.float32)
    (scored,) = similarities([[Vectors(np.arange(500), vectors)]], [query], [1.0])
    expected = vectors.astype(np.float64) @ query
    # 64 products in single precision (24 bits)
    np.testing.assert_allclose(scored.similarities, expected, atol=64 * 2.0**-24)


@pytest.mark.parametrize("storage", [np.float16, np.float32])
def test_equal_vectors_are_equally_similar_wherever_they_lie(
    monkeypatch: pytest.MonkeyPatch, storage: type[np.floating[Any]]
) -> None:
    """So that their order is that of their numbers, whatever the slices and the filters."""
    vectors = np.repeat(unit_vectors(1, 100), 60, axis=0).astype(storage)
    parts = [[Vectors(np.arange(60)[::-1], vectors)]]
    query = unit_vectors(1, 100, seed=1)[0]
    for at_once in (1, 7, 60):
        monkeypatch.setattr(search, "_ITEMS_AT_ONCE", at_once)
        for kept in (None, np.arange(60) % 3 != 1):
            best = nearest(similarities(parts, [query], [1.0], kept_I=kept), top_k=60)
            assert np.ptp(best.similarities) == 0
            assert best.images.tolist() == sorted(best.images)


def test_nearest_of_nothing_is_nothing() -> None:
    assert nearest([], top_k=3).images.tolist() == []
    none = Neighbours(images=np.empty(0, np.int64), similarities=np.empty(0, np.float32))
    assert nearest([none], top_k=3).images.tolist() == []
