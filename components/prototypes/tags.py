"""Tags: the value that an image has most likely, named by the nearest prototype.

Shape letters: n images, V values of an attribute, D embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

from components.prototypes.prototypes import Calibration, ValueVectors

UNCALIBRATED = Calibration(temperature=0.1, prior=0.0)
"""Where no image tells a better one."""

# cosines lie in [-1, 1]; a prior of 1 is that of the training images
_TEMPERATURES, _PRIORS = (0.005, 2.0), (0.0, 1.5)
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


def tag(vectors_nD: NDArray[np.floating], found: ValueVectors, calibration: Calibration) -> Tags:
    """Returns the tags of embedded images.

    Probabilities are the softmax of `logits`. Equal ones come in the order of the values.

    Args:
        vectors_nD: unit embeddings for the attribute.
        found: its prototypes, of one value at least.
        calibration: `calibrate`.
    """
    share_nV = softmax(logits(vectors_nD, found, calibration), axis=1)
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


def logits(
    vectors_nD: NDArray[np.floating], found: ValueVectors, calibration: Calibration
) -> NDArray[np.float64]:
    """Returns logarithms of how likely each value is, up to a number of each image [n, V].

    The cosine with the prototype over the temperature, plus the prior times the logarithm of how
    many training images have the value; -inf for a value without a prototype.
    """
    cosines_nV = vectors_nD.astype(np.float64) @ found.vectors_VD.T.astype(np.float64)
    prior_V = calibration.prior * _log_counts(found)
    return np.where(np.isnan(cosines_nV), -np.inf, cosines_nV / calibration.temperature + prior_V)


def calibrate(
    vectors_nD: NDArray[np.floating], has_nV: NDArray[np.bool_], found: ValueVectors
) -> Calibration:
    """Returns temperature and prior at which probabilities are most honest on held-out images.

    They minimise the mean of -log of the probability of an image's values, within 0.005 to 2 and 0
    to 1.5. `UNCALIBRATED` where no image has a value with a prototype. Sources: the temperature,
    Guo et al., On calibration of modern neural networks, ICML 2017; the prior, Menon et al.,
    Long-tail learning via logit adjustment, ICLR 2021.

    Args:
        vectors_nD: unit embeddings for the attribute.
        has_nV: which values each image has; images without a label do not count.
        found: its prototypes.
    """
    known_nV = has_nV & ~np.isnan(found.vectors_VD).any(axis=1)
    counting = known_nV.any(axis=1)
    if not counting.any():
        return UNCALIBRATED
    cosines_nV = logits(vectors_nD[counting], found, Calibration(temperature=1.0, prior=0.0))
    wrong_nV = np.where(known_nV[counting], 0, -np.inf)
    log_counts_V = _log_counts(found)

    def loss(fitted: NDArray[np.float64]) -> float:
        log_temperature, prior = fitted
        scaled_nV = cosines_nV / np.exp(log_temperature) + prior * log_counts_V
        return -float(logsumexp(log_softmax(scaled_nV, axis=1) + wrong_nV, axis=1).mean())

    best = minimize(
        loss,
        np.array([np.log(UNCALIBRATED.temperature), UNCALIBRATED.prior]),
        method="L-BFGS-B",
        bounds=[tuple(np.log(_TEMPERATURES)), _PRIORS],
    )
    return Calibration(temperature=float(np.exp(best.x[0])), prior=float(best.x[1]))


def calibration_error(confidence_n: NDArray[np.floating], is_right_n: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error in [0, 1]: 0 where 80 % of those at 0.8 are right.

    The mean over 15 equally wide bins of confidence of the difference between their share of right
    ones and their mean confidence, weighted by their number. Source: Guo et al., ICML 2017.
    """
    bin_n = np.minimum((confidence_n * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    surplus = np.bincount(bin_n, is_right_n - confidence_n.astype(np.float64), minlength=_NUM_BINS)
    return float(np.abs(surplus).sum() / len(confidence_n))


def _log_counts(found: ValueVectors) -> NDArray[np.float64]:
    """Returns the logarithm of each value's number of training images [V]; 0 where it has none."""
    return np.log(np.maximum(found.num_images_V, 1))
