"""Operation `search`: the items nearest to a picture or to an item, in one attribute or several."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from components.attributes import nfc
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError, command_line
from components.images.decode import UnreadableImageError, decode
from components.images.paths import read_bytes, region_of
from components.search.change import changed, parse_changes
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
    list[str] | None,
    Option(
        "--attribute",
        metavar="NAME[=WEIGHT]",
        help="Attribute to compare by; may be repeated: weighted similarities are summed.",
    ),
]
Changes = Annotated[
    list[str] | None,
    Option(
        "--change",
        metavar="NAME=VALUE",
        help="Find items like the query, but with this value; may be repeated. All other "
        "attributes stay as they are, unless --keep or --attribute names those that count.",
    ),
]
Keep = Annotated[
    list[str] | None,
    Option(
        metavar="NAME[,NAME…]",
        help="With --change: attributes that stay as the query has them; others may be anything.",
    ),
]
TopK = Annotated[int, Option(min=1, help="How many items to show.")]
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
    attribute: Attributes = None,
    change: Changes = None,
    keep: Keep = None,
    top_k: TopK = 10,
    where: options.Where = None,
    all_items: options.AllItems = False,
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

    With --change, they are the nearest to the query with another value of an attribute.

    The query itself is left out if it is embedded too. So are items without a label of the
    attributes, unless asked for: whether they agree is not known.
    """
    embedded = embeddings_at(embeddings)
    finder = Finder.over(embedded, catalog=catalog)
    changes = parse_changes(change or (), embedded.attributes)
    prototypes = embedded.prototypes() if changes else None
    request = SearchRequest(
        weights=_weights(
            attribute or (),
            changes,
            kept=_kept(keep or (), embedded.attributes),
            embedded=embedded,
            fitted={} if prototypes is None else prototypes.weights,
        ),
        changes=changes,
        top_k=top_k,
        conditions=[parse_condition(text) for text in where or ()],
        all_items=all_items,
        rerank=rerank,
        exact=exact,
    )
    root = root_of(embedded, params)
    needed = request.needed(finder.attributes)
    if model is not None:
        _check_model(embedded, model, needed, params)
    query, shown = _ask(finder, embedded, needed, image=image, item=item, root=root)
    target = query if prototypes is None else changed(query, changes, prototypes)
    answer = finder.find(target, request)
    results = Results(
        query=query,
        target=target,
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


def _weights(
    texts: Sequence[str],
    changes: Collection[str],
    *,
    kept: Sequence[str],
    embedded: Embeddings,
    fitted: Mapping[str, float],
) -> dict[str, float]:
    """Returns the weight of each attribute that is compared by.

    Those asked for, given as NAME or NAME=WEIGHT, those kept and those changed; where some are
    changed and no others are named, all with a fitted weight: not the identity, as what is found is
    to be another product. A weight that is not given is the fitted one, or 1.
    """
    if not (texts or changes):
        raise BadParameter("name one to compare by, or give --change", param_hint="'--attribute'")
    if kept and not changes:
        raise BadParameter("is for --change: name what is compared by", param_hint="'--keep'")
    known, given = embedded.attributes, given_weights(texts, embedded)
    for name in kept:
        embedded.check_attribute(name)
        if name in changes:
            raise HemlineError(f"{name} is both kept and changed: leave one out")
    named = {*given, *kept}
    used = {*named, *changes} if named or not changes else {*fitted, *changes}
    weights = {name: given.get(name) or fitted.get(name, 1.0) for name in known if name in used}
    # those asked for come first, as they were named
    return {name: weights[name] for name in dict.fromkeys([*given, *weights])}


def _kept(texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Returns the names of attributes, given as NAME or NAME,NAME; a name may have commas in it."""
    return [
        name.strip()
        for text in map(nfc, texts)
        for name in ([text] if text in known else text.split(","))
    ]


def given_weights(texts: Sequence[str], embedded: Embeddings) -> dict[str, float | None]:
    """Returns the attributes asked for, and the weights of those that have one."""
    given: dict[str, float | None] = {}
    for text in map(nfc, texts):
        name, equals, weight = (
            (text, "", "") if text in embedded.attributes else text.rpartition("=")
        )
        name = name or text
        embedded.check_attribute(name)
        if name in given:
            raise HemlineError(f"--attribute {name} is given twice: give it once, with its weight")
        given[name] = parse_weight(name, weight) if equals else None
    return given


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
        data, box = read_bytes(image), region_of(image)[1]
        side = package.image_size_px
        pixels = decode(data, image_size_px=side, crop=package.crop, box=box)
    except UnreadableImageError as error:
        raise HemlineError(f"--image {image} cannot be used: {error}") from error
    vectors = package.embed_each(pixels, attributes)
    copies = finder.same_content(data, region=box)
    return finder.picture_query(vectors, copies=copies), str(image)


def _check_model(embedded: Embeddings, model: str, attributes: Sequence[str], params: Path) -> None:
    """Refuses a model that is not the version that made the embeddings.

    One that was grown from it, or that it was grown from, gives the same of some attributes.
    """
    # MLflow, which a search without --model does not need
    from components.registry import versions  # noqa: PLC0415

    made_by = versions.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    where = tracking(params)
    asked = versions.resolve(model, tracking=where)
    if asked != made_by:
        lineage = versions.download(asked, tracking=where).lineage
        shared = lineage.shared_with(embedded.lineage)
        if {*attributes} <= {*shared}:
            return
        folder = f"{embedded.folder}-{asked.version}"
        embed = command_line("hemline", "embed", "--model", asked.uri, "--embeddings", folder)
        raise HemlineError(
            f"{model} is {asked.uri}, but {embedded.folder} was embedded by {made_by.uri}, and "
            f"vectors of two versions are not comparable{_except(shared)}: leave --model out, or "
            f"embed with it: `{embed}`, and search that with --embeddings"
        )


def _except(attributes: Sequence[str]) -> str:
    """Returns for which attributes vectors of two related versions are comparable after all."""
    return f" but for {', '.join(attributes)}" if attributes else ""
