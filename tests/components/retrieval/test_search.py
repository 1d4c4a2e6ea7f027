"""Exact search against a sort in plain Python, and what the catalogue says of single images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from builders import images_table, labels_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.retrieval.lookup import CatalogLookup
from components.retrieval.search import EmbeddedAttribute, read_embedded_attribute
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
