"""What a data set holds, in numbers: of a catalog, or of labels that were not ingested."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from components.datasets.labelled import LabelledImages, Unusable, seen_values
from components.tables import Catalog

_LABEL = ["image", "attribute", "value", "split", "role"]
_SPLITS = ("train", "valid", "test")
_ROLES = ("query", "gallery")


@dataclass(frozen=True, kw_only=True)
class AttributeDescription:
    """An attribute and the labels of each of its values, in the order of the schema.

    Of an identity, whose values are items, they are not listed: see `ItemsDescription`.
    """

    name: str
    num_images: int
    num_labels: int
    labels_per_value: Mapping[str, int]

    @property
    def most_frequent(self) -> list[tuple[str, int]]:
        """Values and their number of labels, most frequent first; ties in the schema's order."""
        return sorted(self.labels_per_value.items(), key=lambda item: -item[1])


@dataclass(frozen=True, kw_only=True)
class ItemsDescription:
    """Single products, counted: how many items have one image, two, and so on, fewest first."""

    attribute: str
    num_items_by_images: Mapping[int, int]

    @property
    def images_per_item(self) -> list[int]:
        """The number of images of each item, ascending."""
        return [*Counter(self.num_items_by_images).elements()]


@dataclass(frozen=True, kw_only=True)
class RoleDescription:
    """Images and labels with a role (query, gallery) in a split; None: those without one."""

    role: str | None
    num_images: int
    num_labels: int


@dataclass(frozen=True, kw_only=True)
class SplitDescription:
    """Images and different labels that the data set gives a split; None: those without one.

    An image may be in several splits. `roles` is empty where the split has none.
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
        num_images: images with labels.
        num_labels: different labels (image, attribute, value).
        num_groups: groups, such as products, that images belong to.
        attributes: in the order of the schema.
        splits: those of the data set itself; empty where it gives none.
        triplets: those that the data set publishes; often none.
        lookalikes: attributes, and values of one, that differ in case or blanks only, in words.
        left_out: how many rows of the files carry nothing, by what they are.
        quarantine_counts: rows of `quarantine` by stage and reason, the most frequent first.
        items: of the attribute that is an identity; None without one.
        domains: images by domain (street, shop); empty where the data set names none.
    """

    dataset: str
    num_images: int
    num_labels: int
    num_groups: int
    num_grouped_images: int
    attributes: tuple[AttributeDescription, ...]
    splits: tuple[SplitDescription, ...]
    triplets: tuple[TripletsDescription, ...]
    lookalikes: tuple[str, ...]
    left_out: Mapping[str, int]
    quarantine_counts: Mapping[str, Mapping[str, int]]
    quarantine: tuple[QuarantinedRow, ...]
    items: ItemsDescription | None = None
    domains: Mapping[str, int] = field(default_factory=dict)


def describe_catalog(catalog: Catalog, *, undecodable: pa.Table | None = None) -> Description:
    """Returns what a catalog holds, and the quarantine of stage `preprocess` where that ran."""
    labels = catalog.labels.to_pandas()
    names, identity = catalog.schema.names, catalog.schema.identity
    values_of = {x.name: x.values for x in catalog.schema.attributes}
    listed = {
        (place, number): value
        for place, name in enumerate(names)
        for number, value in enumerate(values_of[name])
    }
    pairs = zip(labels["attribute"], labels["value"], strict=True)
    labels["value"] = [listed.get(pair, pair[1]) for pair in pairs]  # an item by its number
    labels["attribute"] = [names[attribute] for attribute in labels["attribute"]]
    triplets = catalog.triplets.group_by(["split", "attribute"], use_threads=False)
    counts = triplets.aggregate([([], "count_all")]).to_pylist()
    unusable = {"ingest": catalog.quarantine, "preprocess": undecodable}
    return _describe(
        catalog.schema.dataset,
        labels,
        num_images=catalog.images.num_rows,
        values_of=values_of,
        identity=None if identity is None else names[identity],
        groups=catalog.images["group"].to_pandas(),
        domains=catalog.images["domain"].drop_null().to_pylist(),
        triplets={(x["split"], names[x["attribute"]]): x["count_all"] for x in counts},
        left_out=catalog.left_out,
        quarantine={
            stage: [tuple(row.values()) for row in found.to_pylist()]
            for stage, found in unusable.items()
            if found is not None
        },
    )


def describe_labels(labelled: LabelledImages) -> Description:
    """Returns what the label files of a data set hold; images are not looked at."""
    labels = pd.DataFrame(labelled.labels, columns=_LABEL)
    seen = seen_values(labelled.labels)
    published = [name for name, values in labelled.values_of.items() if values]
    values_of = {
        name: ()
        if name == labelled.identity
        else list(dict.fromkeys([*labelled.values_of.get(name, ()), *seen.get(name, ())]))
        for name in dict.fromkeys([*published, *seen])
    }
    images = labels["image"].drop_duplicates()
    return _describe(
        labelled.dataset,
        labels,
        num_images=len(images),
        values_of=values_of,
        identity=labelled.identity,
        groups=images.map(labelled.groups.get),
        domains=[labelled.domains[path] for path in images if path in labelled.domains],
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
    identity: str | None,
    groups: "pd.Series[Any]",
    domains: Iterable[str],
    triplets: Mapping[tuple[str, str], int],
    left_out: Mapping[str, int],
    quarantine: Mapping[str, Iterable[Unusable]],
) -> Description:
    """Returns the description of labels by name; groups hold one or None per image.

    Attributes are those of `values_of`, which has no values of the identity.
    """
    different = labels[_LABEL[:3]].drop_duplicates()
    rows = tuple(
        QuarantinedRow(path=path, stage=stage, reason=reason, detail=detail)
        for stage, of_stage in quarantine.items()
        for path, reason, detail in of_stage
    )
    attributes = tuple(
        _attribute(name, different[different["attribute"] == name], values)
        for name, values in values_of.items()
    )
    return Description(
        dataset=dataset,
        num_images=num_images,
        num_labels=len(different),
        num_groups=int(groups.nunique()),
        num_grouped_images=int(groups.notna().sum()),
        attributes=attributes,
        items=_items(identity, different) if identity and identity in values_of else None,
        domains=dict(sorted(Counter(domains).items())),
        splits=tuple(
            SplitDescription(split=split, roles=_roles(of_split), **_sizes(of_split))
            for split, of_split in _parts(labels, "split", _SPLITS)
        ),
        triplets=tuple(
            TripletsDescription(split=split, attribute=attribute, num_triplets=number)
            for (split, attribute), number in triplets.items()
        ),
        lookalikes=(
            *_lookalikes("attributes", {x.name: x.num_labels for x in attributes}),
            *(line for x in attributes for line in _lookalikes(x.name, x.labels_per_value)),
        ),
        left_out=dict(left_out),
        quarantine_counts=_counts(rows),
        quarantine=rows,
    )


def _attribute(name: str, labels: pd.DataFrame, values: Iterable[str]) -> AttributeDescription:
    counts = labels["value"].value_counts()
    return AttributeDescription(
        name=name,
        num_images=int(labels["image"].nunique()),
        num_labels=len(labels),
        labels_per_value={value: int(counts.get(value, 0)) for value in values},
    )


def _items(identity: str, labels: pd.DataFrame) -> ItemsDescription:
    images = labels.loc[labels["attribute"] == identity, "value"].value_counts().tolist()
    return ItemsDescription(
        attribute=identity, num_items_by_images=dict(sorted(Counter(images).items()))
    )


def _lookalikes(what: str, num_labels: Mapping[str, int]) -> Iterator[str]:
    """Yields a line for names with labels that differ in case or blanks only."""
    alike: dict[str, list[str]] = {}
    for name in (name for name, number in num_labels.items() if number):
        alike.setdefault("".join(name.split()).casefold(), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            shown = " and ".join(f"{name!r} ({num_labels[name]:,})" for name in names)
            yield f"{what}: {shown} differ in case or blanks only"


def _roles(labels: pd.DataFrame) -> tuple[RoleDescription, ...]:
    parts = _parts(labels, "role", _ROLES)
    return tuple(RoleDescription(role=role, **_sizes(of_role)) for role, of_role in parts)


def _parts(
    labels: pd.DataFrame, column: str, order: tuple[str, ...]
) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Yields the rows of each name in a column, those without one last; none if none has one."""
    others = sorted(set(labels[column].dropna()) - set(order))
    for name in (*order, *others):
        if (rows := labels[labels[column] == name]).size:
            yield name, rows
    nameless = labels[labels[column].isna()]
    if 0 < len(nameless) < len(labels):
        yield None, nameless


def _sizes(labels: pd.DataFrame) -> dict[str, int]:
    different = labels[_LABEL[:3]].drop_duplicates()
    return {"num_images": int(different["image"].nunique()), "num_labels": len(different)}


def _counts(rows: Iterable[QuarantinedRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.stage, Counter())[row.reason] += 1
    return {stage: dict(of_stage.most_common()) for stage, of_stage in counts.items()}
