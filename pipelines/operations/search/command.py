"""Operation `search`: the items nearest to a picture or to an item, in one attribute or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Option

from components.attributes import nfc
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError, command_line
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.request import Query, SearchRequest, parse_weight
from pipelines.operations.search.answer import (
    Results,
    content_of,
    missing_pictures,
    print_table,
    write_sheet,
)
from pipelines.operations.search.embedded import embeddings_at, package_of, root_of
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import notes, print_json

Image = Annotated[Path | None, Option(help="Query: an image file.")]
Item = Annotated[str | None, Option("--id", metavar="NUMBER|PATH", help="Query: an embedded item.")]
Attributes = Annotated[
    list[str],
    Option(
        "--attribute",
        metavar="NAME[=WEIGHT]",
        help="Attribute to compare by; may be repeated: weighted similarities are summed.",
    ),
]
TopK = Annotated[int, Option(min=1, help="How many items to show.")]
Where = Annotated[
    list[str] | None,
    Option(
        metavar="CONDITION",
        help="Only items that meet a condition on a column or a label, such as 'width>=200' or "
        "'neckline_design=v'; may be repeated.",
    ),
]
AllItems = Annotated[bool, Option("--all-items", help="Include items without a label.")]
Rerank = Annotated[
    int | None,
    Option(
        min=1,
        metavar="K",
        help="Rank only the K items that are most similar in all attributes together.",
    ),
]
Exact = Annotated[bool, Option("--exact", help="Compare with every item; use no index.")]
Model = Annotated[str | None, Option(metavar="URI", help="Refuse another model's embeddings.")]
Sheet = Annotated[
    Path | None,
    Option(help="PNG file for the contact sheet (default with a table: search/sheet.png)."),
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
    output_format: options.Format = "table",
    sheet: Sheet = None,
    catalog: options.Catalog = options.CATALOG,
    embeddings: options.EmbeddingsAddress = str(options.EMBEDDINGS),
    params: options.Params = options.PARAMS,
) -> None:
    """Print the nearest items and draw a contact sheet of them.

    The query itself is left out if it is embedded too. So are items without a label of the
    attributes, unless asked for: whether they agree is not known.
    """
    embedded = embeddings_at(embeddings)
    finder = Finder.over(embedded, catalog=catalog)
    request = SearchRequest(
        weights=_weights(attribute, embedded.attributes),
        top_k=top_k,
        conditions=[parse_condition(text) for text in where or ()],
        all_items=all_items,
        rerank=rerank,
        exact=exact,
    )
    root = root_of(embedded, params)
    needed = request.needed(finder.attributes)
    if model is not None:
        _check_model(embedded, model, params)
    query, shown = _ask(finder, embedded, needed, image=image, item=item, root=root)
    answer = finder.find(query, request)
    results = Results(
        query=query,
        shown=shown,
        image=query.itself[0] if item is not None else None,
        request=request,
        model=f"models:/{embedded.model_name}/{embedded.model_version}",
        root=root,
        found=answer.found,
    )
    if output_format == "json":
        print_json(content_of(results))
    else:
        print_table(results)
    if sheet is None and output_format == "table" and "://" not in root:
        if missing := missing_pictures(results):
            notes.print(f"note: no contact sheet: {missing}", markup=False)
        else:
            sheet = SHEET
    if sheet is not None:
        write_sheet(results, sheet)
        notes.print(f"sheet: {sheet}", markup=False)
    if answer.notice:
        notes.print(f"note: {answer.notice}", markup=False)


def _weights(texts: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each attribute that is asked for, given as NAME or NAME=WEIGHT."""
    weights: dict[str, float] = {}
    for text in map(nfc, texts):
        name, equals, weight = (text, "", "") if text in known else text.rpartition("=")
        name = name or text
        if name not in known:
            raise HemlineError(f"no attribute {name!r}; images are embedded for {', '.join(known)}")
        if name in weights:
            raise HemlineError(f"--attribute {name} is given twice: give it once, with its weight")
        weights[name] = parse_weight(name, weight) if equals else 1.0
    return weights


def _ask(
    finder: Finder,
    embedded: Embeddings,
    attributes: Sequence[str],
    *,
    image: Path | None,
    item: str | None,
    root: str,
) -> tuple[Query, str]:
    """Returns an image file or an embedded item as the query, and its picture's path or address.

    An item is given by its number or its path, with or without the root that paths are relative to.
    """
    if (image is None) == (item is None):
        raise HemlineError("give the query either as --image FILE or as --id NUMBER|PATH")
    if image is None:
        root = root.rstrip("/")
        number = finder.number_of(str(item).removeprefix(f"{root}/"))
        return finder.item_query(number, attributes), f"{root}/{finder.path_of(number)}"
    package = package_of(embedded)
    try:
        data = read_bytes(image)
        pixels = decode(data, image_size_px=package.image_size_px)
    except UnreadableImageError as error:
        raise HemlineError(f"--image {image} cannot be used: {error}") from error
    vectors = package.embed_each(pixels, attributes)
    return finder.picture_query(vectors, copies=finder.same_content(data).tolist()), str(image)


def _check_model(embedded: Embeddings, model: str, params: Path) -> None:
    """Refuses a model that is not the version that made the embeddings."""
    # MLflow, which a search without --model does not need
    from components.registry import versions  # noqa: PLC0415

    made_by = versions.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    asked = versions.resolve(model, tracking=tracking(params))
    if asked != made_by:
        folder = f"{embedded.folder}-{asked.version}"
        embed = command_line("hemline", "embed", "--model", asked.uri, "--embeddings", folder)
        raise HemlineError(
            f"{model} is {asked.uri}, but {embedded.folder} was embedded by {made_by.uri}, and "
            "vectors of two versions are not comparable: leave --model out, or embed with it: "
            f"`{embed}`, and search that with --embeddings"
        )
