"""Which labels train, validate and test, and which of the latter two ask and which answer."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components import tables
from components.errors import HemlineError
from components.params import SplitParams
from components.sampling.items import NO_IDENTITY, item_links
from components.sampling.relations import NEAR_DUPLICATE, units
from components.sampling.roles import (
    fill_roles,
    keys,
    roles_by_domain,
    sample_roles,
    unanswerable,
    unanswered,
)
from components.sampling.strata import spread_units

SPLITS = ("train", "valid", "test")
_LABEL = ["image", "attribute", "value"]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Splits and roles of labels.

    Attributes:
        splits: `tables.SPLITS`; roles are those of `split.roles held_out` also where it is another.
        unanswerable: `tables.UNANSWERABLE`: labels that were to be queries when assigned.
        num_without_split: labels that a published split leaves out.
        num_held_out_items: training items that validate, where a published split has no valid.
    """

    splits: pa.Table
    unanswerable: pa.Table
    num_without_split: int = 0
    num_held_out_items: int = 0


def split_labels(
    images: pa.Table,
    labels: pa.Table,
    related: pd.DataFrame,
    *,
    params: SplitParams,
    identity: int | None = None,
    previous: Assignment | None = None,
) -> Assignment:
    """Returns split and role of every label, by `split.method`.

    Images of one file, one group or one item stay together, near-duplicates where the params say
    so. With `split.roles leave_one_out`, held-out labels whose role neither the data set nor the
    domain decides get an exclusion group: the images that would have had one role.

    Args:
        images: catalog rows of the images to use.
        labels: their labels.
        related: `related_images` of them.
        params: section `split`.
        identity: position of the attribute whose values are items, where there is one.
        previous: an assignment of the same images and params, to be continued by method random.

    Raises:
        HemlineError: the images are too few: no training image, or no query to measure with; or
            a column is to decide, and does not for every label.
    """
    together = params.near_duplicates == "together"
    kinds = related if together else related.drop(columns=NEAR_DUPLICATE, errors="ignore")
    asked = NO_IDENTITY if identity is None else identity
    about = pd.DataFrame(
        {
            "unit": units(kinds, item_links(labels, asked)),
            "copy": related["identical_file"],
            "domain": images.select(["image", "domain"]).to_pandas().set_index("image")["domain"],
        }
    )
    if params.method == "random":
        assigned = assign_splits(labels, about, params=params, identity=asked, previous=previous)
        remedy = "raise split.{split}_share or label more images"
    else:
        given = labels.filter(pc.is_in(labels["split"], pa.array(SPLITS)))
        if params.method == "column":
            _check_all_have_a_split(images, labels)
        assigned = replace(
            take_splits(given, about, params=params, identity=asked),
            num_without_split=labels.num_rows - given.num_rows,
        )
        remedy = (
            f"split.method {params.method} takes the data set's own split: extend that, or set "
            "split.method random"
        )
    _check_usable(assigned, remedy=remedy)
    return assigned


def assign_splits(
    labels: pa.Table,
    about: pd.DataFrame,
    *,
    params: SplitParams,
    identity: int,
    previous: Assignment | None,
) -> Assignment:
    """Returns split and role of every label, sampled at random.

    Splits are stratified by a unit's rarest label, roles by split, attribute and value. A query
    whose values no gallery item of its attribute has becomes a gallery item.

    Items are no strata. Their street images ask and their shop images answer, where there are both;
    such a query stays one, and is listed where its item is not in the gallery. Where there are not,
    roles are sampled for each image within its item: a role for the whole unit would leave every
    query without an answer.

    Labels of the previous assignment keep split and role, unless they are queries that lost their
    answers. A new label goes where its unit is: to the split that has most of the unit's labels (of
    as many, the alphabetically first), and there to the role that the unit has for the attribute
    (of both, gallery). What is left is sampled, stratified among itself.

    Shares are those of units: of all of them for the splits, of an attribute's within valid and
    within test for queries. In the previous assignment, -1 stands for an attribute or value that is
    gone. `about` has for each image its unit, from `units`, the image that it is a copy of, and its
    domain.
    """
    earlier = previous.splits if previous else tables.SPLITS.empty_table()
    is_here = pc.is_in(earlier["image"], pa.array(about.index))
    before = _frame(earlier.filter(is_here), about, tables.LABELS.names, identity)
    frame = _frame(labels, about, _LABEL, identity).merge(
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
    _fill_splits(frame, shares=shares, identity=identity, rng=rng)
    by_domain = roles_by_domain(frame, identity)
    frame["role"] = frame["role"].fillna(by_domain)
    fill_roles(frame, before, query_share=params.query_share, rng=rng)
    # an old query does not lose its role to a new image of its unit
    lost = unanswerable(frame.assign(bound=np.where(is_new, frame["asker"], ~frame["image"])))
    frame.loc[lost & by_domain.isna(), "role"] = "gallery"
    listed = tables.UNANSWERABLE.names
    already = previous.unanswerable if previous else tables.UNANSWERABLE.empty_table()
    was_lost = keys(frame, listed).isin(keys(already.to_pandas(), listed)) & by_domain.isna()
    frame["exclusion_group"] = _groups(frame, by_domain.isna(), params)
    return Assignment(
        splits=_table(frame, tables.SPLITS),
        unanswerable=_table(frame[lost | was_lost], tables.UNANSWERABLE),
    )


def take_splits(
    labels: pa.Table, about: pd.DataFrame, *, params: SplitParams, identity: int
) -> Assignment:
    """Returns the splits that the data set gives its labels, with its roles where it gives them.

    Held-out labels without a role are gallery where the data set gives roles to others of their
    split and attribute, and get their role as in `assign_splits` where it gives none. Given queries
    that their gallery cannot answer are left out, so that the gallery stays as given. Where there
    is no label of valid, `split.valid_share` of the items that only train are held out as valid.
    """
    frame = _frame(labels, about, tables.LABELS.names, identity)
    rng, query_share = np.random.default_rng(params.seed), params.query_share
    num_held_out = _hold_out(frame, share=params.valid_share, identity=identity, rng=rng)
    frame.loc[frame["split"] == "train", "role"] = "train"
    frame = frame.drop_duplicates(ignore_index=True)
    within = [frame["split"], frame["attribute"]]
    is_given = frame["role"].notna().groupby(within).transform("any")
    frame.loc[is_given & frame["role"].isna(), "role"] = "gallery"
    by_domain = roles_by_domain(frame, identity)
    frame["role"] = frame["role"].fillna(by_domain)
    is_open = frame["role"].isna()
    frame.loc[is_open, "role"] = sample_roles(frame[is_open], query_share=query_share, rng=rng)
    lost = unanswerable(frame.assign(bound=np.where(is_open, frame["asker"], frame["image"])))
    frame.loc[lost & is_open, "role"] = "gallery"
    frame["exclusion_group"] = _groups(frame, is_open, params)
    return Assignment(
        splits=_table(frame[~(lost & is_given)], tables.SPLITS),
        unanswerable=_table(frame[lost], tables.UNANSWERABLE),
        num_held_out_items=num_held_out,
    )


def _frame(
    labels: pa.Table, about: pd.DataFrame, columns: list[str], identity: int
) -> pd.DataFrame:
    """Returns the different labels in an order of their own, with what is known of their image.

    Labels of one `asker` have one role: of other attributes than items, the unit's.
    """
    frame = labels.select(columns).to_pandas().drop_duplicates()
    frame = frame.sort_values(columns, ignore_index=True)
    known = about.loc[frame["image"]].reset_index(drop=True)
    asker = known["unit"].where(frame["attribute"] != identity, known["copy"])
    return frame.assign(unit=known["unit"], domain=known["domain"], asker=asker)


def _groups(frame: pd.DataFrame, is_open: pd.Series, params: SplitParams) -> pd.Series:
    """Returns the exclusion group of each label, by its asker; none where its role decides."""
    apart = is_open & (frame["role"] != "train") & (params.roles == "leave_one_out")
    return frame["asker"].astype("Int64").where(apart)


def _main_split(before: pd.DataFrame) -> pd.Series:
    """Returns for each unit the split that most of its labels are in."""
    counts = before.groupby(["unit", "split"], as_index=False).agg(num_labels=("image", "size"))
    most_first = counts.sort_values(["num_labels", "split"], ascending=[False, True])
    return most_first.drop_duplicates("unit").set_index("unit")["split"]


def _fill_splits(
    frame: pd.DataFrame,
    *,
    shares: tuple[float, float, float],
    identity: int,
    rng: np.random.Generator,
) -> None:
    """Samples a split for each unit without one."""
    position = spread_units(frame, frame["split"].isna(), identity=identity, rng=rng)
    chosen = np.searchsorted(np.cumsum(shares)[:-1], position, side="right")
    split_of_unit = pd.Series(np.array(SPLITS, object)[chosen], index=position.index)
    frame["split"] = frame["split"].fillna(frame["unit"].map(split_of_unit))


def _hold_out(frame: pd.DataFrame, *, share: float, identity: int, rng: np.random.Generator) -> int:
    """Moves items of train to a valid that nothing is in; returns how many."""
    is_item, trains = frame["attribute"] == identity, frame["split"] == "train"
    if not is_item.any() or (frame["split"] == "valid").any():
        return 0
    units = set(frame.loc[is_item & trains, "unit"]) - set(frame.loc[~trains, "unit"])
    position = spread_units(frame, frame["unit"].isin(units), identity=identity, rng=rng)
    moved = frame["unit"].isin(position.index[position < share])
    frame.loc[moved, ["split", "role"]] = ["valid", None]
    return int(frame.loc[moved & is_item, "value"].nunique())


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


def _check_usable(assigned: Assignment, *, remedy: str) -> None:
    splits = assigned.splits.to_pandas()
    listed = tables.UNANSWERABLE.names
    all_ask = splits["exclusion_group"].notna()
    role = splits["role"].mask(all_ask, "query")
    is_listed = keys(splits, listed).isin(keys(assigned.unanswerable.to_pandas(), listed))
    asks_in_vain = np.where(all_ask, unanswered(splits), is_listed)
    usable = (role != "query") | ~asks_in_vain
    roles = set(zip(splits.loc[usable, "split"], role[usable], strict=True))
    for split, role in (("train", "train"), ("valid", "query"), ("test", "query")):
        if (split, role) not in roles:
            raise HemlineError(
                f"{len(splits['image'].unique())} images are too few: split {split} got no "
                f"{'image' if role == 'train' else 'query that its gallery could answer'}; "
                f"{remedy.format(split=split)}"
            )
