"""Attention over a picture: bright where the weight is."""

import numpy as np
import pytest

from components.figures.pictures import attention_overlay

PICTURE = np.full((32, 32, 3), 128, np.uint8)


def brightness(weights) -> np.ndarray:
    """Returns the mean brightness of the quarters of the overlaid picture [2, 2]."""
    pixels = attention_overlay(PICTURE, np.array(weights, np.float32))
    assert pixels.shape == PICTURE.shape
    assert pixels.dtype == np.uint8
    return pixels.reshape(2, 16, 2, 16, 3).mean(axis=(1, 3, 4))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_quarter_with_the_weight_is_brightest(sign):
    quarters = brightness([[0, 0], [0.01 * sign, 0]])
    assert quarters.argmax() == 2
    assert quarters[1, 0] > quarters[0, 1] + 40


def test_even_attention_is_bright_all_over_and_none_is_dark():
    even, none = brightness(np.full((2, 2), 0.25)), brightness(np.zeros((2, 2)))
    assert np.ptp(even) == np.ptp(none) == 0
    assert even[0, 0] > none[0, 0] + 60


def test_the_picture_shows_through():
    halves = PICTURE.copy()
    halves[:, :16] = 0
    pixels = attention_overlay(halves, np.ones((3, 3))).astype(int)
    assert pixels[:, 16:].mean() > pixels[:, :16].mean() + 40
