"""Which held-out labels ask and which answer.

In the frames of this module, a row is a label; labels of one `asker` have one role.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.sampling.strata import spread

_ROLE_OF = {"street": "query", "shop": "gallery"}


def roles_by_domain(frame: pd.DataFrame, identity: int) -> pd.Series:
    """Returns the role of each label of the identity: street images ask, others answer.

    None for labels of other attributes, and for all where the items are of one domain only or of
    none: it then decides nothing. An image of no domain answers: a shop has it, or might have.

    Args:
        frame: columns attribute and domain.
        identity: position of the attribute whose values are items.
    """
    is_item = frame["attribute"] == identity
    decides = set(_ROLE_OF) <= set(frame.loc[is_item, "domain"])
    roles = frame["domain"].map(_ROLE_OF).fillna("gallery").astype(object)
    return roles.where(is_item & decides, None)


def fill_roles(
    frame: pd.DataFrame, before: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> None:
    """Gives each label without a role that of its asker, and samples one where that has none."""
    by = ["split", "attribute", "asker"]
    of_asker = before.sort_values([*by, "role"]).drop_duplicates(by).set_index(by)["role"]
    inherited = pd.Series(of_asker.reindex(keys(frame, by)).to_numpy(), frame.index)
    frame["role"] = frame["role"].fillna(inherited)
    frame.loc[frame["split"] == "train", "role"] = "train"
    is_open = frame["role"].isna()
    frame.loc[is_open, "role"] = sample_roles(frame[is_open], query_share=query_share, rng=rng)


def sample_roles(
    held_out: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> NDArray[np.object_]:
    """Returns query or gallery for each held-out label, stratified by attribute and value.

    Labels (columns split, attribute, value and asker) of one asker, split and attribute have one
    role: a copy of a query would be its first hit. `query_share` is a share of such askers.
    """
    by = ["split", "attribute", "asker"]
    askers = held_out.sort_values([*by, "value"]).drop_duplicates(by)
    is_query = spread(askers[["split", "attribute", "value"]], rng=rng) < query_share
    sampled = np.where(is_query, "query", "gallery").astype(object)
    role = pd.Series(sampled, keys(askers, by))
    return np.asarray(role.loc[keys(held_out, by)], object)


def unanswerable(labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns for each label whether it is a query that its gallery cannot answer.

    The gallery (same split and attribute) must have one of the values that the image has of the
    attribute. Labels of a split and attribute that are equal in column `bound` keep one role: all
    of them are unanswerable where one is.
    """
    cell = ["split", "attribute", "value"]
    shared = keys(labels, cell).isin(keys(labels[labels["role"] == "gallery"], cell))
    within = [labels["split"], labels["attribute"]]
    by_image = pd.Series(shared, labels.index).groupby([*within, labels["image"]])
    by_bound = by_image.transform("any").groupby([*within, labels["bound"]])
    return np.asarray((labels["role"] == "query") & ~by_bound.transform("all"))


def unanswered(splits: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns for each label whether it asks although no image outside its group could answer.

    That is, where every image asks: none of the values that it has of the attribute is one of an
    image of the same split and another `exclusion_group`.
    """
    cell = ["split", "attribute", "value"]
    num_groups = splits.groupby(cell)["exclusion_group"].nunique()
    is_shared = pd.Series((num_groups > 1).reindex(keys(splits, cell)).to_numpy(), splits.index)
    by_image = is_shared.groupby([splits["split"], splits["attribute"], splits["image"]])
    return np.asarray(splits["exclusion_group"].notna() & ~by_image.transform("any"))


def keys(frame: pd.DataFrame, columns: list[str]) -> pd.MultiIndex:
    """Returns some columns as one key per row."""
    return pd.MultiIndex.from_frame(frame[columns])
