"""Operation `search`: the items nearest to an image in one attribute."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from components import tables
from components.errors import HemlineError
from components.figures.sheet import Item, write_search_sheet
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.params import DataParams, load_section
from components.retrieval.lookup import CatalogLookup
from components.retrieval.search import (
    embedded_attributes,
    general_similarity,
    read_embedded_attribute,
)
from components.tracking import registry
from pipelines import options
from pipelines.environment import tracking
from pipelines.reporting import console

Image = Annotated[Path, typer.Option(help="The query: an image file.")]
Attribute = Annotated[str, typer.Option(help="Attribute to compare by.")]
TopK = Annotated[int, typer.Option(min=1, help="How many items.")]
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
Sheet = Annotated[Path, typer.Option(help="PNG file for the contact sheet.")]


def search(
    *,
    image: Image,
    attribute: Attribute,
    top_k: TopK = 10,
    all_items: AllItems = False,
    rerank: Rerank = None,
    sheet: Sheet = Path("search/sheet.png"),
    catalog: options.Catalog = options.CATALOG,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    params: options.Params = options.PARAMS,
) -> None:
    """Print the nearest items and write a contact sheet of them.

    The query itself is left out when the catalogue holds it. Items without a label of the
    attribute are left out too, unless asked for: nobody could say whether they agree.
    """
    _check_rerank(rerank, top_k)
    embedded = read_embedded_attribute(embeddings, attribute)
    version = registry.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    package = registry.download(version, tracking=tracking())
    data, pixels = _read_query(image, image_size_px=package.image_size_px)
    lookup = CatalogLookup(tables.read_catalog(catalog), attribute)
    itself = lookup.same_content(data)
    among = np.setdiff1d(lookup.images if all_items else lookup.labelled, itself)
    if rerank is None:
        nearest = embedded.nearest(package.embed(pixels, attribute), top_k=top_k, among=among)
    else:
        queries = package.embed_each(pixels, embedded_attributes(embeddings))
        general = general_similarity(embeddings, queries, embedded.images)
        nearest = embedded.reranked(
            queries[attribute], general, top_k=top_k, num_reranked=rerank, among=among
        )
    root = Path(load_section(params, DataParams).root)
    query = Item(path=image, values=lookup.values_of_any(itself))
    found = [
        Item(path=root / lookup.path(number), values=lookup.values(number), similarity=similarity)
        for number, similarity in zip(nearest.images, nearest.similarities, strict=True)
    ]
    which = "" if rerank is None else f" among the {rerank} nearest in all attributes"
    _print(query, found, title=f"{attribute}{which}, by {version.uri}")
    write_search_sheet(query, found, sheet, attribute=attribute)
    console.print(f"sheet: {sheet}")


def _check_rerank(rerank: int | None, top_k: int) -> None:
    if rerank is not None and rerank < top_k:
        raise HemlineError(
            f"--rerank {rerank} leaves fewer items than --top-k {top_k} shows: "
            f"give --rerank {top_k} or more, or a smaller --top-k"
        )


def _read_query(path: Path, *, image_size_px: int) -> tuple[bytes, NDArray[np.uint8]]:
    try:
        data = read_bytes(path)
        return data, decode(data, image_size_px=image_size_px)
    except UnreadableImageError as error:
        raise HemlineError(f"--image {path} cannot be used: {error}") from error


def _print(query: Item, found: list[Item], *, title: str) -> None:
    table = Table(title=title, caption=f"query: {query.path} ({query.value})")
    for column in ("rank", "similarity", "value", "image"):
        table.add_column(column, justify="left" if column in {"value", "image"} else "right")
    for rank, item in enumerate(found, start=1):
        table.add_row(str(rank), f"{item.similarity:.4f}", item.value, str(item.path))
    console.print(table)
