"""Operation `tag`: a value for every item and attribute, and labels that look wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from typer import Option

from components import tables
from components.attributes import AttributeSchema, nfc
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.prototypes.prototypes import Prototypes
from components.search.finder import Finder
from components.tagging.audit import (
    SPLITS,
    Accuracy,
    Doubt,
    accuracies,
    doubts,
    labelled_tags,
    most_doubtful,
)
from components.tagging.folder import check_nameable, make_tags
from pipelines.operations.search.embedded import embeddings_at, root_of
from pipelines.operations.tag.answer import Tagged, content_of, print_tables, write_sheet
from pipelines.shell import options
from pipelines.shell.reporting import notes, print_json, progress

Attributes = Annotated[
    list[str] | None, Option("--attribute", help="Name values of this alone; may be repeated.")
]
Audit = Annotated[bool, Option("--audit", help="List labels that the model contradicts most.")]
Top = Annotated[
    int | None, Option("--top", min=1, help="With --audit: how many labels (default: 50).")
]
Split = Annotated[
    list[str] | None,
    Option("--split", help="With --audit: labels of this split only; may be repeated."),
]
Sheet = Annotated[Path | None, Option(help="With --audit: PNG file for a contact sheet of them.")]
Out = Annotated[Path, Option(help="Folder for the tags.")]

_NUM_DOUBTS = 50


def tag(
    *,
    attribute: Attributes = None,
    audit: Audit = False,
    top: Top = None,
    split: Split = None,
    sheet: Sheet = None,
    out: Out = options.TAGS,
    output_format: options.Format = "table",
    catalog: options.Catalog = options.CATALOG,
    splits: options.Splits = options.SPLITS,
    embeddings: options.EmbeddingsAddress = str(options.EMBEDDINGS),
    params: options.Params = options.PARAMS,
) -> None:
    """Write the most likely value of every item and attribute, labelled or not, as a table.

    Where items have labels, print how often it is one of them, beside the most frequent value.
    """
    embedded = embeddings_at(embeddings)
    prototypes = embedded.prototypes()
    names = [*dict.fromkeys(map(nfc, attribute or ()))] or _nameable(embedded, prototypes)
    for name in names:
        embedded.check_attribute(name)
        check_nameable(prototypes, name)
    if (split or sheet or top) and not audit:
        raise HemlineError("--split, --sheet and --top are for --audit: add it, or leave them out")
    for name in split or ():
        if name not in SPLITS:
            raise HemlineError(f"no split {name!r}; there are {', '.join(SPLITS)}")
    if audit and embedded.root is not None:
        raise HemlineError(
            f"{embedded.folder} is not of a catalog, so there are no labels: leave --audit out"
        )
    labels = None if embedded.root else _labels(catalog, splits, needed=audit)
    total = embedded.num_images * len(names)
    with progress("tagging", total=total, unit="tags") as on_progress:
        folder, num_made = make_tags(embedded, prototypes, names, out, on_progress=on_progress)
    measured: dict[str, list[Accuracy]] = {}
    found: list[Doubt] = []
    if labels is not None:
        schema, table = labels
        measured, found = _beside_labels(
            embedded, prototypes, table, schema, attributes=names, audited=split
        )
    found = most_doubtful(found, top or _NUM_DOUBTS) if audit else []
    finder = Finder(embedded, None)
    tagged = Tagged(
        folder=folder,
        num_made=num_made,
        measured=measured,
        doubts=found if audit else None,
        addresses=[f"{root_of(embedded, params)}/{finder.path_of(x.image)}" for x in found],
    )
    if output_format == "json":
        print_json(content_of(tagged))
    else:
        print_tables(tagged)
    if sheet is not None:
        write_sheet(tagged, sheet)
        notes.print(f"sheet: {sheet}", markup=False)


def _nameable(embedded: Embeddings, prototypes: Prototypes) -> list[str]:
    """Returns the attributes that values are named of: those with prototypes, so no identity.

    Where there are none, `check_nameable` is to say so.
    """
    known = prototypes.attributes
    return [name for name in embedded.attributes if name in known] or [*embedded.attributes]


def _labels(
    catalog: Path, splits: Path, *, needed: bool
) -> tuple[AttributeSchema, pa.Table] | None:
    """Returns the attributes and the splits; None where they lack and are not needed."""
    places = (catalog / tables.IMAGES_FILE, splits / tables.SPLITS_FILE)
    missing = next((path for path in places if not path.exists()), None)
    if missing and not needed:
        notes.print(f"note: no labels to compare with: {missing} is missing", markup=False)
        return None
    return tables.read_catalog(catalog).schema, tables.read_splits(splits)


def _beside_labels(
    embedded: Embeddings,
    prototypes: Prototypes,
    splits: pa.Table,
    schema: AttributeSchema,
    *,
    attributes: Sequence[str],
    audited: Sequence[str] | None,
) -> tuple[dict[str, list[Accuracy]], list[Doubt]]:
    """Returns accuracies by attribute, and all doubtful labels of the splits that are audited."""
    measured: dict[str, list[Accuracy]] = {}
    found: list[Doubt] = []
    for name in attributes:
        beside = labelled_tags(embedded.vectors(name), prototypes, splits, schema, name)
        measured[name] = accuracies(beside)
        found += doubts(beside, splits=audited or SPLITS)
    return measured, found
