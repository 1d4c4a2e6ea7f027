"""Prototypes of training embeddings: which images count, and what is made of them."""

import numpy as np
import pandas as pd
import pytest

from components.attributes import Attribute, AttributeSchema
from components.prototypes.making import make_prototypes, sampled_labels

SCHEMA = AttributeSchema(
    dataset="drawn",
    attributes=(
        Attribute(name="length", values=("short", "long", "unseen")),
        Attribute(name="collar", values=("none", "round")),
    ),
)


def labels(*rows: tuple[int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image", "attribute", "value"])


@pytest.mark.parametrize(
    ("most", "images"),
    [(1, [0]), (2, [0, 5]), (4, [0, 3, 5, 8]), (10, [*range(10)]), (99, [*range(10)])],
)
def test_a_value_of_many_images_is_sampled_evenly(most: int, images: list[int]) -> None:
    rare = [(20, 1, 0), (21, 1, 0)]
    table = labels(*((image, 0, 1) for image in reversed(range(10))), *rare)
    found = sampled_labels(table, images_per_value=most)
    assert found[found["attribute"] == 0]["image"].tolist() == images
    assert len(found[found["attribute"] == 1]) == min(most, 2)


def test_a_prototype_is_the_mean_at_unit_length() -> None:
    """By hand: of unit vectors at right angles, the one between them, 1 - 1/sqrt(2) from each."""
    images = np.array([3, 4, 9])
    embeddings = np.zeros((3, 2, 2), np.float32)
    embeddings[:, 0] = [[1, 0], [0, 1], [-1, 0]]
    embeddings[:, 1] = [[1, 0], [1, 0], [0, 1]]
    training = labels(
        *((3, 0, 0), (4, 0, 0), (9, 0, 1), (3, 1, 1), (4, 1, 1), (9, 1, 1)),
        *((7, 0, 0), (8, 0, 2)),  # not embedded
    )
    length, collar = make_prototypes(training, SCHEMA, images, embeddings)
    half = 0.5**0.5
    np.testing.assert_allclose(length.vectors_VD[:2], [[half, half], [-1, 0]], atol=1e-7)
    np.testing.assert_allclose(length.spread_V[:2], [1 - half, 0], atol=1e-7)
    assert length.num_images_V.tolist() == [3, 1, 0]
    assert np.isnan(length.vectors_VD[2]).all()
    assert np.isnan(length.spread_V[2])
    assert length.missing == ["unseen"]
    assert collar.missing == ["none"]
    np.testing.assert_allclose(collar.vectors_VD[1], np.array([2, 1]) / 5**0.5, atol=1e-7)


def test_a_prototype_is_nearer_to_its_images_than_any_other_direction() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(40, 1, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    training = labels(*((image, 0, 0) for image in range(40)))
    (made, _) = make_prototypes(training, SCHEMA, np.arange(40), embeddings)
    mean = (embeddings[:, 0] @ made.vectors_VD[0]).mean()
    assert mean == pytest.approx(1 - made.spread_V[0], abs=1e-6)
    others = rng.normal(size=(1000, 8))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert mean > (embeddings[:, 0] @ others.T).mean(axis=0).max()


def test_vectors_that_the_network_learned_are_taken_at_unit_length() -> None:
    images = np.array([1, 2])
    embeddings = np.array([[[1, 0], [1, 0]], [[0, 1], [1, 0]]], np.float32)
    training = labels((1, 0, 0), (2, 0, 0))
    learned = [np.array([[3, 4], [1, 0], [0, 0]], np.float32), np.ones((2, 2), np.float32)]
    length, collar = make_prototypes(training, SCHEMA, images, embeddings, learned=learned)
    np.testing.assert_allclose(length.vectors_VD[0], [0.6, 0.8], atol=1e-7)
    assert length.spread_V[0] == pytest.approx(1 - 0.7)
    # what no training image has was not learned either
    assert length.missing == ["long", "unseen"]
    assert collar.missing == ["none", "round"]
