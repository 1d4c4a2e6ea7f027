"""Which labels train, validate and test, and which of the latter two ask and which answer."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError
from components.params import SplitParams
from components.sampling.relations import NEAR_DUPLICATE, units

SPLITS = ("train", "valid", "test")
_LABEL = ["image", "attribute", "value"]
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Splits and roles of labels.

    Attributes:
        splits: `tables.SPLITS`.
        unanswerable: `tables.UNANSWERABLE`: labels that were to be queries when assigned.
        num_without_split: labels that a published split leaves out.
    """

    splits: pa.Table
    unanswerable: pa.Table
    num_without_split: int = 0


def split_labels(
    images: pa.Table,
    labels: pa.Table,
    related: pd.DataFrame,
    *,
    params: SplitParams,
    previous: Assignment | None = None,
) -> Assignment:
    """Returns split and role of every label, by `split.method`.

    Images of one file or one group stay together, near-duplicates where the params say so.

    Args:
        images: catalog rows of the images to use.
        labels: their labels.
        related: `related_images` of them.
        params: section `split`.
        previous: an assignment of the same images and params, to be continued by method random.

    Raises:
        HemlineError: the images are too few: no training image, or no query to measure with; or
            a column is to decide, and does not for every label.
    """
    together = params.near_duplicates == "together"
    unit = units(related if together else related.drop(columns=NEAR_DUPLICATE, errors="ignore"))
    if params.method == "random":
        assigned = assign_splits(labels, unit, params=params, previous=previous)
        remedy = "raise split.{split}_share or label more images"
    else:
        given = labels.filter(pc.is_in(labels["split"], pa.array(SPLITS)))
        if params.method == "column":
            _check_all_have_a_split(images, labels)
        assigned = replace(
            take_splits(given, unit, params=params),
            num_without_split=labels.num_rows - given.num_rows,
        )
        remedy = (
            f"split.method {params.method} takes the data set's own split: extend that, or set "
            "split.method random"
        )
    _check_usable(assigned.splits, remedy=remedy)
    return assigned


def assign_splits(
    labels: pa.Table, unit: pd.Series, *, params: SplitParams, previous: Assignment | None
) -> Assignment:
    """Returns split and role of every label, sampled at random.

    Splits are stratified by a unit's rarest label, roles by split, attribute and value. A query
    whose values no gallery item of its attribute has becomes a gallery item.

    Labels of the previous assignment keep split and role, unless they are queries that lost their
    answers. A new label goes where its unit is: to the split that has most of the unit's labels (of
    as many, the alphabetically first), and there to the role that the unit has for the attribute
    (of both, gallery). What is left is sampled, stratified among itself.

    Shares are those of units: of all of them for the splits, of an attribute's within valid and
    within test for queries. In the previous assignment, -1 stands for an attribute or value that is
    gone; `unit` is that of each image, from `units`.
    """
    earlier = previous.splits if previous else tables.SPLITS.empty_table()
    is_here = pc.is_in(earlier["image"], pa.array(unit.index))
    before = _frame(earlier.filter(is_here), unit, tables.SPLITS.names)
    frame = _frame(labels, unit, _LABEL).merge(
        before[[*_LABEL, "split", "role"]].astype({"split": object, "role": object}),
        on=_LABEL,
        how="left",
    )
    is_new = frame["split"].isna()
    first_new = int(frame.loc[is_new, "image"].min()) if is_new.any() else 0
    # with the seed alone, each of many small additions would be sampled the same way
    rng = np.random.default_rng([params.seed, first_new])
    frame["split"] = frame["split"].fillna(frame["unit"].map(_main_split(before)))
    shares = (params.train_share, params.valid_share, params.test_share)
    _fill_splits(frame, shares=shares, rng=rng)
    _fill_roles(frame, before, query_share=params.query_share, rng=rng)
    # an old query does not lose its role to a new image of its unit
    lost = _unanswerable(frame.assign(bound=np.where(is_new, frame["unit"], ~frame["image"])))
    frame.loc[lost, "role"] = "gallery"
    listed = tables.UNANSWERABLE.names
    already = previous.unanswerable if previous else tables.UNANSWERABLE.empty_table()
    was_lost = _keys(frame, listed).isin(_keys(already.to_pandas(), listed))
    return Assignment(
        splits=_table(frame, tables.SPLITS),
        unanswerable=_table(frame[lost | was_lost], tables.UNANSWERABLE),
    )


def take_splits(labels: pa.Table, unit: pd.Series, *, params: SplitParams) -> Assignment:
    """Returns the splits that the data set gives its labels, with its roles where it gives them.

    Held-out labels without a role are gallery where the data set gives roles to others of their
    split and attribute, and have their role sampled as in `assign_splits` where it gives none.
    Given queries that their gallery cannot answer are left out, so that the gallery stays as given.
    """
    frame = _frame(labels, unit, tables.SPLITS.names)
    frame.loc[frame["split"] == "train", "role"] = "train"
    frame = frame.drop_duplicates(ignore_index=True)
    within = [frame["split"], frame["attribute"]]
    is_given = frame["role"].notna().groupby(within).transform("any")
    frame.loc[is_given & frame["role"].isna(), "role"] = "gallery"
    rng, query_share = np.random.default_rng(params.seed), params.query_share
    frame.loc[~is_given, "role"] = _sample_roles(frame[~is_given], query_share=query_share, rng=rng)
    lost = _unanswerable(frame.assign(bound=np.where(is_given, frame["image"], frame["unit"])))
    frame.loc[lost & ~is_given, "role"] = "gallery"
    return Assignment(
        splits=_table(frame[~(lost & is_given)], tables.SPLITS),
        unanswerable=_table(frame[lost], tables.UNANSWERABLE),
    )


def _frame(labels: pa.Table, unit: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Returns the different labels in an order of their own, with the unit of their image."""
    frame = labels.select(columns).to_pandas().drop_duplicates()
    frame = frame.sort_values(columns, ignore_index=True)
    return frame.assign(unit=unit.loc[frame["image"]].to_numpy())


def _main_split(before: pd.DataFrame) -> pd.Series:
    """Returns for each unit the split that most of its labels are in."""
    counts = before.groupby(["unit", "split"], as_index=False).agg(num_labels=("image", "size"))
    most_first = counts.sort_values(["num_labels", "split"], ascending=[False, True])
    return most_first.drop_duplicates("unit").set_index("unit")["split"]


def _fill_splits(
    frame: pd.DataFrame, *, shares: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Samples a split for each unit without one."""
    frequency = frame.groupby(["attribute", "value"])["image"].transform("size")
    sampled = frame.assign(frequency=frequency)[frame["split"].isna()]
    rarest = sampled.sort_values(["frequency", "attribute", "value"]).drop_duplicates("unit")
    rarest = rarest.sort_values("unit")
    position = _spread(rarest[["attribute", "value"]], rng=rng)
    chosen = np.searchsorted(np.cumsum(shares)[:-1], position, side="right")
    split_of_unit = pd.Series(np.array(SPLITS, object)[chosen], index=rarest["unit"])
    frame["split"] = frame["split"].fillna(frame["unit"].map(split_of_unit))


def _fill_roles(
    frame: pd.DataFrame, before: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> None:
    """Gives each label without a role that of its unit, and samples one where that has none."""
    keys = ["split", "attribute", "unit"]
    of_unit = before.sort_values([*keys, "role"]).drop_duplicates(keys).set_index(keys)["role"]
    inherited = pd.Series(of_unit.reindex(_keys(frame, keys)).to_numpy(), frame.index)
    frame["role"] = frame["role"].fillna(inherited)
    frame.loc[frame["split"] == "train", "role"] = "train"
    is_open = frame["role"].isna()
    frame.loc[is_open, "role"] = _sample_roles(frame[is_open], query_share=query_share, rng=rng)


def _sample_roles(
    held_out: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> NDArray[np.object_]:
    """Returns query or gallery for each held-out label, stratified by attribute and value.

    Labels (columns split, attribute, value and unit) of one unit, split and attribute have one
    role: a copy of a query would be its first hit. `query_share` is a share of such units.
    """
    keys = ["split", "attribute", "unit"]
    askers = held_out.sort_values([*keys, "value"]).drop_duplicates(keys)
    is_query = _spread(askers[["split", "attribute", "value"]], rng=rng) < query_share
    sampled = np.where(is_query, "query", "gallery").astype(object)
    role = pd.Series(sampled, _keys(askers, keys))
    return np.asarray(role.loc[_keys(held_out, keys)], object)


def _unanswerable(labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns for each label whether it is a query that its gallery cannot answer.

    The gallery (same split and attribute) must have one of the values that the image has of the
    attribute. Labels of a split and attribute that are equal in column `bound` keep one role: all
    of them are unanswerable where one is.
    """
    cell = ["split", "attribute", "value"]
    shared = _keys(labels, cell).isin(_keys(labels[labels["role"] == "gallery"], cell))
    within = [labels["split"], labels["attribute"]]
    by_image = pd.Series(shared, labels.index).groupby([*within, labels["image"]])
    by_bound = by_image.transform("any").groupby([*within, labels["bound"]])
    return np.asarray((labels["role"] == "query") & ~by_bound.transform("all"))


def _spread(strata: pd.DataFrame, *, rng: np.random.Generator) -> NDArray[np.float64]:
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


def _keys(frame: pd.DataFrame, columns: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[columns])


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(frame[schema.names], preserve_index=False).cast(schema)


def _check_all_have_a_split(images: pa.Table, labels: pa.Table) -> None:
    frame = labels.to_pandas()
    without = frame[~frame["split"].isin(SPLITS)]
    if without.empty:
        return
    paths = images.select(["image", "path"]).to_pandas().set_index("image")["path"]
    raise HemlineError(
        f"{len(without)} of {len(frame)} labels have no split, the first of them that of "
        f"{paths[without['image'].min()]}; split.method column needs {', '.join(SPLITS)} for "
        "each: complete the column, or set split.method random"
    )


def _check_usable(splits: pa.Table, *, remedy: str) -> None:
    rows = splits.group_by(["split", "role"]).aggregate([]).to_pylist()
    roles = {(row["split"], row["role"]) for row in rows}
    for split, role in (("train", "train"), ("valid", "query"), ("test", "query")):
        if (split, role) not in roles:
            raise HemlineError(
                f"{len(splits['image'].unique())} images are too few: split {split} got no "
                f"{'image' if role == 'train' else 'query that its gallery could answer'}; "
                f"{remedy.format(split=split)}"
            )
