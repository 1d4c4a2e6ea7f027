"""What the ranking of a change is compared with: a random ranking, and the best order there is.

Shape letters are those of `manipulation.py`, and: L numbers of a target's values, from none to all.
"""

import numpy as np
from numpy.typing import NDArray

from components.evaluation.manipulation_task import Asked, ManipulationTask
from components.evaluation.metrics import share_without

KS = (1, 5, 10, 20, 50)
"""Numbers of items looked at."""


class ItemsByLevel:
    """Counts the items of a gallery by how many of a target's values they agree with."""

    def __init__(self, task: ManipulationTask) -> None:
        self._task = task
        self._value_P, self._item_P = np.nonzero(task.has_VG)

    def of(self, one: Asked) -> NDArray[np.int64]:
        """Returns how many items agree with 0, 1, ... of the values of each target [C, L]."""
        num_levels = one.num_labelled + 1
        num_values, num_attributes = len(self._task.attribute_V), len(self._task.num_values)
        rows_N = np.arange(num_attributes)[:, None] * num_levels
        items_NL = np.bincount(
            (rows_N + one.agreeing_NG).ravel(), minlength=num_attributes * num_levels
        ).reshape(num_attributes, num_levels)
        level_P = one.agreeing_NG[self._task.attribute_V[self._value_P], self._item_P]
        having_VL = np.bincount(
            self._value_P * num_levels + level_P, minlength=num_values * num_levels
        ).reshape(num_values, num_levels)
        having_CL = having_VL[one.value_C]
        # those that have the value agree with one more
        return items_NL[one.attribute_C] - having_CL + np.roll(having_CL, 1, axis=1)


def ideal_dcg(items_CL: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns DCG@k of the best order of the items [C, K]."""
    num_values = items_CL.shape[1] - 1
    discount = np.concatenate([[0], (1 / np.log2(np.arange(max(KS)) + 2)).cumsum()])
    upto_CL = items_CL[:, ::-1].cumsum(axis=1)
    gains_L = np.arange(num_values, -1, -1) / num_values
    ideal = []
    for k in KS:
        within_CL = discount[np.minimum(upto_CL, k)]
        ideal.append((np.diff(within_CL, axis=1, prepend=0) * gains_L).sum(axis=1))
    return np.stack(ideal, axis=1)


def random_dcg(items_CL: NDArray[np.int64], num_items: int) -> NDArray[np.float64]:
    """Returns the expected DCG@k of a random ranking [C, K]: every rank has the mean gain."""
    num_values = items_CL.shape[1] - 1
    mean_gain_C = items_CL @ (np.arange(num_values + 1) / num_values) / num_items
    discount = (1 / np.log2(np.arange(max(KS)) + 2)).cumsum()
    return mean_gain_C[:, None] * discount[np.minimum(KS, num_items) - 1]


def random_hit(num_items: int, num_answers_C: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the expected hit@k of a random ranking [C, K], hypergeometric."""
    taken = np.minimum(KS, num_items)
    return 1 - share_without(np.full_like(taken, num_items), num_answers_C[:, None], taken)
