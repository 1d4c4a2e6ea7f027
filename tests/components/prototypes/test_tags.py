"""Tags of images, their calibration, and how it is measured."""

from dataclasses import replace

import numpy as np
import pytest

from components.prototypes.prototypes import Calibration, ValueVectors
from components.prototypes.tags import UNCALIBRATED, calibrate, calibration_error, tag


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
    found = tag(np.array([[0.6, 0.8, 0], [0, 0, 1]], np.float32), AXES, UNCALIBRATED)
    assert found.value_n.tolist() == [1, 3]
    assert found.second_n.tolist() == [0, 0]  # of equal ones, the first
    exponents = np.exp([6, 8, 0])
    np.testing.assert_allclose(found.confidence_n[0], exponents[1] / exponents.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        found.second_confidence_n[0], exponents[0] / exponents.sum(), rtol=1e-5
    )
    np.testing.assert_allclose(found.second_confidence_n[1], 1 / (2 + np.exp(10)), rtol=1e-5)


def test_a_single_value_is_certain_and_has_no_second() -> None:
    found = tag(np.array([[0, -1]], np.float32), values([np.nan, np.nan], [0, 1]), UNCALIBRATED)
    assert (found.value_n[0], found.confidence_n[0]) == (1, 1)
    assert (found.second_n[0], found.second_confidence_n[0]) == (-1, 0)


def test_values_of_many_training_images_are_likelier_by_the_prior() -> None:
    """By hand: logits 6 + log 100 / 2, 8 and 0: the first is ahead by 0.303."""
    often = replace(AXES, num_images_V=np.array([100, 1, 0, 1]))
    vectors = np.array([[0.6, 0.8, 0]], np.float32)
    found = tag(vectors, often, Calibration(temperature=0.1, prior=0.5))
    assert (found.value_n[0], found.second_n[0]) == (0, 1)
    odds = found.confidence_n[0] / found.second_confidence_n[0]
    np.testing.assert_allclose(np.log(odds), 0.5 * np.log(100) - 2, rtol=1e-4)


def drawn(
    temperature: float, *, count: int, seed: int, shares: tuple[float, ...] = (1, 1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings, and values drawn with the probabilities of a temperature and shares."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    share = np.exp(vectors / temperature) * np.array(shares)
    share /= share.sum(axis=1, keepdims=True)
    chosen = (share.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return vectors.astype(np.float32), np.eye(4, dtype=bool)[np.array([0, 1, 3])[chosen]]


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_the_temperature_that_values_were_drawn_with_is_found(temperature: float) -> None:
    vectors, has = drawn(temperature, count=6000, seed=1)
    fitted = calibrate(vectors, has, AXES)
    assert fitted.temperature == pytest.approx(temperature, rel=0.1)
    vectors, has = drawn(temperature, count=6000, seed=2)
    found = tag(vectors, AXES, fitted)
    is_right = has[np.arange(len(has)), found.value_n]
    assert calibration_error(found.confidence_n, is_right) < 0.03
    overconfident = tag(vectors, AXES, fitted._replace(temperature=temperature / 10))
    assert calibration_error(overconfident.confidence_n, is_right) > (
        3 * calibration_error(found.confidence_n, is_right)
    )


@pytest.mark.parametrize("prior", [0.0, 0.5, 1.0])
def test_the_prior_that_values_were_drawn_with_is_found(prior: float) -> None:
    counts = np.array([1000, 10, 0, 100])
    often = replace(AXES, num_images_V=counts)
    shares = tuple(float(count) ** prior for count in counts[[0, 1, 3]])
    vectors, has = drawn(0.3, count=8000, seed=4, shares=shares)
    fitted = calibrate(vectors, has, often)
    assert fitted.prior == pytest.approx(prior, abs=0.06)
    assert fitted.temperature == pytest.approx(0.3, rel=0.1)


def test_images_without_a_value_that_can_be_named_do_not_count() -> None:
    vectors, has = drawn(0.3, count=500, seed=3)
    unlabelled = np.zeros_like(has)
    unnamed = np.zeros_like(has)
    unnamed[:, 2] = True
    more = np.concatenate([has, unlabelled, unnamed])
    assert calibrate(np.tile(vectors, (3, 1)), more, AXES) == pytest.approx(
        calibrate(vectors, has, AXES), rel=1e-6
    )
    assert calibrate(vectors, unnamed, AXES) == UNCALIBRATED


def test_the_calibration_error_by_hand() -> None:
    """Two at 0.9 of which one is right, and two at 0.5 of which one is: half of 0.4."""
    confidence = np.array([0.9, 0.9, 0.5, 0.5])
    is_right = np.array([True, False, True, False])
    assert calibration_error(confidence, is_right) == pytest.approx(0.2)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0
