"""What 8-bit integers change, counted by hand on four images."""

import numpy as np
import pytest
from builders import splits_table

from components.attributes import Attribute, AttributeSchema
from components.evaluation.evaluation import evaluate_retrieval
from components.evaluation.quantisation import evaluate_quantised, quantisation_text, refuses

SCHEMA = AttributeSchema(
    dataset="four",
    attributes=(
        Attribute(name="neck", values=("v", "round")),
        Attribute(name="hem", values=("straight", "cut")),
    ),
)
# image, attribute, value, split, role: image 0 asks, in both attributes
ROWS = [
    (image, attribute, value, "test", "gallery" if image else "query")
    for attribute, values in enumerate([(0, 0, 1, 0), (0, 1, 0, 0)])
    for image, value in enumerate(values)
]
ANGLES = [[0.0, 0.1, 0.2, 0.3], [0.0, 0.3, 0.1, 0.2]]  # of each attribute's images


def unit_vectors(angles) -> np.ndarray:
    angles_nN = np.array(angles).T
    return np.stack([np.cos(angles_nN), np.sin(angles_nN)], axis=-1).astype(np.float32)


def figures(changed) -> dict:
    splits, images, before = splits_table(ROWS), np.arange(4), unit_vectors(ANGLES)
    return evaluate_quantised(
        splits,
        "test",
        images,
        before,
        unit_vectors(changed),
        results=evaluate_retrieval(splits, "test", images, before),
        schema=SCHEMA,
    )


def test_nothing_changes_where_nothing_changes() -> None:
    found = figures(ANGLES)
    assert found["map_change"] == 0
    assert found["smallest_cosine"] == pytest.approx(1)
    assert not refuses(found, max_drop=0)


def test_a_relevant_item_that_falls_behind_costs_its_attribute_alone() -> None:
    """Neck ranks 1, 2, 3, of which 1 and 3 agree; afterwards 2, 1, 3."""
    found = figures([[0.0, 0.2, 0.1, 0.3], ANGLES[1]])
    before, after = (1 / 1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert found["attributes"]["neck"]["map"] == pytest.approx(100 * after)
    assert found["attributes"]["neck"]["map_change"] == pytest.approx(100 * (after - before))
    assert found["attributes"]["hem"] == {"map": 100.0, "map_change": 0.0}
    assert found["map"] == pytest.approx(100 * (after + 1) / 2)
    assert found["map_change"] == pytest.approx(100 * (after - before) / 2)
    assert found["smallest_cosine"] == pytest.approx(np.cos(0.1))
    assert "MAP 79.17 (-12.50; neck -25.00), smallest cosine 0.9950" in quantisation_text(found)


def test_the_gate_refuses_more_than_it_allows() -> None:
    found = figures([[0.0, 0.2, 0.1, 0.3], ANGLES[1]])
    assert refuses(found, max_drop=12.4)
    assert not refuses(found, max_drop=12.6)
