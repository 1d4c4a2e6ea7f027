"""Operation `search`: the items nearest to a picture or to an item, in one attribute or several."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from components.embedding.embeddings import read_embeddings
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.request import SearchRequest
from pipelines.operations.search.answer import Results, print_json, print_table, write_sheet
from pipelines.operations.search.query import ask, read_weights, root_of
from pipelines.shell import options

Image = Annotated[Path | None, typer.Option(help="The query: an image file.")]
Item = Annotated[
    str | None, typer.Option("--id", metavar="NUMBER|PATH", help="The query: an embedded item.")
]
Attributes = Annotated[
    list[str],
    typer.Option(
        "--attribute",
        metavar="NAME[=WEIGHT]",
        help="Attribute to compare by; may be repeated: weighted similarities are summed.",
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="How many items to show.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Only items that meet a condition on a column or a label, such as 'width>=200' or "
        "'neckline_design=v'; may be repeated.",
    ),
]
AllItems = Annotated[
    bool, typer.Option("--all-items", help="Include items without a label of the attribute.")
]
Rerank = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Rank only the K items that are most similar in all attributes together.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every item; use no index.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Refuse embeddings that another model made."),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="Output format.")]
Sheet = Annotated[
    Path | None,
    typer.Option(help="PNG file for the contact sheet (default with a table: search/sheet.png)."),
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
    output_format: Format = "table",
    sheet: Sheet = None,
    catalog: options.Catalog = options.CATALOG,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    params: options.Params = options.PARAMS,
) -> None:
    """Print the nearest items and draw a contact sheet of them.

    The query itself is left out if it is embedded too. So are items without a label of the
    attributes, unless asked for: whether they agree is not known.
    """
    embedded = read_embeddings(embeddings)
    finder = Finder.over(embedded, catalog=catalog)
    request = SearchRequest(
        weights=read_weights(attribute, embedded.attributes),
        top_k=top_k,
        conditions=[parse_condition(text) for text in where or ()],
        all_items=all_items,
        rerank=rerank,
        exact=exact,
    )
    root = root_of(embedded, params)
    needed = request.needed(finder.attributes)
    asked = ask(finder, embedded, needed, image=image, item=item, root=root, model=model)
    answer = finder.find(asked.query, request)
    results = Results(
        asked=asked,
        request=request,
        model=f"models:/{embedded.model_name}/{embedded.model_version}",
        root=root,
        found=answer.found,
    )
    if output_format == "json":
        print_json(results)
    else:
        print_table(results)
        sheet = sheet or (SHEET if "://" not in root else None)
    if sheet is not None:
        write_sheet(results, sheet)
        typer.echo(f"sheet: {sheet}", err=output_format == "json")
    if answer.notice:
        typer.echo(f"note: {answer.notice}", err=True)
