"""Who asks and who answers, which queries have no answer, and samples that keep their shares."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_GOLDEN_RATIO = (5**0.5 - 1) / 2


def sample_roles(
    held_out: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> NDArray[np.object_]:
    """Returns query or gallery for each held-out label, stratified by attribute and value.

    Labels of one unit, split and attribute have one role: a copy of a query would be its first hit.

    Args:
        held_out: columns split, attribute, value and unit.
        query_share: share of the units of a split and attribute.
        rng: random numbers.
    """
    keys = ["split", "attribute", "unit"]
    askers = held_out.sort_values([*keys, "value"]).drop_duplicates(keys)
    is_query = spread(askers[["split", "attribute", "value"]], rng=rng) < query_share
    sampled = np.where(is_query, "query", "gallery").astype(object)
    role = pd.Series(sampled, pd.MultiIndex.from_frame(askers[keys]))
    return np.asarray(role.loc[pd.MultiIndex.from_frame(held_out[keys])], object)


def unanswerable(labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns for each label whether it is a query that its gallery cannot answer.

    The gallery (same split and attribute) must have one of the values that the image has of the
    attribute. Of labels that are bound together all are unanswerable where one of them is.

    Args:
        labels: columns image, attribute, value, split, role, and bound: what keeps one role within
            a split and attribute.
    """
    cell = ["split", "attribute", "value"]
    in_gallery = labels.loc[labels["role"] == "gallery", cell].drop_duplicates()
    shared = pd.MultiIndex.from_frame(labels[cell]).isin(pd.MultiIndex.from_frame(in_gallery))
    within = [labels["split"], labels["attribute"]]
    by_image = pd.Series(shared, labels.index).groupby([*within, labels["image"]])
    by_bound = by_image.transform("any").groupby([*within, labels["bound"]])
    return np.asarray((labels["role"] == "query") & ~by_bound.transform("all"))


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
