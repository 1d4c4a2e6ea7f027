"""Tags: the value that an image has most likely, named by the nearest prototype.

Shape letters: n images, V values of an attribute, D embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from components.prototypes.prototypes import ValueVectors

UNCALIBRATED = 0.1
"""The temperature where no image tells a better one."""

_LOWEST, _HIGHEST = 0.005, 2.0  # temperatures; cosines lie in [-1, 1]
_NUM_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Tags:
    """The two most likely values of an attribute for each image.

    Attributes:
        value_n: place of the most likely value.
        confidence_n: its probability.
        second_n: place of the second; -1 where one value alone has a prototype.
        second_confidence_n: its probability; 0 without one.
    """

    value_n: NDArray[np.int64]
    confidence_n: NDArray[np.float32]
    second_n: NDArray[np.int64]
    second_confidence_n: NDArray[np.float32]


def tag(vectors_nD: NDArray[np.floating], found: ValueVectors, temperature: float) -> Tags:
    """Returns the tags of embedded images.

    The probability of a value is the softmax, over the values with a prototype, of the cosines with
    them divided by the temperature. Equal ones come in the order of the values.

    Args:
        vectors_nD: unit embeddings for the attribute.
        found: its prototypes, of one value at least.
        temperature: `fit_temperature`.
    """
    share_nV = softmax(_logits(vectors_nD, found, temperature), axis=1)
    order_n2 = np.argsort(-share_nV, axis=1, kind="stable")[:, :2]
    rows = np.arange(len(share_nV))
    has_second = share_nV.shape[1] - len(found.missing) > 1
    second_n = order_n2[:, 1] if has_second else np.full(len(rows), -1)
    return Tags(
        value_n=order_n2[:, 0],
        confidence_n=share_nV[rows, order_n2[:, 0]].astype(np.float32),
        second_n=second_n,
        second_confidence_n=(share_nV[rows, second_n] * has_second).astype(np.float32),
    )


def fit_temperature(
    vectors_nD: NDArray[np.floating], has_nV: NDArray[np.bool_], found: ValueVectors
) -> float:
    """Returns the temperature at which probabilities are most honest on held-out images.

    It minimises the mean of -log of the probability of an image's values, between 0.005 and 2.
    `UNCALIBRATED` where no image has a value with a prototype. Source: Guo et al., On calibration
    of modern neural networks, ICML 2017.

    Args:
        vectors_nD: unit embeddings for the attribute.
        has_nV: which values each image has; images without a label do not count.
        found: its prototypes.
    """
    known_nV = has_nV & ~np.isnan(found.vectors_VD).any(axis=1)
    counting = known_nV.any(axis=1)
    if not counting.any():
        return UNCALIBRATED
    cosines_nV = _logits(vectors_nD[counting], found, 1.0)
    wrong_nV = np.where(known_nV[counting], 0, -np.inf)

    def loss(log_temperature: float) -> float:
        log_share_nV = log_softmax(cosines_nV / np.exp(log_temperature), axis=1)
        return -float(logsumexp(log_share_nV + wrong_nV, axis=1).mean())

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def calibration_error(confidence_n: NDArray[np.floating], is_right_n: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error in [0, 1]: 0 where 80 % of those at 0.8 are right.

    The mean over 15 equally wide bins of confidence of the difference between their share of right
    ones and their mean confidence, weighted by their number. Source: Guo et al., ICML 2017.
    """
    bin_n = np.minimum((confidence_n * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    surplus = np.bincount(bin_n, is_right_n - confidence_n.astype(np.float64), minlength=_NUM_BINS)
    return float(np.abs(surplus).sum() / len(confidence_n))


def _logits(
    vectors_nD: NDArray[np.floating], found: ValueVectors, temperature: float
) -> NDArray[np.float64]:
    """Returns cosines over the temperature [n, V]; -inf for a value without a prototype."""
    cosines_nV = vectors_nD.astype(np.float64) @ found.vectors_VD.T.astype(np.float64)
    return np.where(np.isnan(cosines_nV), -np.inf, cosines_nV / temperature)
