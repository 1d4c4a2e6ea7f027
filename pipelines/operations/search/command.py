"""Operation `search`: the items nearest to a picture or to an item, in one attribute or several."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from components import tables
from components.embedding.embeddings import Embeddings, read_embeddings
from components.errors import HemlineError
from components.params import DataParams, load_section
from components.search.conditions import parse_condition
from components.search.finder import Finder
from pipelines.operations.search.answer import Answer, print_json, print_table, write_sheet
from pipelines.operations.search.query import (
    Query,
    check_model,
    picture_query,
    read_weights,
    stored_query,
)
from pipelines.shell import options


class Format(StrEnum):
    """How answers are printed."""

    table = "table"
    json = "json"


Image = Annotated[Path | None, typer.Option(help="The query: an image file.")]
Item = Annotated[
    str | None,
    typer.Option("--id", metavar="NUMBER|PATH", help="The query: an item of the catalogue."),
]
Attributes = Annotated[
    list[str],
    typer.Option(
        "--attribute",
        metavar="NAME[=WEIGHT]",
        help="Attribute to compare by; of several, similarities are summed.",
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="How many items.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Only items for which a condition on a column or a label holds, such as "
        "'width>=200' or 'neckline_design=v'; may be repeated.",
    ),
]
AllItems = Annotated[
    bool, typer.Option("--all-items", help="Search items without a label of the attribute too.")
]
Rerank = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Take the K items most similar in all attributes together, and rank those.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every item: use no index.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Model that embeds the query; without it the one that embedded the catalogue.",
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="What is printed.")]
Sheet = Annotated[
    Path | None,
    typer.Option(help="PNG file for the contact sheet; with a table: search/sheet.png."),
]

SHEET = Path("search/sheet.png")


def search(
    *,
    image: Image = None,
    item: Item = None,
    attribute: Attributes,
    top_k: TopK = 10,
    where: Where = None,
    all_items: AllItems = False,
    rerank: Rerank = None,
    exact: Exact = False,
    model: Model = None,
    output_format: OutputFormat = Format.table,
    sheet: Sheet = None,
    catalog: options.Catalog = options.CATALOG,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    params: options.Params = options.PARAMS,
) -> None:
    """Print the nearest items and draw a contact sheet of them.

    The query itself is left out when the catalogue holds it. Items without a label of the
    attributes are left out too, unless asked for: nobody could say whether they agree.
    """
    _check_rerank(rerank, top_k)
    embedded = read_embeddings(embeddings)
    weights = read_weights(attribute, embedded.attributes)
    conditions = [parse_condition(text) for text in where or ()]
    # what was embedded without a catalog says itself where its images lie
    known = tables.read_catalog(catalog) if embedded.root is None else None
    root = embedded.root or load_section(params, DataParams).root
    finder = Finder(embedded, known)
    names = [*weights] if rerank is None else [*embedded.attributes]
    query = _query(finder, embedded, image=image, item=item, names=names, root=root, model=model)
    answer = Answer(
        query=query,
        query_values=finder.values_of(*query.itself),
        weights=weights,
        model=f"models:/{embedded.model_name}/{embedded.model_version}",
        root=root,
        found=finder.find(
            query.vectors,
            top_k=top_k,
            weights=weights,
            conditions=conditions,
            labelled_only=() if all_items else [*weights],
            without=query.itself,
            rerank=rerank,
            exact=exact,
        ),
    )
    if output_format is Format.json:
        print_json(answer)
    else:
        print_table(answer, title=_title(weights, rerank, answer.model))
        sheet = sheet or (SHEET if "://" not in root else None)
    if sheet is not None:
        write_sheet(answer, sheet)
        typer.echo(f"sheet: {sheet}", err=output_format is Format.json)
    notice = None if exact else finder.missing_index(names)
    if notice is not None:
        typer.echo(f"note: {notice}", err=True)


def _check_rerank(rerank: int | None, top_k: int) -> None:
    if rerank is not None and rerank < top_k:
        raise HemlineError(
            f"--rerank {rerank} leaves fewer items than --top-k {top_k} shows: "
            f"give --rerank {top_k} or more, or a smaller --top-k"
        )


def _query(
    finder: Finder,
    embedded: Embeddings,
    *,
    image: Path | None,
    item: str | None,
    names: Sequence[str],
    root: str,
    model: str | None,
) -> Query:
    if image is not None and item is None:
        return picture_query(finder, image, names, embedded=embedded, model=model)
    if item is not None and image is None:
        if model is not None:
            check_model(embedded, model)
        return stored_query(finder, item, names, root=root)
    raise HemlineError("give the query either as --image FILE or as --id NUMBER|PATH")


def _title(weights: Mapping[str, float], rerank: int | None, model: str) -> str:
    asked = " + ".join(
        name if weight == 1 else f"{weight:g} x {name}" for name, weight in weights.items()
    )
    which = "" if rerank is None else f" among the {rerank} nearest in all attributes"
    return f"{asked}{which}, by {model}"
