"""Operation `describe`: what a catalog holds, or a data set that was not ingested."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from components import tables
from components.datasets.description import (
    AttributeDescription,
    Description,
    describe_catalog,
    describe_labels,
)
from components.datasets.read import READERS, read_labels
from components.errors import HemlineError
from pipelines.shell import options
from pipelines.shell.reporting import console

_NUM_SHOWN = 20  # rows of the quarantine
_FORMATS = ", ".join(["published", *READERS])

Catalog = Annotated[
    Path | None, typer.Option(help=f"Folder of the catalog (default: {options.CATALOG}).")
]
Store = Annotated[
    Path | None, typer.Option(help="Folder of the image store (default: beside the catalog).")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help=f"data.format of a data set on disk: {_FORMATS}."),
]
Root = Annotated[Path | None, typer.Option(help="Folder of that data set; images may be absent.")]
Dataset = Annotated[
    str | None, typer.Option(help="Which data set of the folder, for --format published.")
]
OneAttribute = Annotated[
    str | None, typer.Option("--attribute", help="List all values of this attribute instead.")
]
All = Annotated[
    bool, typer.Option("--all", help=f"List the whole quarantine, not {_NUM_SHOWN} rows.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object, as components.datasets.description.Description documents it.",
    ),
]


def describe(
    *,
    catalog: Catalog = None,
    store: Store = None,
    data_format: Format = None,
    root: Root = None,
    dataset: Dataset = None,
    attribute: OneAttribute = None,
    whole_quarantine: All = False,
    as_json: Json = False,
) -> None:
    """Print images, attributes, values, published splits and triplets, and what was left out."""
    if as_json and attribute:
        raise HemlineError("--json holds every attribute: give --attribute or --json, not both")
    if root is None and data_format is None and dataset is None:
        described = _of_catalog(catalog or options.CATALOG, store)
    elif catalog or store:
        raise HemlineError(
            "--format, --root and --dataset describe a data set on disk, --catalog and --store "
            "one that was ingested: give one or the other"
        )
    else:
        described = _of_labels(root, data_format=data_format, dataset=dataset)
    if as_json:
        print(json.dumps(asdict(described), indent=2))
    elif attribute:
        console.print(_values_table(_find(described, attribute)))
    else:
        _print(described, whole_quarantine=whole_quarantine)


def _of_catalog(catalog: Path, store: Path | None) -> Description:
    if not catalog.is_dir():
        raise HemlineError(
            f"no catalog {catalog}: `dvc repro ingest` makes it, or --format and --root describe "
            "a data set that was not ingested"
        )
    beside = store or catalog.parent / options.STORE.name
    undecodable = None
    if store or (beside / tables.QUARANTINE_FILE).exists():
        undecodable = tables.read_quarantine(beside)
    return describe_catalog(tables.read_catalog(catalog), undecodable=undecodable)


def _of_labels(root: Path | None, *, data_format: str | None, dataset: str | None) -> Description:
    if root is None or data_format is None:
        raise HemlineError("a data set on disk needs both --format and --root")
    if data_format not in ("published", *READERS):
        raise HemlineError(f"--format: no format {data_format!r}; there are {_FORMATS}")
    if (data_format == "published") != (dataset is not None):
        raise HemlineError(
            "--format published needs --dataset, such as FashionAI, DARN or DeepFashion; the other "
            f"formats take none (got --format {data_format}, --dataset {dataset})"
        )
    return describe_labels(read_labels(root, data_format=data_format, dataset=dataset))


def _find(described: Description, name: str) -> AttributeDescription:
    for attribute in described.attributes:
        if attribute.name == name:
            return attribute
    names = ", ".join(attribute.name for attribute in described.attributes)
    raise HemlineError(f"--attribute: {described.dataset} has no {name!r}; it has {names}")


def _print(described: Description, *, whole_quarantine: bool) -> None:
    num_values = sum(len(attribute.labels_per_value) for attribute in described.attributes)
    groups = f"{described.num_groups:,} groups of {described.num_grouped_images:,} images"
    console.print(
        _plain(
            f"{described.dataset}: {described.num_images:,} images, {described.num_labels:,} "
            f"labels of {len(described.attributes)} attributes with {num_values:,} values; "
            f"{groups if described.num_groups else 'no groups'}"
        )
    )
    console.print(_attributes_table(described))
    console.print(_frequent_table(described))
    console.print(_splits_table(described) if described.splits else "no published split or roles")
    console.print(_triplets_table(described) if described.triplets else "no published triplets")
    for what, number in described.left_out.items():
        console.print(_plain(f"left out: {number:,} {what}"))
    if not described.quarantine:
        console.print("nothing in quarantine")
        return
    console.print(_reasons_table(described))
    num_shown = len(described.quarantine) if whole_quarantine else _NUM_SHOWN
    console.print(_quarantine_table(described, num_shown=num_shown))
    if num_shown < len(described.quarantine):
        console.print(
            f"the first {num_shown} of {len(described.quarantine):,} rows; --all lists them all"
        )


def _attributes_table(described: Description) -> Table:
    columns = ["values", "images", "labels", "fewest", "median", "most"]
    table = _table(
        "labels per attribute; fewest, median and most per value", ["attribute"], columns
    )
    for attribute in described.attributes:
        counts = attribute.labels_per_value.values()
        table.add_row(
            _plain(attribute.name),
            f"{len(counts):,}",
            f"{attribute.num_images:,}",
            f"{attribute.num_labels:,}",
            f"{min(counts):,}",
            f"{attribute.median_labels:,.1f}".removesuffix(".0"),
            f"{max(counts):,}",
        )
    return table


def _frequent_table(described: Description) -> Table:
    table = _table("most frequent values, and their labels", ["attribute", "values"])
    for attribute in described.attributes:
        shown = ", ".join(f"{value} ({num:,})" for value, num in attribute.most_frequent[:3])
        table.add_row(_plain(attribute.name), _plain(shown))
    return table


def _values_table(attribute: AttributeDescription) -> Table:
    table = _table(f"labels per value of {attribute.name}", ["value"], ["labels", "percent"])
    for value, number in attribute.labels_per_value.items():
        percent = 100 * number / max(attribute.num_labels, 1)
        table.add_row(_plain(value), f"{number:,}", f"{percent:.2f}")
    return table


def _splits_table(described: Description) -> Table:
    table = _table("published splits and roles", ["split", "role"], ["images", "labels"])
    for split in described.splits:
        name = split.split or "(none)"
        table.add_row(name, "all", f"{split.num_images:,}", f"{split.num_labels:,}")
        for role in split.roles:
            shown = role.role or "(none)"
            table.add_row("", shown, f"{role.num_images:,}", f"{role.num_labels:,}")
    return table


def _triplets_table(described: Description) -> Table:
    table = _table("published triplets", ["split", "attribute"], ["triplets"])
    for part in described.triplets:
        table.add_row(part.split, _plain(part.attribute), f"{part.num_triplets:,}")
    return table


def _reasons_table(described: Description) -> Table:
    table = _table("quarantine", ["stage", "reason"], ["rows"])
    for stage, counts in described.quarantine_counts.items():
        for reason, number in counts.items():
            table.add_row(stage, reason, f"{number:,}")
    return table


def _quarantine_table(described: Description, *, num_shown: int) -> Table:
    table = _table("rows in quarantine", ["path", "reason", "detail"])
    for row in described.quarantine[:num_shown]:
        table.add_row(_plain(row.path), row.reason, _plain(row.detail))
    return table


def _table(title: str, texts: Sequence[str], numbers: Iterable[str] = ()) -> Table:
    table = Table(
        title=_plain(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in texts:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _plain(text: str) -> Text:
    """Returns text of a data set as it is: no markup, and nothing that steers the terminal."""
    return Text("".join(x if x.isprintable() else ascii(x)[1:-1] for x in text))
