"""Which images train, validate and test, and which of the latter two ask and which answer."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components import tables
from components.errors import HemlineError

SPLITS = ("train", "valid", "test")
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def assign_splits(
    images: pa.Table,
    labels: pa.Table,
    *,
    shares: tuple[float, float, float],
    query_share: float,
    seed: int,
) -> pa.Table:
    """Returns the splits table: every label with its image's split and its role there.

    Images of identical content (sha256) or of one group stay together, in the split and in the
    role. Splits are stratified by an image's rarest label, roles by split, attribute and value. A
    query whose values no gallery item of its attribute has becomes a gallery item.

    Args:
        images: catalog rows of the images to use.
        labels: their labels.
        shares: of the images, for train, valid and test; they add up to 1.
        query_share: of the labelled images of an attribute within valid and within test.
        seed: of the shuffle.

    Raises:
        HemlineError: the images are too few: no training image, or no query to measure with.
    """
    rng = np.random.default_rng(seed)
    frame = labels.to_pandas()
    unit_of_image = pd.Series(_units(images), index=images["image"].to_numpy())
    frame["unit"] = unit_of_image.loc[frame["image"]].to_numpy()
    frame["split"] = _split_of_label(frame, shares=shares, rng=rng)
    frame["role"] = _roles(frame, query_share=query_share, rng=rng)
    _check_usable(frame)
    table = pa.Table.from_pandas(frame[tables.SPLITS.names], preserve_index=False)
    return table.cast(tables.SPLITS)


def _check_usable(frame: pd.DataFrame) -> None:
    roles = set(zip(frame["split"], frame["role"], strict=True))
    for split, role in (("train", "train"), ("valid", "query"), ("test", "query")):
        if (split, role) not in roles:
            raise HemlineError(
                f"{frame['image'].nunique()} images are too few: split {split} got no "
                f"{'image' if role == 'train' else 'query that its gallery could answer'}; "
                f"raise split.{split}_share or label more images"
            )


def _units(images: pa.Table) -> NDArray[np.int64]:
    """Returns for each image the number of the set of images that must not be torn apart."""
    frame = images.select(["sha256", "group"]).to_pandas()
    num_images = len(frame)
    rows, columns = [], []
    for offset, key in ((num_images, "sha256"), (2 * num_images, "group")):
        codes = pd.factorize(frame[key])[0]
        has_key = codes >= 0
        rows.append(np.flatnonzero(has_key))
        columns.append(codes[has_key] + offset)
    row, column = np.concatenate(rows), np.concatenate(columns)
    edges = coo_array((np.ones(len(row)), (row, column)), shape=(3 * num_images, 3 * num_images))
    return np.asarray(connected_components(edges, directed=False)[1][:num_images], np.int64)


def _split_of_label(
    frame: pd.DataFrame, *, shares: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.object_]:
    frequency = frame.groupby(["attribute", "value"])["image"].transform("size")
    rarest = frame.assign(frequency=frequency).sort_values(["frequency", "attribute", "value"])
    units = rarest.drop_duplicates("unit").sort_values("unit")
    position = _spread(units[["attribute", "value"]], rng=rng)
    chosen = np.searchsorted(np.cumsum(shares)[:-1], position, side="right")
    split_of_unit = pd.Series(np.array(SPLITS, object)[chosen], index=units["unit"])
    return np.asarray(split_of_unit.loc[frame["unit"]])


def _roles(
    frame: pd.DataFrame, *, query_share: float, rng: np.random.Generator
) -> NDArray[np.object_]:
    held_out = frame[frame["split"] != "train"]
    keys = ["split", "attribute", "unit"]
    askers = held_out.sort_values([*keys, "value"]).drop_duplicates(keys)
    is_query = _spread(askers[["split", "attribute", "value"]], rng=rng) < query_share
    role = pd.Series(np.where(is_query, "query", "gallery"), pd.MultiIndex.from_frame(askers[keys]))
    roles = np.full(len(frame), "train", object)
    roles[frame["split"] != "train"] = role.loc[pd.MultiIndex.from_frame(held_out[keys])]
    roles[(roles == "query") & ~_answerable(frame, roles)] = "gallery"
    return roles


def _answerable(frame: pd.DataFrame, roles: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Returns for each label whether the gallery shares a value of its attribute with its image.

    The images of a unit keep one role: where one of them is not answerable, none is.
    """
    value = ["split", "attribute", "value"]
    in_gallery = frame.loc[roles == "gallery", value].drop_duplicates()
    shared = pd.MultiIndex.from_frame(frame[value]).isin(pd.MultiIndex.from_frame(in_gallery))
    of_attribute = [frame["split"], frame["attribute"]]
    by_image = pd.Series(shared, frame.index).groupby([*of_attribute, frame["image"]])
    by_unit = by_image.transform("any").groupby([*of_attribute, frame["unit"]])
    return np.asarray(by_unit.transform("all"))


def _spread(strata: pd.DataFrame, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a random position in [0, 1) per row, spread evenly within every stratum.

    Rows are shuffled within their stratum and take successive steps of the golden ratio, so that
    any share of [0, 1) holds that share of each stratum to within a row or two.
    """
    shuffled = strata.assign(order=rng.permutation(len(strata)))
    order = shuffled.reset_index(drop=True).sort_values([*strata.columns, "order"]).index
    position = np.empty(len(strata))
    position[order] = (rng.random() + np.arange(len(strata)) * _GOLDEN_RATIO) % 1
    return position
