"""Exact search against a sort in plain Python, and what the catalogue says of single images."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import images_table, labels_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.retrieval.embed import attribute_folder
from components.retrieval.lookup import CatalogLookup
from components.retrieval.search import (
    EmbeddedAttribute,
    embedded_attributes,
    general_similarity,
    read_embedded_attribute,
    rerank,
)
from components.tables import Catalog, Numbering


def embedded(num_images: int) -> EmbeddedAttribute:
    vectors = np.random.default_rng(0).normal(size=(num_images, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = np.random.default_rng(1).permutation(num_images)
    return EmbeddedAttribute(model_name="m", model_version=1, images=images, embeddings=vectors)


def test_nearest_is_a_sort_by_similarity_among_the_allowed() -> None:
    catalogue = embedded(50)
    query = catalogue.embeddings[7]
    among = np.arange(0, 50, 3)
    rows = zip(catalogue.images.tolist(), catalogue.embeddings @ query, strict=True)
    expected = sorted((-s, image) for image, s in rows if image in among)[:5]
    found = catalogue.nearest(query, top_k=5, among=among)
    assert found.images.tolist() == [image for _, image in expected]
    np.testing.assert_allclose(found.similarities, [-s for s, _ in expected], rtol=1e-6)


def test_fewer_items_than_asked_for_are_all_given() -> None:
    catalogue = embedded(3)
    assert len(catalogue.nearest(catalogue.embeddings[0], top_k=10, among=np.arange(3)).images) == 3


def test_rerank_by_hand() -> None:
    """General order: c, e, a, d, b; the first three by the other similarity: e, a, c."""
    general = np.array([0.5, 0.1, 0.9, 0.3, 0.8])
    similarity = np.array([0.6, 1.0, 0.2, 0.9, 0.7])
    assert rerank(general, similarity, num_reranked=3).tolist() == [4, 0, 2]


def test_reranking_is_two_sorts_among_the_allowed() -> None:
    catalogue, query = embedded(50), embedded(50).embeddings[7]
    general = np.random.default_rng(2).random(50).astype(np.float32)
    among = np.arange(0, 50, 2)
    similarities = (catalogue.embeddings @ query).tolist()
    rows = zip(general.tolist(), similarities, catalogue.images.tolist(), strict=True)
    first = sorted((row for row in rows if row[2] in among), reverse=True)[:8]
    expected = sorted(((s, image) for _, s, image in first), reverse=True)[:5]
    found = catalogue.reranked(query, general, top_k=5, num_reranked=8, among=among)
    assert found.images.tolist() == [image for _, image in expected]
    np.testing.assert_allclose(found.similarities, [s for s, _ in expected], rtol=1e-6)


def test_reranking_all_is_search_by_the_attribute_alone() -> None:
    catalogue, query = embedded(20), embedded(20).embeddings[3]
    general = np.random.default_rng(2).random(20).astype(np.float32)
    everything = np.arange(20)
    reranked = catalogue.reranked(query, general, top_k=6, num_reranked=20, among=everything)
    nearest = catalogue.nearest(query, top_k=6, among=everything)
    np.testing.assert_array_equal(reranked.images, nearest.images)


def write_embeddings(folder: Path, attributes: dict[str, EmbeddedAttribute]) -> None:
    for name, catalogue in attributes.items():
        flat = pa.array(catalogue.embeddings.astype(np.float16).ravel(), pa.float16())
        part = attribute_folder(folder, name) / "part-00000.parquet"
        part.parent.mkdir(parents=True)
        lists = pa.FixedSizeListArray.from_arrays(flat, catalogue.embeddings.shape[1])
        pq.write_table(pa.table({"image": catalogue.images, "embedding": lists}), part)
    manifest = {"model_name": "m", "model_version": 1, "attributes": [*attributes]}
    files.write_json(manifest, folder / "manifest.json")


def test_general_similarity_is_the_sum_of_cosines_over_attributes(tmp_path: Path) -> None:
    """Whatever the order of the images in each attribute's parts."""
    collar, length = embedded(30), embedded(30)
    order = np.random.default_rng(3).permutation(30)
    length = replace(length, images=length.images[order])
    write_embeddings(tmp_path, {"collar": collar, "length": length})
    queries = {"collar": collar.embeddings[4], "length": collar.embeddings[9]}
    asked = np.array([7, 2, 29])
    expected = [
        sum(
            float(vectors.embeddings[vectors.images.tolist().index(image)] @ queries[name])
            for name, vectors in (("collar", collar), ("length", length))
        )
        for image in asked
    ]
    found = general_similarity(tmp_path, queries, asked)
    np.testing.assert_allclose(found, expected, atol=4e-3)  # embeddings are kept in half precision
    assert embedded_attributes(tmp_path) == ["collar", "length"]


def test_an_attribute_that_was_not_embedded_is_an_error(tmp_path: Path) -> None:
    manifest = {"model_name": "m", "model_version": 1, "attributes": ["collar"], "num_images": 0}
    files.write_json(manifest, tmp_path / "manifest.json")
    with pytest.raises(HemlineError, match=r"no attribute 'hem'; .* embedded for collar"):
        read_embedded_attribute(tmp_path, "hem")


@pytest.fixture
def catalog() -> Catalog:
    sha256s = [hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"a")]
    attributes = (
        Attribute(name="collar", values=("none", "rib")),
        Attribute(name="length", values=("short", "knee", "long")),
    )
    return Catalog(
        schema=AttributeSchema(dataset="d", attributes=attributes),
        numbering=Numbering(origin="o", next_image=3),
        images=images_table(sha256s),
        labels=labels_table([(0, 0, 0), (0, 1, 1), (0, 1, 2), (2, 1, 0)]),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )


def test_lookup_tells_paths_and_values(catalog: Catalog) -> None:
    lookup = CatalogLookup(catalog, "length")
    assert lookup.labelled.tolist() == [0, 2]
    assert lookup.same_content(b"a").tolist() == [0, 2]
    assert lookup.same_content(b"c").tolist() == []
    assert lookup.values(0) == {"knee", "long"}
    assert lookup.values(1) == set()
    assert lookup.values_of_any(np.array([1, 2])) == {"short"}
    assert lookup.path(2) == "2.png"
