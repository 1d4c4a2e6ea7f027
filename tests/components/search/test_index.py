"""The approximate index against exact search, with FAISS itself, on vectors like real ones."""

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import flip_a_bit
from embedded_folders import write_embedded_folder

from components import files
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.registry.package import Ancestor
from components.search.index import MIN_RECALL, AttributeIndex, build_index, index_files, read_index
from components.search.index_paths import index_folder, index_key, remove_stale, take_indexes
from components.search.vector_map import has_whole_map, map_path, mapped_vectors, write_map

NUM_ITEMS, DIM = 12_000, 24


def drawn(count: int, *, seed: int) -> np.ndarray:
    """Returns unit vectors whose variances fall as those of real embeddings."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIM)) / (np.arange(DIM) + 5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float16).astype(np.float32)


ITEMS = drawn(NUM_ITEMS, seed=0)
IMAGES = np.random.default_rng(1).permutation(2 * NUM_ITEMS)[:NUM_ITEMS]  # with gaps
QUERIES = drawn(200, seed=2)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    folder = tmp_path_factory.mktemp("embedded")
    sizes = [5_000, 0, 7_000]
    return write_embedded_folder(folder, {"a b": ITEMS}, images=IMAGES, part_sizes=sizes)


@pytest.fixture(scope="module")
def built(embedded: Embeddings) -> Embeddings:
    build_index(embedded, "a b")
    return embedded


def exactly(query: np.ndarray, top_k: int, allowed: np.ndarray | None = None) -> list[int]:
    similarity = ITEMS @ query
    if allowed is not None:
        similarity = np.where(np.isin(IMAGES, allowed), similarity, -np.inf)
    return IMAGES[np.lexsort((IMAGES, -similarity))[:top_k]].tolist()


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_recall_is_what_was_promised(built: Embeddings, share: float) -> None:
    """Also among few of all items: then more lists are looked into."""
    index = read_index(built, "a b")
    assert index is not None
    assert index.facts.num_probes < index.facts.num_lists / 4  # or it would be exact search
    allowed = None
    if share < 1:
        allowed = np.sort(np.random.default_rng(3).permutation(IMAGES)[: int(share * NUM_ITEMS)])
    found = 0
    for query in QUERIES:
        nearest = index.nearest(query, top_k=10, allowed=allowed)
        assert allowed is None or np.isin(nearest.images, allowed).all()
        found += len(set(nearest.images.tolist()) & set(exactly(query, 10, allowed)))
    assert found / (10 * len(QUERIES)) >= MIN_RECALL


def test_single_precision_is_mapped_and_indexed_as_it_is(tmp_path: Path) -> None:
    vectors = np.random.default_rng(4).normal(size=(2_000, DIM)).astype(np.float32)
    embedded = write_embedded_folder(tmp_path, {"a": vectors}, storage="float32")
    write_map(embedded, "a")
    (mapped,) = mapped_vectors(embedded, "a")
    np.testing.assert_array_equal(mapped.embeddings_nD, vectors)
    query = QUERIES[0]
    nearest = build_index(embedded, "a").nearest(query, top_k=20)
    assert np.abs(vectors - vectors.astype(np.float16)).max() > 1e-3, "halves would differ"
    expected = (vectors @ query)[nearest.images]
    np.testing.assert_allclose(nearest.similarities, expected, atol=1e-6)


def test_similarities_are_exact_and_fall(built: Embeddings) -> None:
    index = read_index(built, "a b")
    assert index is not None
    row_of = {image: row for row, image in enumerate(IMAGES.tolist())}
    for query in QUERIES[:20]:
        nearest = index.nearest(query, top_k=20)
        rows = [row_of[image] for image in nearest.images.tolist()]
        np.testing.assert_allclose(nearest.similarities, ITEMS[rows] @ query, atol=1e-6)
        assert (np.diff(nearest.similarities) <= 0).all()


def test_the_measured_recall_is_that_of_held_out_items(built: Embeddings) -> None:
    """The index's own measure against a measure of other queries: both samples of hundreds."""
    index = read_index(built, "a b")
    assert index is not None
    found = [set(index.nearest(query, top_k=10).images.tolist()) for query in QUERIES]
    hits = [len(f & set(exactly(q, 10))) for f, q in zip(found, QUERIES, strict=True)]
    assert abs(index.facts.recall - np.mean(hits) / 10) < 0.03  # two standard errors of either
    assert index.facts.num_vectors == NUM_ITEMS


def test_equal_vectors_do_not_lower_the_measured_recall(tmp_path: Path) -> None:
    """Every item six times: which of the equal ones are among the ten does not matter."""
    copies = write_embedded_folder(tmp_path, {"a": np.repeat(ITEMS[:2000], 6, axis=0)})
    facts = build_index(copies, "a").facts
    assert facts.recall >= MIN_RECALL
    assert facts.num_probes < facts.num_lists / 4


def test_an_index_of_other_embeddings_is_not_read(built: Embeddings) -> None:
    assert read_index(built, "c") is None
    other = write_embedded_folder(built.folder / "other", {"a b": ITEMS}, model_version=2)
    source = index_folder(built, "a b")
    target = index_folder(other, "a b")
    target.mkdir(parents=True)
    for path in source.glob("lists-*"):
        (target / path.name).write_bytes(path.read_bytes())
    assert read_index(other, "a b") is None
    write_map(other, "a b")
    remove_stale(other, "a b")
    assert {path.suffix for path in target.iterdir()} == {".arrow", ".json"}
    assert not [*target.glob("lists-*")]


def test_an_index_of_an_older_hemline_serves_as_it_is(tmp_path: Path) -> None:
    """Its key stood for all embeddings together, not for an attribute's vectors."""
    small = write_embedded_folder(tmp_path, {"a": ITEMS[:3000], "b": ITEMS[:3000]})
    older = replace(small, crc32={})
    write_map(older, "a")
    build_index(older, "a")
    names = {path.name for path in index_folder(small, "a").iterdir()}
    assert {name.partition("-")[2].partition("-")[0] for name in names} == {"1"}, "the version"
    remove_stale(small, "a")
    assert {path.name for path in index_folder(small, "a").iterdir()} == names
    assert read_index(small, "a").is_whole
    assert has_whole_map(small, "a")
    assert {*index_files(small)} == {
        x for x in index_folder(small, "a").iterdir() if x.suffix != ".json"
    }
    flip_a_bit(map_path(small, "a"))
    assert not has_whole_map(small, "a")
    write_map(small, "a")
    remove_stale(small, "a")
    assert has_whole_map(small, "a")
    assert len([*index_folder(small, "a").glob("vectors-*")]) == 2, "with its checksum"
    other = write_embedded_folder(tmp_path / "other", {"a": ITEMS[:3000], "b": ITEMS[:3000]})
    take_indexes(other, small)
    assert read_index(other, "a").is_whole
    assert has_whole_map(other, "a")
    assert read_index(other, "b") is None


def test_the_same_vectors_of_other_items_have_another_index(tmp_path: Path) -> None:
    one = write_embedded_folder(tmp_path, {"a": ITEMS[:100]})
    keys = {index_key(one, "a"), index_key(replace(one, digest="other"), "a")}
    keys.add(index_key(replace(one, model_sha256="1" * 64), "a"))
    assert len(keys) == 3
    grown = replace(
        one,
        model_sha256="1" * 64,
        ancestors=(
            Ancestor(name="hemline", version=2, graph_sha256="2" * 64, attributes=("a", "b")),
            Ancestor(name="hemline", version=1, graph_sha256=one.model_sha256, attributes=("a",)),
        ),
    )
    assert index_key(grown, "a") == index_key(one, "a"), "the first of them made it"


def test_a_killed_build_leaves_no_index(
    embedded: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_embedded_folder(tmp_path, {"a": ITEMS[:3000]})
    monkeypatch.setattr(files, "write_sealed_json", _interrupted)  # after the lists, and names them
    with pytest.raises(KeyboardInterrupt):
        build_index(small, "a")
    monkeypatch.undo()
    assert list(index_folder(small, "a").glob("*.faiss"))
    assert read_index(small, "a") is None
    assert build_index(small, "a").facts.num_vectors == 3000


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_damaged_index_is_an_error_that_names_it(tmp_path: Path) -> None:
    small = write_embedded_folder(tmp_path, {"a": ITEMS[:3000]})
    build_index(small, "a")
    (path,) = index_folder(small, "a").glob("*.faiss")
    path.write_bytes(path.read_bytes()[:1000])
    index = read_index(small, "a")
    assert index is not None
    with pytest.raises(HemlineError, match=r"lists-.*\.faiss is damaged .* `hemline index`"):
        index.nearest(QUERIES[0], top_k=1)
    without = AttributeIndex(path, replace(index.facts, crc32=None))  # of an older hemline
    with pytest.raises(HemlineError, match=r"lists-.*\.faiss cannot be read .* `hemline index`"):
        without.nearest(QUERIES[0], top_k=1)


def test_a_flipped_bit_of_an_index_is_found(tmp_path: Path) -> None:
    small = write_embedded_folder(tmp_path, {"a": ITEMS[:3000]})
    build_index(small, "a")
    (path,) = index_folder(small, "a").glob("*.faiss")
    assert read_index(small, "a").nearest(QUERIES[0], top_k=1).images.size == 1
    flip_a_bit(path)
    with pytest.raises(HemlineError, match=r"lists-.*\.faiss is damaged"):
        read_index(small, "a").nearest(QUERIES[0], top_k=1)
    path.unlink()
    with pytest.raises(HemlineError, match=r"lists-.*\.faiss is missing: make it again with"):
        read_index(small, "a").nearest(QUERIES[0], top_k=1)


def test_without_faiss_the_error_names_the_package(
    built: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "faiss":
            raise ImportError("No module named 'faiss'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    index = read_index(built, "a b")
    assert index is not None
    with pytest.raises(HemlineError, match="`pip install faiss-cpu`, or search with --exact"):
        index.nearest(QUERIES[0], top_k=1)


def test_the_map_holds_the_parts(embedded: Embeddings) -> None:
    decoded = list(embedded.vectors("a b"))
    write_map(embedded, "a b")
    mapped = list(mapped_vectors(embedded, "a b"))
    assert len(mapped) == len(decoded) == 2
    for ours, theirs in zip(mapped, decoded, strict=True):
        np.testing.assert_array_equal(ours.images_n, theirs.images_n)
        np.testing.assert_array_equal(ours.embeddings_nD, theirs.embeddings_nD)
        assert not ours.embeddings_nD.flags.owndata


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_its_lists_hold_every_vector_as_it_is_stored(tmp_path: Path, storage: Any) -> None:
    embedded = write_embedded_folder(
        tmp_path, {"a b": ITEMS[:3000]}, images=IMAGES[:3000], storage=storage
    )
    index = build_index(embedded, "a b")
    lists = [index.list_at(number) for number in range(index.facts.num_lists)]
    images = np.concatenate([each.images_n for each in lists])
    vectors = np.concatenate([each.embeddings_nD for each in lists])
    assert vectors.dtype == np.dtype(storage)
    order = np.argsort(IMAGES[:3000])
    np.testing.assert_array_equal(np.sort(images), IMAGES[:3000][order])
    np.testing.assert_array_equal(vectors[images.argsort()], ITEMS[:3000][order])


def test_the_nearest_list_of_a_vector_is_the_one_that_holds_it(built: Embeddings) -> None:
    index = read_index(built, "a b")
    assert index is not None
    images, vectors = index.list_at(3)
    nearest = index.nearest_lists(vectors.astype(np.float32), number=2)
    assert nearest.shape == (len(images), 2)
    assert (nearest[:, 0] == 3).mean() > 0.99  # rounding decides between two
