"""Random draws that hold their shares within every stratum."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_GOLDEN_RATIO = (5**0.5 - 1) / 2


def spread(strata: pd.DataFrame, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a random position in [0, 1) per row, spread evenly within every stratum.

    Rows are shuffled within their stratum and take successive steps of the golden ratio, so that
    any share of [0, 1) holds that share of each stratum to within a row or two.

    Args:
        strata: rows of the same values are one stratum.
        rng: what is drawn depends on it and on the order of the rows.
    """
    shuffled = strata.assign(order=rng.permutation(len(strata)))
    order = shuffled.reset_index(drop=True).sort_values([*strata.columns, "order"]).index
    position = np.empty(len(strata))
    position[order] = (rng.random() + np.arange(len(strata)) * _GOLDEN_RATIO) % 1
    return position
