"""Weights of the attributes for attribute manipulation, fitted on a split that nothing trained on.

Shape letters are those of `manipulation_task.py`, and: H items that a change could take instead.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from components.evaluation.manipulation_task import Asked, ManipulationTask

_NUM_OTHERS = 20  # of a change: the items that come first and do not answer it
_TEMPERATURE = 0.2  # of similarities: a difference of 0.6 is nearly certain
_PENALTY = 0.01  # of squared distances from 1
_BOUNDS = (0.05, 20.0)  # no attribute is forgotten, and none drowns the others


def fit_weights(task: ManipulationTask, asked: Iterable[Asked]) -> NDArray[np.float64]:
    """Returns the weight of each attribute [N]: a mean of 1, more where it should count for more.

    For every change, with equal weights, take the answer that comes first and the 20 other items
    that come first. The weights minimise the mean logistic loss of the answer against those items,
    log(1 + sum over h of exp(-(s - s_h) / 0.2)), plus 0.01 times their squared distance from 1,
    among those with a mean of 1: where answers are behind, the loss alone would shrink them all.
    Both are convex, so that there is one minimum and no seed. Every attribute counts as much as
    every other, however many changes it has, as in the mean over attributes that is reported; an
    attribute that is never changed has only what the others give it. Where no change has an answer,
    all weights are 1.

    Args:
        task: the gallery.
        asked: queries that it has asked.
    """
    num_attributes = len(task.num_values)
    margins: list[NDArray[np.float32]] = []
    attributes: list[NDArray[np.int64]] = []
    for one in asked:
        if len(one.value_C):
            margins.append(_margins(task, one))
            attributes.append(one.attribute_C)
    if not margins:
        return np.ones(num_attributes)
    margins_CHN = np.concatenate(margins).astype(np.float64) / _TEMPERATURE
    attribute_C = np.concatenate(attributes)
    share_C = 1 / np.bincount(attribute_C)[attribute_C]
    share_C /= share_C.sum()

    def loss(weights_N: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # log(1 + sum of exp) and its gradient, whose terms never overflow
        negative_CH = -(margins_CHN @ weights_N)
        most_C = negative_CH.max(axis=1).clip(0)
        terms_CH = np.exp(negative_CH - most_C[:, None])
        total_C = np.exp(-most_C) + terms_CH.sum(axis=1)
        losses_C = most_C + np.log(total_C)
        slope_CH = -(share_C / total_C)[:, None] * terms_CH
        distance_N = weights_N - 1
        value = share_C @ losses_C + _PENALTY * distance_N @ distance_N
        gradient_N = np.einsum("ch,chn->n", slope_CH, margins_CHN) + 2 * _PENALTY * distance_N
        return float(value), gradient_N

    start_N = np.ones(num_attributes)
    found = minimize(
        loss,
        start_N,
        jac=True,
        method="SLSQP",
        bounds=[_BOUNDS] * num_attributes,
        constraints={
            "type": "eq",
            "fun": lambda weights_N: weights_N.mean() - 1,
            "jac": lambda weights_N: np.full_like(weights_N, 1 / num_attributes),
        },
        options={"ftol": 1e-10},
    )
    fitted_N: NDArray[np.float64] = found.x / found.x.mean()
    return fitted_N


def _margins(task: ManipulationTask, one: Asked) -> NDArray[np.float32]:
    """Returns by how much the answer is nearer than the others, in each attribute [C, H, N].

    Where there are fewer others, the last are as far away as can be: they cost nothing.
    """
    cosines_GN = one.cosines_NG.numpy().T
    prototype_CG = task.prototype_cosines_VG[torch.from_numpy(one.value_C)].numpy()
    same_G = cosines_GN.sum(axis=1)
    scores_CG = same_G - cosines_GN[:, one.attribute_C].T + prototype_CG
    answers_CG = np.zeros(scores_CG.shape, bool)
    answers_CG[one.change_P, one.item_P] = True
    num_changes, num_items = scores_CG.shape
    rows = np.arange(num_changes)
    best_C = np.where(answers_CG, scores_CG, -np.inf).argmax(axis=1)
    others_CG = np.where(answers_CG, -np.inf, scores_CG)
    if one.itself is not None:
        others_CG[:, one.itself] = -np.inf
    num_others = min(_NUM_OTHERS, num_items)
    other_CH = np.argpartition(-others_CG, num_others - 1, axis=1)[:, :num_others]
    margins = np.full((num_changes, _NUM_OTHERS, cosines_GN.shape[1]), 2, np.float32)
    found_CHN = cosines_GN[best_C][:, None] - cosines_GN[other_CH]
    found_CHN[rows, :, one.attribute_C] = (
        prototype_CG[rows, best_C][:, None] - prototype_CG[rows[:, None], other_CH]
    )
    is_other_CH = np.isfinite(others_CG[rows[:, None], other_CH])
    margins[:, :num_others] = np.where(is_other_CH[..., None], found_CHN, 2)
    return margins
