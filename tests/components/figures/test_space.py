"""Embeddings in the plane: neighbours stay neighbours, and a seed gives the same."""

import numpy as np
import pytest

from components.figures.space import MIN_POINTS, project, subsample


def clusters(num_each: int) -> np.ndarray:
    """Returns three tight clusters of unit vectors, one after the other."""
    rng = np.random.default_rng(0)
    centres = np.eye(8)[:3].repeat(num_each, axis=0)
    vectors = centres + 0.05 * rng.normal(size=centres.shape)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_clusters_stay_together():
    points = project(clusters(20))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 20 == np.arange(60) // 20).all()


def test_the_same_seed_gives_the_same_points():
    np.testing.assert_array_equal(project(clusters(5)), project(clusters(5)))


@pytest.mark.parametrize("num_points", [MIN_POINTS, 7])
def test_few_points_are_enough(num_points):
    assert np.isfinite(project(clusters(3)[:num_points])).all()


def test_a_subsample_is_drawn_once_each_and_seeded():
    assert subsample(5, limit=5).tolist() == [0, 1, 2, 3, 4]
    drawn = subsample(1000, limit=50)
    assert len({*drawn.tolist()}) == 50
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() > 500
    assert drawn.tolist() == subsample(1000, limit=50).tolist()
    assert drawn.tolist() != subsample(1000, limit=50, seed=1).tolist()
