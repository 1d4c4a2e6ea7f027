"""Fitted weights of attributes: the minimum that plain loops have, and better hit rates."""

import numpy as np
import pytest
from scipy.optimize import minimize

from components.evaluation.manipulation import hit_rates
from components.evaluation.manipulation_task import LabelledEmbeddings, ManipulationTask
from components.evaluation.manipulation_weights import fit_weights

NUM_VALUES, DIM = 4, 16


def prototypes() -> list[np.ndarray]:
    return [np.eye(DIM, dtype=np.float32)[:NUM_VALUES] for _ in range(3)]


def images(count: int, *, seed: int, noise: tuple[float, ...]) -> LabelledEmbeddings:
    """Images around the axes of their values; the noisier an attribute, the less it tells."""
    rng = np.random.default_rng(seed)
    values_nN = rng.integers(NUM_VALUES, size=(count, len(noise)))
    embeddings = np.eye(DIM)[values_nN]
    embeddings += np.array(noise)[None, :, None] * rng.standard_normal(embeddings.shape)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return LabelledEmbeddings(
        embeddings_nND=embeddings.astype(np.float32),
        labels=[np.eye(NUM_VALUES, dtype=bool)[column] for column in values_nN.T],
        images_n=np.arange(count) + 1000 * seed,
    )


def loops(queries: LabelledEmbeddings, gallery: LabelledEmbeddings) -> tuple[list, list]:
    """Returns of every change the margins to the first 20 others, and its attribute."""
    values = (
        [np.argwhere(x)[:, 1] for x in queries.labels],
        [np.argwhere(x)[:, 1] for x in gallery.labels],
    )
    margins, attributes = [], []
    for query in range(len(queries)):
        for attribute in range(3):
            for value in range(NUM_VALUES):
                target = [values[0][other][query] for other in range(3)]
                if target[attribute] == value:
                    continue
                target[attribute] = value
                vectors = queries.embeddings_nND[query].copy()
                vectors[attribute] = prototypes()[attribute][value]
                terms = np.einsum("nd,gnd->gn", vectors, gallery.embeddings_nND)
                answers = np.all([values[1][n] == target[n] for n in range(3)], axis=0)
                if not answers.any():
                    continue
                scores = terms.sum(axis=1)
                best = np.flatnonzero(answers)[scores[answers].argmax()]
                others = np.flatnonzero(~answers)
                first = others[np.argsort(-scores[others])[:20]]
                margins.append(terms[best] - terms[first])
                attributes.append(attribute)
    return margins, attributes


def test_weights_are_the_minimum_of_the_loss() -> None:
    queries = images(6, seed=1, noise=(0.1, 0.3, 0.6))
    gallery = images(60, seed=2, noise=(0.1, 0.3, 0.6))
    margins, attributes = loops(queries, gallery)
    counts = [attributes.count(attribute) for attribute in range(3)]

    def loss(first: np.ndarray) -> float:
        weights = np.append(first, 3 - first.sum())
        if weights.min() < 0.05:
            return np.inf
        total = sum(
            np.log1p(np.exp(-(each @ weights) / 0.2).sum()) / counts[attribute] / 3
            for each, attribute in zip(margins, attributes, strict=True)
        )
        return total + 0.01 * ((weights - 1) ** 2).sum()

    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000}
    found = minimize(loss, np.ones(2), method="Nelder-Mead", options=options)
    task = ManipulationTask(gallery, prototypes())
    weights = fit_weights(task, task.ask(queries))
    np.testing.assert_allclose(weights, [*found.x, 3 - found.x.sum()], atol=1e-3)


def test_fitted_weights_find_more_where_attributes_differ() -> None:
    """An attribute that is always right and whose cosines are all near 1, beside noisy ones.

    Fitted on some images, measured with others.
    """
    noise = (0.01, 0.4, 0.4)
    common = 2 * np.eye(DIM, dtype=np.float32)[-1]
    squeezed = [prototypes()[0] + common, *prototypes()[1:]]
    squeezed[0] /= np.linalg.norm(squeezed[0], axis=1, keepdims=True)

    def some(count: int, seed: int) -> LabelledEmbeddings:
        made = images(count, seed=seed, noise=noise)
        made.embeddings_nND[:, 0] += common
        made.embeddings_nND[:, 0] /= np.linalg.norm(made.embeddings_nND[:, 0], axis=1)[:, None]
        return made

    task = ManipulationTask(some(400, 3), squeezed)
    weights = fit_weights(task, task.ask(some(60, 4)))
    assert weights.mean() == pytest.approx(1)
    assert weights[0] > 1.5 > weights[1:].max()
    held_out = ManipulationTask(some(400, 5), squeezed)
    asked = [*held_out.ask(some(60, 6))]
    before, after = (hit_rates(held_out, asked, w, k=5).mean() for w in (np.ones(3), weights))
    assert after > before + 0.05


def test_without_a_change_that_has_an_answer_all_weigh_the_same() -> None:
    alone = images(1, seed=7, noise=(0.1, 0.1, 0.1))
    task = ManipulationTask(images(1, seed=8, noise=(0.1, 0.1, 0.1)), prototypes())
    assert fit_weights(task, task.ask(alone)).tolist() == [1, 1, 1]


def test_few_items_are_enough() -> None:
    gallery = images(5, seed=9, noise=(0.1, 0.1, 0.1))
    task = ManipulationTask(gallery, prototypes())
    weights = fit_weights(task, task.ask(gallery))
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1)
