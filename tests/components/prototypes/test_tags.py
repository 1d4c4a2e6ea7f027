"""Tags of images, their calibration, and how it is measured."""

import numpy as np
import pytest

from components.prototypes.prototypes import ValueVectors
from components.prototypes.tags import UNCALIBRATED, calibration_error, fit_temperature, tag


def values(*vectors: list[float]) -> ValueVectors:
    count = len(vectors)
    return ValueVectors(
        values=tuple(f"v{place}" for place in range(count)),
        vectors_VD=np.array(vectors, np.float32),
        num_images_V=np.ones(count, np.int64),
        spread_V=np.zeros(count, np.float32),
    )


AXES = values([1, 0, 0], [0, 1, 0], [np.nan] * 3, [0, 0, 1])


def test_the_nearest_prototype_names_the_value() -> None:
    """By hand: logits 6, 8 and 0, of which softmax gives 0.119, 0.880 and 0.0003."""
    found = tag(np.array([[0.6, 0.8, 0], [0, 0, 1]], np.float32), AXES, 0.1)
    assert found.value_n.tolist() == [1, 3]
    assert found.second_n.tolist() == [0, 0]  # of equal ones, the first
    exponents = np.exp([6, 8, 0])
    np.testing.assert_allclose(found.confidence_n[0], exponents[1] / exponents.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        found.second_confidence_n[0], exponents[0] / exponents.sum(), rtol=1e-5
    )
    np.testing.assert_allclose(found.second_confidence_n[1], 1 / (2 + np.exp(10)), rtol=1e-5)


def test_a_single_value_is_certain_and_has_no_second() -> None:
    found = tag(np.array([[0, -1]], np.float32), values([np.nan, np.nan], [0, 1]), 0.1)
    assert (found.value_n[0], found.confidence_n[0]) == (1, 1)
    assert (found.second_n[0], found.second_confidence_n[0]) == (-1, 0)


def drawn(temperature: float, *, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings, and values drawn with the probabilities of a temperature."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    share = np.exp(vectors / temperature)
    share /= share.sum(axis=1, keepdims=True)
    chosen = (share.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return vectors.astype(np.float32), np.eye(4, dtype=bool)[np.array([0, 1, 3])[chosen]]


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_the_temperature_that_values_were_drawn_with_is_found(temperature: float) -> None:
    vectors, has = drawn(temperature, count=6000, seed=1)
    fitted = fit_temperature(vectors, has, AXES)
    assert fitted == pytest.approx(temperature, rel=0.1)
    vectors, has = drawn(temperature, count=6000, seed=2)
    found = tag(vectors, AXES, fitted)
    is_right = has[np.arange(len(has)), found.value_n]
    assert calibration_error(found.confidence_n, is_right) < 0.03
    overconfident = tag(vectors, AXES, fitted / 10)
    assert calibration_error(overconfident.confidence_n, is_right) > (
        3 * calibration_error(found.confidence_n, is_right)
    )


def test_images_without_a_value_that_can_be_named_do_not_count() -> None:
    vectors, has = drawn(0.3, count=500, seed=3)
    unlabelled = np.zeros_like(has)
    unnamed = np.zeros_like(has)
    unnamed[:, 2] = True
    more = np.concatenate([has, unlabelled, unnamed])
    assert fit_temperature(np.tile(vectors, (3, 1)), more, AXES) == pytest.approx(
        fit_temperature(vectors, has, AXES), rel=1e-6
    )
    assert fit_temperature(vectors, unnamed, AXES) == UNCALIBRATED


def test_the_calibration_error_by_hand() -> None:
    """Two at 0.9 of which one is right, and two at 0.5 of which one is: half of 0.4."""
    confidence = np.array([0.9, 0.9, 0.5, 0.5])
    is_right = np.array([True, False, True, False])
    assert calibration_error(confidence, is_right) == pytest.approx(0.2)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0
