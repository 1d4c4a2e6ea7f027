"""Random positions of labels and units, spread evenly within what they are to be balanced by."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_ANY_ITEM = -1  # the value of all items


def spread_units(
    frame: pd.DataFrame, among: "pd.Series[bool]", *, identity: int, rng: np.random.Generator
) -> "pd.Series[float]":
    """Returns for each unit of some labels a position as `spread` does, by its rarest label.

    All items are one value: an item is its unit's alone, and would be the rarest of each.
    """
    value = frame["value"].where(frame["attribute"] != identity, _ANY_ITEM)
    labels = frame.assign(value=value)
    frequency = labels.groupby(["attribute", "value"])["image"].transform("size")
    sampled = labels.assign(frequency=frequency)[among]
    rarest = sampled.sort_values(["frequency", "attribute", "value"]).drop_duplicates("unit")
    rarest = rarest.sort_values("unit")
    position = spread(rarest[["attribute", "value"]], rng=rng)
    return pd.Series(position, index=rarest["unit"].to_numpy())


def spread(strata: pd.DataFrame, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a random position in [0, 1) per row, spread evenly within every stratum.

    Rows are shuffled within their stratum and take successive steps of the golden ratio, so that
    any share of [0, 1) holds that share of each stratum to within a row or two. Rows of the same
    values are one stratum. The result depends on the order of the rows.
    """
    shuffled = strata.assign(order=rng.permutation(len(strata)))
    order = shuffled.reset_index(drop=True).sort_values([*strata.columns, "order"]).index
    position = np.empty(len(strata))
    position[order] = (rng.random() + np.arange(len(strata)) * _GOLDEN_RATIO) % 1
    return position
