"""Exact lists against the definition, and against `hemline search --exact` to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from embedded_folders import unit_vectors, write_embedded_folder

from components.embedding.embeddings import Vectors
from components.neighbours import exact
from components.neighbours.compared import ComparedItems, read_compared
from components.neighbours.exact import NO_IMAGE, NearestLists, nearest_exactly
from components.search.request import SearchRequest
from components.search.search import nearest, similarities

NUM_ITEMS, DIM, TOP_K = 700, 16, 5


def compared(
    *vectors: np.ndarray,
    weights: tuple[float, ...] = (1.0,),
    contents: np.ndarray | None = None,
    storage: str = "float16",
) -> ComparedItems:
    images = 3 * np.arange(len(vectors[0])) + 2
    return ComparedItems(
        images_n=images,
        contents_n=np.arange(len(images)) if contents is None else contents,
        vectors=tuple(each.astype(storage) for each in vectors),
        weights=weights,
    )


def one_by_one(items: ComparedItems, queries: ComparedItems, top_k: int) -> NearestLists:
    """Each query as `hemline search` finds its nearest: the definition of what is right."""
    images, likeness = [], []
    for row in range(len(queries)):
        kept = np.zeros(items.images_n.max() + 1, bool)
        kept[items.images_n[items.contents_n != queries.contents_n[row]]] = True
        parts = [[Vectors(items.images_n, each) for each in items.vectors]]
        query = [each[row].astype(np.float32) for each in queries.vectors]
        found = nearest(similarities(parts, query, items.weights, kept_I=kept), top_k=top_k)
        missing = top_k - len(found.images)
        images.append([*found.images, *[NO_IMAGE] * missing])
        likeness.append([*found.similarities, *[-np.inf] * missing])
    return NearestLists(np.array(images), np.array(likeness, np.float32))


def assert_same(found: NearestLists, right: NearestLists) -> None:
    np.testing.assert_array_equal(found.images_QK, right.images_QK)
    assert found.similarities_QK.tobytes() == right.similarities_QK.tobytes()


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slices of queries and of items, which do not divide their numbers."""
    monkeypatch.setattr(exact, "_QUERIES_AT_ONCE", 300)
    monkeypatch.setattr(exact, "_ITEMS_AT_ONCE", 130)
    monkeypatch.setattr(exact, "_PAIRED_AT_ONCE", 77)


@pytest.mark.parametrize("storage", ["float16", "float32"])
@pytest.mark.parametrize("weights", [(1.0,), (2.0, 0.5)])
def test_lists_are_those_of_exact_search_to_the_bit(
    storage: str, weights: tuple[float, ...]
) -> None:
    vectors = [unit_vectors(NUM_ITEMS, DIM, seed=seed) for seed in range(len(weights))]
    items = compared(*vectors, weights=weights, storage=storage)
    assert_same(nearest_exactly(items, items, top_k=TOP_K), one_by_one(items, items, TOP_K))


def test_equal_vectors_are_ordered_by_image_number() -> None:
    """More equal ones than there are candidates, so that rounding decides which are candidates."""
    vectors = unit_vectors(NUM_ITEMS, DIM)
    vectors[np.random.default_rng(1).permutation(NUM_ITEMS)[:200]] = vectors[0]
    items = compared(vectors)
    assert_same(nearest_exactly(items, items, top_k=TOP_K), one_by_one(items, items, TOP_K))


def test_an_item_and_its_copies_are_no_neighbours() -> None:
    contents = np.arange(NUM_ITEMS) // 40  # more copies than spare candidates
    items = compared(unit_vectors(NUM_ITEMS, DIM), contents=contents)
    found = nearest_exactly(items, items, top_k=TOP_K)
    places = (found.images_QK - 2) // 3
    assert (contents[places] != contents[:, None]).all()
    assert_same(found, one_by_one(items, items, TOP_K))


def test_fewer_than_asked_for_are_fewer() -> None:
    items = compared(unit_vectors(4, DIM))
    found = nearest_exactly(items, items, top_k=TOP_K)
    assert_same(found, one_by_one(items, items, TOP_K))
    assert (found.images_QK[:, 3:] == NO_IMAGE).all()
    nobody = nearest_exactly(items, items.rows(slice(0)), top_k=TOP_K)
    assert (nobody.images_QK == NO_IMAGE).all()


def test_threads_and_slices_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    items = compared(unit_vectors(NUM_ITEMS, DIM))
    before = nearest_exactly(items, items, top_k=TOP_K)
    monkeypatch.setattr(exact, "_ITEMS_AT_ONCE", NUM_ITEMS)
    monkeypatch.setattr(exact, "_QUERIES_AT_ONCE", 11)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_same(nearest_exactly(items, items, top_k=TOP_K), before)
    finally:
        torch.set_num_threads(threads)


def test_copies_are_the_same_box_of_equal_files(tmp_path: Path) -> None:
    """What a file system says of a file tells no copies."""
    one, other = "a" * 64, "b" * 64
    contents = [one, one, f"{one}#xywh=0,0,4,4", f"{one}#xywh=4,0,4,4", f"{one}#xywh=0,0,4,4"]
    contents += [f"{other}#xywh=0,0,4,4", "4096 2026-11-01", "4096 2026-11-01"]
    embedded = write_embedded_folder(
        tmp_path, {"a": unit_vectors(len(contents), DIM)}, columns={"content": contents}
    )
    found = read_compared(embedded, embedded.items(), SearchRequest(weights={"a": 1.0}, top_k=1))
    assert found.contents_n.tolist() == [0, 0, 2, 3, 2, 5, 6, 7]
