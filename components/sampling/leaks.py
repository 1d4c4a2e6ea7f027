"""The leak report: what lies in more than one split although it is related."""

from typing import Any

import pandas as pd
import pyarrow as pa

from components import tables
from components.attributes import AttributeSchema
from components.params import SplitParams
from components.sampling.items import item_counts
from components.sampling.relations import NEAR_DUPLICATE
from components.sampling.roles import keys, unanswered
from components.sampling.splits import SPLITS, Assignment

SAME_IMAGE = "same_image"
ASKS_AND_ANSWERS = "query and gallery"


def find_leaks(splits: pa.Table, related: pd.DataFrame, images: pa.Table) -> pa.Table:
    """Returns `tables.LEAKS`, sorted: every set of related images in more than one split.

    There is a row per image and split, never one per pair. A set's unit is the smallest image
    number that is related to it, whether or not that image has labels. Kinds do not repeat what
    another says: same_image is one image with labels in several splits; identical_file and group
    need two images; near_duplicate needs two images of different content. `related` is from
    `related_images`; catalog rows give the paths.
    """
    placed = splits.select(["image", "split"]).to_pandas().drop_duplicates(ignore_index=True)
    order = placed["split"].map({name: place for place, name in enumerate(SPLITS)})
    same_image = placed["image"].rename(SAME_IMAGE)
    of_image = related.loc[placed["image"]].reset_index(drop=True)
    parts = [_of_kind(placed, same_image, [order])]
    for kind in related:
        differing = of_image["identical_file"] if kind == NEAR_DUPLICATE else same_image
        parts.append(_of_kind(placed, of_image[kind], [order, differing]))
    paths = images.select(["image", "path"]).to_pandas().set_index("image")["path"]
    leaks = pd.concat(parts).assign(path=lambda rows: rows["image"].map(paths))
    leaks = leaks.sort_values(["kind", "unit", "image", "split"])[tables.LEAKS.names]
    return pa.Table.from_pandas(leaks, schema=tables.LEAKS, preserve_index=False)


def _of_kind(placed: pd.DataFrame, unit: pd.Series, differing: list[pd.Series]) -> pd.DataFrame:
    """Returns the rows of units that do not have the same of anything that is to differ."""
    leaks = pd.Series(True, placed.index)
    for column in differing:
        by_unit = column.groupby(unit)
        leaks &= by_unit.transform("min") != by_unit.transform("max")
    return placed.assign(kind=str(unit.name), unit=unit)[leaks]


def report_of(
    assigned: Assignment,
    leaks: pa.Table,
    *,
    images: pa.Table,
    params: SplitParams,
    schema: AttributeSchema,
) -> dict[str, Any]:
    """Returns what `report.json` holds: sizes of the splits, leaks and unanswerable queries.

    Counts are of distinct images and of labels. Leaks are counted for each kind that was looked
    for: near_duplicate is left out where `split.near_duplicates` is ignore. Unanswerable queries
    are images, counted once per split and attribute. Where there are items, `items` counts them.
    """
    items = item_counts(assigned.splits, images, schema=schema)
    return {
        "method": params.method,
        "roles": params.roles,
        "near_duplicate_distance": params.searched_distance,
        "splits": _sizes(assigned.splits),
        "num_labels_without_split": assigned.num_without_split,
        "leaks": _leaks_by_kind(leaks, is_searched=params.searched_distance is not None),
        "unanswerable": _by_attribute(unanswerable_of(assigned), schema),
        **({"items": items, "num_held_out_items": assigned.num_held_out_items} if items else {}),
    }


def unanswerable_of(assigned: Assignment) -> pa.Table:
    """Returns the labels that ask, or would have asked, in vain: `tables.UNANSWERABLE`.

    Those of the assignment where roles decide, and where every image asks those that do so in vain.
    """
    splits, of_roles = assigned.splits.to_pandas(), assigned.unanswerable
    within = ["split", "attribute"]
    all_ask = keys(splits[splits["exclusion_group"].notna()], within)
    by_role = ~keys(of_roles.to_pandas(), within).isin(all_ask)
    found = splits.loc[unanswered(splits), tables.UNANSWERABLE.names]
    in_vain = pa.Table.from_pandas(found, tables.UNANSWERABLE, preserve_index=False)
    return pa.concat_tables([of_roles.filter(pa.array(by_role)), in_vain])


def _sizes(splits: pa.Table) -> dict[str, dict[str, dict[str, int]]]:
    frame = splits.to_pandas()
    frame["role"] = frame["role"].where(frame["exclusion_group"].isna(), ASKS_AND_ANSWERS)
    images = frame.groupby(["split", "role"])["image"]
    counts = images.agg(num_images="nunique", num_labels="size").to_dict("index")
    sizes: dict[str, dict[str, dict[str, int]]] = {split: {} for split in SPLITS}
    for (split, role), size in counts.items():
        sizes[split][role] = size
    return sizes


def _leaks_by_kind(leaks: pa.Table, *, is_searched: bool) -> dict[str, dict[str, int]]:
    kinds = [SAME_IMAGE, "identical_file", "group", *([NEAR_DUPLICATE] if is_searched else [])]
    counts = (
        leaks.to_pandas()
        .groupby("kind")
        .agg(num_units=("unit", "nunique"), num_images=("image", "nunique"))
    )
    return counts.reindex(kinds, fill_value=0).to_dict("index")


def _by_attribute(unanswerable: pa.Table, schema: AttributeSchema) -> dict[str, int]:
    queries = unanswerable.to_pandas().drop_duplicates(["image", "attribute", "split"])
    counts = queries["attribute"].value_counts().sort_index()
    return {schema.names[attribute]: int(number) for attribute, number in counts.items()}
