"""Operation `describe`: what a catalog holds, or a data set that was not ingested."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Annotated

from rich.box import SIMPLE_HEAD
from rich.table import Table
from typer import Option

from components import tables
from components.datasets.description import (
    AttributeDescription,
    Description,
    ItemsDescription,
    describe_catalog,
    describe_labels,
)
from components.datasets.read import READERS, read_labels
from components.errors import HemlineError
from pipelines.shell import options
from pipelines.shell.reporting import console, plain, print_json, table

_NUM_SHOWN = 20  # rows of the quarantine
_FORMATS = ", ".join(["published", *READERS])

Catalog = Annotated[Path | None, Option(help=f"Catalog folder (default: {options.CATALOG}).")]
Store = Annotated[Path | None, Option(help="Image store (default: beside the catalog).")]
DataFormat = Annotated[str | None, Option(help=f"Format of a data set: {_FORMATS}.")]
Root = Annotated[Path | None, Option(help="Folder of that data set; images may be missing.")]
Dataset = Annotated[str | None, Option(help="Name of the data set, for --data-format published.")]
OneAttribute = Annotated[str | None, Option("--attribute", help="List its values instead.")]
All = Annotated[bool, Option("--all", help=f"List the whole quarantine, not {_NUM_SHOWN} rows.")]

_table = partial(table, box=SIMPLE_HEAD)


def describe(
    *,
    catalog: Catalog = None,
    store: Store = None,
    data_format: DataFormat = None,
    root: Root = None,
    dataset: Dataset = None,
    attribute: OneAttribute = None,
    whole_quarantine: All = False,
    output_format: options.Format = "table",
) -> None:
    """Print images, attributes, values, published splits and triplets, and what was left out."""
    as_json = output_format == "json"
    if as_json and attribute:
        raise HemlineError("--format json holds every attribute: give it or --attribute, not both")
    if root is None and data_format is None and dataset is None:
        described = _of_catalog(catalog or options.CATALOG, store)
    elif catalog or store:
        raise HemlineError(
            "--data-format, --root and --dataset describe a data set on disk, --catalog and "
            "--store one that was ingested: give one or the other"
        )
    else:
        described = _of_labels(root, data_format=data_format, dataset=dataset)
    if as_json:
        print_json(asdict(described))
    elif attribute:
        console.print(_values_table(_find(described, attribute), described.items))
    else:
        _print(described, whole_quarantine=whole_quarantine)


def _of_catalog(catalog: Path, store: Path | None) -> Description:
    if not catalog.is_dir():
        raise HemlineError(
            f"no catalog {catalog}: `dvc repro ingest` makes it, or --data-format and --root "
            "describe a data set that was not ingested"
        )
    beside = store or catalog.parent / options.STORE.name
    undecodable = None
    if store or (beside / tables.QUARANTINE_FILE).exists():
        undecodable = tables.read_quarantine(beside)
    return describe_catalog(tables.read_catalog(catalog), undecodable=undecodable)


def _of_labels(root: Path | None, *, data_format: str | None, dataset: str | None) -> Description:
    if root is None or data_format is None:
        raise HemlineError("a data set on disk needs both --data-format and --root")
    if data_format not in ("published", *READERS):
        raise HemlineError(f"--data-format: no format {data_format!r}; there are {_FORMATS}")
    if (data_format == "published") != (dataset is not None):
        raise HemlineError(
            "--data-format published needs --dataset, such as FashionAI, DARN or DeepFashion; the "
            f"other formats take none (got --data-format {data_format}, --dataset {dataset})"
        )
    return describe_labels(read_labels(root, data_format=data_format, dataset=dataset))


def _find(described: Description, name: str) -> AttributeDescription:
    by_name = {attribute.name: attribute for attribute in described.attributes}
    if name not in by_name:
        known = ", ".join(by_name)
        raise HemlineError(f"--attribute: {described.dataset} has no {name!r}; it has {known}")
    return by_name[name]


def _print(described: Description, *, whole_quarantine: bool) -> None:
    num_values = sum(len(_per_value(described, x)) for x in described.attributes)
    groups = f"{described.num_groups:,} groups of {described.num_grouped_images:,} images"
    console.print(
        plain(
            f"{described.dataset}: {described.num_images:,} images, {described.num_labels:,} "
            f"labels of {len(described.attributes)} attributes with {num_values:,} values; "
            f"{groups if described.num_groups else 'no groups'}"
        )
    )
    if described.items:
        console.print(plain(_items_line(described.items)))
    if described.domains:
        counts = ", ".join(f"{name} {number:,}" for name, number in described.domains.items())
        console.print(plain(f"images by domain: {counts}"))
    console.print(_attributes_table(described), _frequent_table(described))
    console.print(_splits_table(described) if described.splits else "no published split or roles")
    rows = [(x.split, x.attribute, f"{x.num_triplets:,}") for x in described.triplets]
    triplets = _table("published triplets", ["split", "attribute"], ["triplets"], rows=rows)
    console.print(triplets if rows else "no published triplets")
    for line in described.lookalikes:
        console.print(plain(line))
    for what, number in described.left_out.items():
        console.print(plain(f"left out: {number:,} {what}"))
    if described.quarantine:
        _print_quarantine(described, num_shown=None if whole_quarantine else _NUM_SHOWN)
    else:
        console.print("nothing in quarantine")


def _print_quarantine(described: Description, *, num_shown: int | None) -> None:
    counts = [
        (stage, reason, f"{number:,}")
        for stage, reasons in described.quarantine_counts.items()
        for reason, number in reasons.items()
    ]
    console.print(_table("quarantine", ["stage", "reason"], ["rows"], rows=counts))
    rows = [(row.path, row.reason, row.detail) for row in described.quarantine[:num_shown]]
    console.print(_table("rows in quarantine", ["path", "reason", "detail"], rows=rows))
    if len(rows) < len(described.quarantine):
        console.print(
            f"the first {len(rows)} of {len(described.quarantine):,} rows; --all lists them all"
        )


def _attributes_table(described: Description) -> Table:
    rows = []
    for attribute in described.attributes:
        counts = _per_value(described, attribute)
        sizes = (len(counts), attribute.num_images, attribute.num_labels, min(counts))
        middle = f"{median(counts):,.1f}".removesuffix(".0")
        rows.append([attribute.name, *(f"{x:,}" for x in sizes), middle, f"{max(counts):,}"])
    title = "labels per attribute; fewest, median and most per value"
    numbers = ["values", "images", "labels", "fewest", "median", "most"]
    return _table(title, ["attribute"], numbers, rows=rows)


def _frequent_table(described: Description) -> Table:
    rows = [
        (x.name, ", ".join(f"{value} ({number:,})" for value, number in x.most_frequent[:3]))
        for x in described.attributes
        if x.labels_per_value
    ]
    return _table("most frequent values, and their labels", ["attribute", "values"], rows=rows)


def _per_value(described: Description, attribute: AttributeDescription) -> Sequence[int]:
    """Returns the labels of each value, or the images of each item."""
    items = described.items
    if items and items.attribute == attribute.name:
        return items.images_per_item
    return [*attribute.labels_per_value.values()]


def _items_line(items: ItemsDescription) -> str:
    images = items.images_per_item
    return (
        f"{items.attribute}: {len(images):,} items, {mean(images):.1f} images each; "
        f"{items.num_items_by_images.get(1, 0):,} with one image"
    )


def _values_table(attribute: AttributeDescription, items: ItemsDescription | None) -> Table:
    if items and items.attribute == attribute.name:
        counts = [(f"{x:,}", f"{number:,}") for x, number in items.num_items_by_images.items()]
        return _table(f"items of {attribute.name}", [], ["images each", "items"], rows=counts)
    num_labels = max(attribute.num_labels, 1)
    rows = [
        (value, f"{number:,}", f"{100 * number / num_labels:.2f}")
        for value, number in attribute.labels_per_value.items()
    ]
    title = f"labels per value of {attribute.name}"
    return _table(title, ["value"], ["labels", "percent"], rows=rows)


def _splits_table(described: Description) -> Table:
    rows = []
    for split in described.splits:
        name = split.split or "(none)"
        rows.append((name, "all", f"{split.num_images:,}", f"{split.num_labels:,}"))
        for role in split.roles:
            shown = role.role or "(none)"
            rows.append(("", shown, f"{role.num_images:,}", f"{role.num_labels:,}"))
    title = "published splits and roles"
    return _table(title, ["split", "role"], ["images", "labels"], rows=rows)
