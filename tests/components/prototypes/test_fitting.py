"""Weights and calibrations of one network's attributes, fitted together."""

import numpy as np

from components.evaluation.manipulation_task import LabelledEmbeddings, ManipulationTask
from components.evaluation.manipulation_weights import fit_weights
from components.prototypes.fitting import fit
from components.prototypes.prototypes import ValueVectors
from components.prototypes.tags import UNCALIBRATED, calibrate


def test_what_is_fitted_is_what_its_parts_fit() -> None:
    """A third attribute has no label anywhere."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(40, 3, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    labels = [np.eye(4, dtype=bool)[rng.integers(4, size=40)] for _ in range(2)]
    labels.append(np.zeros((40, 4), bool))
    held_out = LabelledEmbeddings(embeddings_nND=embeddings, labels=labels, images_n=np.arange(40))
    prototypes = [
        ValueVectors(
            values=("a", "b", "c", "d"),
            vectors_VD=np.eye(6, dtype=np.float32)[:4],
            num_images_V=np.ones(4, np.int64),
            spread_V=np.zeros(4, np.float32),
        )
    ] * 3
    weights, calibrations = fit(held_out, prototypes)
    task = ManipulationTask(held_out, [found.vectors_VD for found in prototypes])
    np.testing.assert_allclose(weights, fit_weights(task, task.ask(held_out)), atol=6e-4)
    expected = [calibrate(embeddings[:, n], labels[n], prototypes[n]) for n in range(2)]
    np.testing.assert_allclose(calibrations[:2], expected, atol=6e-4)
    assert calibrations[2] == UNCALIBRATED


def test_nothing_held_out_gives_what_changes_nothing() -> None:
    nothing = LabelledEmbeddings(
        embeddings_nND=np.empty((0, 1, 4), np.float32),
        labels=[np.empty((0, 2), bool)],
        images_n=np.empty(0, np.int64),
    )
    values = ValueVectors(
        values=("a", "b"),
        vectors_VD=np.eye(4, dtype=np.float32)[:2],
        num_images_V=np.ones(2, np.int64),
        spread_V=np.zeros(2, np.float32),
    )
    assert fit(nothing, [values]) == ([1.0], [UNCALIBRATED])
