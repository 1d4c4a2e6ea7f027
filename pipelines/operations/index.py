"""Operation `index`: embeddings → files that make searching many of them fast."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from typer import Option

from components.embedding.embeddings import Embeddings
from components.errors import DamagedFileError
from components.search.index import (
    MIN_INDEXED,
    RECALL_AT,
    AttributeIndex,
    build_index,
    read_index,
)
from components.search.index_paths import remove_stale
from components.search.vector_map import has_whole_map, map_path, write_map
from pipelines.operations.search.embedded import embeddings_at, package_of
from pipelines.shell import options
from pipelines.shell.reporting import console, notes, print_json

Attributes = Annotated[
    list[str] | None, Option("--attribute", help="Index this attribute alone; may be repeated.")
]


def index(
    *,
    attribute: Attributes = None,
    embeddings: options.EmbeddingsAddress = str(options.EMBEDDINGS),
    output_format: options.Format = "table",
) -> None:
    """Map the vectors of each attribute and, if there are many, build an approximate index.

    Both belong to the vectors that they were made from: after embedding again, index again. What
    is there already is kept.
    """
    as_json = output_format == "json"
    made: dict[str, Any] = {}
    embedded = embeddings_at(embeddings)
    package_of(embedded)  # refuses another registry's: searching them would mix two models
    for name in attribute or embedded.attributes:
        is_mapped = has_whole_map(embedded, name)
        path = map_path(embedded, name) if is_mapped else write_map(embedded, name)
        made[name] = {"map": str(path), "num_vectors": embedded.num_images, "index": None}
        console.print(f"{name}: {embedded.num_images} vectors mapped in {path}")
        if embedded.num_images >= MIN_INDEXED:
            facts = _whole_index(embedded, name).facts
            made[name]["index"] = asdict(facts)
            console.print(
                f"{name}: {facts.num_lists} lists, of which a search probes {facts.num_probes}: "
                f"recall@{RECALL_AT} {facts.recall:.3f} against exact search"
            )
        remove_stale(embedded, name)
    if as_json:
        print_json({"attributes": made})
    elif embedded.num_images < MIN_INDEXED:
        console.print(
            f"no approximate index: {embedded.num_images} vectors are compared one by one in "
            f"milliseconds, fewer than {MIN_INDEXED} need none"
        )


def _whole_index(embedded: Embeddings, attribute: str) -> AttributeIndex:
    """Returns the index of an attribute; one that is missing or not whole is built."""
    with suppress(DamagedFileError):
        index = read_index(embedded, attribute)
        if index is not None and index.is_whole:
            return index
    return build_index(embedded, attribute, on_progress=notes.print)
