"""What a data set holds, in numbers: of a catalog, or of labels that were not ingested."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import pandas as pd
import pyarrow as pa

from components.datasets.labelled import LabelledImages
from components.tables import Catalog

_LABEL = ["image", "attribute", "value", "split", "role"]
_SPLITS = ("train", "valid", "test")
_ROLES = ("query", "gallery")

Rows = Iterable[tuple[str, str, str]]  # of tables.QUARANTINE


@dataclass(frozen=True, kw_only=True)
class AttributeDescription:
    """An attribute and how often its values occur.

    Attributes:
        name: of the attribute.
        num_images: images with a label of it.
        num_labels: its labels; an image may have several values.
        labels_per_value: labels of each value, in the order of the schema; some may have none.
    """

    name: str
    num_images: int
    num_labels: int
    labels_per_value: Mapping[str, int]

    @property
    def median_labels(self) -> float:
        """Labels per value, the median over the values."""
        return median(self.labels_per_value.values())

    @property
    def most_frequent(self) -> list[tuple[str, int]]:
        """Values with their labels, the most frequent first, of as many in the schema's order."""
        return sorted(self.labels_per_value.items(), key=lambda item: -item[1])


@dataclass(frozen=True, kw_only=True)
class RoleDescription:
    """Images and labels that the data set gives a role; None: those of the split without one."""

    role: str | None
    num_images: int
    num_labels: int


@dataclass(frozen=True, kw_only=True)
class SplitDescription:
    """Images and labels that the data set itself gives a split.

    Attributes:
        split: train, valid or test; None for those that it gives none.
        num_images: of the split; the same image may be in others, too.
        num_labels: different labels of the split.
        roles: query, gallery and those without a role; empty where the split has no roles.
    """

    split: str | None
    num_images: int
    num_labels: int
    roles: tuple[RoleDescription, ...]


@dataclass(frozen=True, kw_only=True)
class TripletsDescription:
    """Triplets that the data set publishes for a split and an attribute."""

    split: str
    attribute: str
    num_triplets: int


@dataclass(frozen=True, kw_only=True)
class QuarantinedRow:
    """An image or label that cannot be used, why, and which stage found it (ingest, preprocess)."""

    path: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a data set holds.

    Attributes:
        dataset: its name.
        num_images: images with labels.
        num_labels: different labels (image, attribute, value).
        num_groups: groups, such as products, that the images belong to.
        num_grouped_images: images that belong to one.
        attributes: in the order of the schema.
        splits: those of the data set itself; empty where it gives none.
        triplets: that the data set publishes; empty where it publishes none.
        left_out: how many rows of the files carry nothing, by what they are.
        quarantine_counts: rows of `quarantine` by stage and reason, the most frequent first.
        quarantine: all rows, in the order of their tables.
    """

    dataset: str
    num_images: int
    num_labels: int
    num_groups: int
    num_grouped_images: int
    attributes: tuple[AttributeDescription, ...]
    splits: tuple[SplitDescription, ...]
    triplets: tuple[TripletsDescription, ...]
    left_out: Mapping[str, int]
    quarantine_counts: Mapping[str, Mapping[str, int]]
    quarantine: tuple[QuarantinedRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as plain values, under the names of the attributes."""
        return asdict(self)


def describe_catalog(catalog: Catalog, *, undecodable: pa.Table | None = None) -> Description:
    """Returns what a catalog holds.

    Args:
        catalog: its tables.
        undecodable: `tables.QUARANTINE` of the stage `preprocess`, where that has run.
    """
    labels = catalog.labels.to_pandas()
    names = [attribute.name for attribute in catalog.schema.attributes]
    values_of = {attribute.name: attribute.values for attribute in catalog.schema.attributes}
    pairs = zip(labels["attribute"], labels["value"], strict=True)
    labels["value"] = [values_of[names[attribute]][value] for attribute, value in pairs]
    labels["attribute"] = [names[attribute] for attribute in labels["attribute"]]
    triplets = catalog.triplets.group_by(["split", "attribute"], use_threads=False)
    counts = triplets.aggregate([([], "count_all")]).to_pylist()
    quarantine = {"ingest": _rows(catalog.quarantine), "preprocess": _rows(undecodable)}
    return _describe(
        catalog.schema.dataset,
        labels,
        num_images=catalog.images.num_rows,
        values_of=values_of,
        groups=catalog.images["group"].to_pandas(),
        triplets={(x["split"], names[x["attribute"]]): x["count_all"] for x in counts},
        left_out=catalog.left_out,
        quarantine=quarantine,
    )


def describe_labels(labelled: LabelledImages) -> Description:
    """Returns what the label files of a data set hold; images are not looked at."""
    labels = pd.DataFrame(labelled.labels, columns=_LABEL)
    seen: dict[str, set[str]] = {name: set() for name in labelled.values_of}
    for label in labelled.labels:
        seen.setdefault(label.attribute, set()).add(label.value)
    values_of = {
        name: tuple(dict.fromkeys([*labelled.values_of.get(name, ()), *sorted(values)]))
        for name, values in seen.items()
        if values or labelled.values_of.get(name)
    }
    images = labels["image"].drop_duplicates()
    return _describe(
        labelled.dataset,
        labels,
        num_images=len(images),
        values_of=values_of,
        groups=images.map(labelled.groups.get),
        triplets={key: len(rows) for key, rows in labelled.triplets.rows.items()},
        left_out=labelled.left_out,
        quarantine={"ingest": labelled.unusable},
    )


def _describe(
    dataset: str,
    labels: pd.DataFrame,
    *,
    num_images: int,
    values_of: Mapping[str, Iterable[str]],
    groups: "pd.Series[Any]",
    triplets: Mapping[tuple[str, str], int],
    left_out: Mapping[str, int],
    quarantine: Mapping[str, Rows],
) -> Description:
    """Returns the description of labels by name; groups hold one or None per image."""
    different = labels[_LABEL[:3]].drop_duplicates()
    rows = tuple(
        QuarantinedRow(path=path, stage=stage, reason=reason, detail=detail)
        for stage, of_stage in quarantine.items()
        for path, reason, detail in of_stage
    )
    return Description(
        dataset=dataset,
        num_images=num_images,
        num_labels=len(different),
        num_groups=int(groups.nunique()),
        num_grouped_images=int(groups.notna().sum()),
        attributes=tuple(
            _attribute(name, different[different["attribute"] == name], values)
            for name, values in values_of.items()
        ),
        splits=_splits(labels),
        triplets=tuple(
            TripletsDescription(split=split, attribute=attribute, num_triplets=number)
            for (split, attribute), number in triplets.items()
        ),
        left_out=dict(left_out),
        quarantine_counts=_counts(rows),
        quarantine=rows,
    )


def _attribute(name: str, labels: pd.DataFrame, values: Iterable[str]) -> AttributeDescription:
    counts = labels["value"].value_counts().to_dict()
    return AttributeDescription(
        name=name,
        num_images=int(labels["image"].nunique()),
        num_labels=len(labels),
        labels_per_value={value: int(counts.get(value, 0)) for value in values},
    )


def _splits(labels: pd.DataFrame) -> tuple[SplitDescription, ...]:
    parts = list(_parts(labels, "split", _SPLITS))
    if all(split is None for split, _ in parts):
        return ()
    return tuple(
        SplitDescription(split=split, roles=_roles(of_split), **_sizes(of_split))
        for split, of_split in parts
    )


def _roles(labels: pd.DataFrame) -> tuple[RoleDescription, ...]:
    parts = list(_parts(labels, "role", _ROLES))
    if all(role is None for role, _ in parts):
        return ()
    return tuple(RoleDescription(role=role, **_sizes(of_role)) for role, of_role in parts)


def _parts(
    labels: pd.DataFrame, column: str, order: tuple[str, ...]
) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Yields the rows of each text in a column: the given ones first, those without one last."""
    others = sorted(set(labels[column].dropna()) - set(order))
    for name in (*order, *others):
        if (rows := labels[labels[column] == name]).size:
            yield name, rows
    if (rows := labels[labels[column].isna()]).size:
        yield None, rows


def _sizes(labels: pd.DataFrame) -> dict[str, int]:
    different = labels[_LABEL[:3]].drop_duplicates()
    return {"num_images": int(different["image"].nunique()), "num_labels": len(different)}


def _counts(rows: Iterable[QuarantinedRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.stage, Counter())[row.reason] += 1
    return {stage: dict(of_stage.most_common()) for stage, of_stage in counts.items()}


def _rows(quarantine: pa.Table | None) -> Rows:
    return [] if quarantine is None else [tuple(row.values()) for row in quarantine.to_pylist()]
