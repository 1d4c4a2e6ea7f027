"""What a search answers: a table for people, JSON for programs, and a sheet of pictures."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.table import Table

from components.errors import HemlineError
from components.figures.sheet import Tile, write_tiles
from components.search.request import Found, Query, SearchRequest, verdict
from pipelines.shell.reporting import console

_DECIMALS = 6  # half precision knows no more of a similarity

Values = Mapping[str, Sequence[str]]
"""An image's values of every attribute that it has a label of."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What was asked and what was found, nearest first.

    Attributes:
        query: the query.
        shown: path or address of its picture.
        image: its number, where it is an item.
        request: how it was compared.
        model: URI of the version that made the embeddings.
        root: folder or URL that paths of items are relative to.
        found: the items.
    """

    query: Query
    shown: str
    image: int | None
    request: SearchRequest
    model: str
    root: str
    found: Sequence[Found]

    @property
    def title(self) -> str:
        """Attributes with their weights, among how many items, and the model."""
        named = " + ".join(
            name if weight == 1 else f"{weight:g} x {name}"
            for name, weight in self.request.weights.items()
        )
        rerank = self.request.rerank
        among = "" if rerank is None else f" among the {rerank} nearest in all attributes"
        return f"{named}{among}, by {self.model}"

    def address(self, item: Found) -> str:
        """Returns the path or address of an item's file."""
        return f"{self.root.rstrip('/')}/{item.path}"


def print_json(results: Results) -> None:
    """Prints one JSON object to the standard output, and nothing else."""
    content = {
        "query": {
            "shown": results.shown,
            "image": results.image,
            "values": results.query.values,
        },
        "attributes": results.request.weights,
        "model": results.model,
        "found": [
            {
                "rank": rank,
                "similarity": round(item.similarity, _DECIMALS),
                "image": item.image,
                "path": results.address(item),
                "values": item.values,
            }
            for rank, item in enumerate(results.found, start=1)
        ],
    }
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_table(results: Results) -> None:
    """Prints a row for each item: rank, similarity, values of the attributes asked for, file."""
    names = [*results.request.weights]
    of_query = ", ".join(_shown(results.query.values, name) for name in names)
    table = Table(title=results.title, caption=f"query: {results.shown} ({of_query})")
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    for name in names:
        table.add_column("value" if len(names) == 1 else name)
    table.add_column("image")
    for rank, item in enumerate(results.found, start=1):
        values = [_shown(item.values, name) for name in names]
        table.add_row(str(rank), f"{item.similarity:.4f}", *values, results.address(item))
    console.print(table)


def missing_pictures(results: Results) -> str:
    """Returns which picture of a sheet is missing, and of how many; "" where none is."""
    paths = [Path(results.shown), *(Path(results.address(item)) for item in results.found)]
    missing = [path for path in paths if not path.is_file()]
    return f"{missing[0]} is missing ({len(missing)} of {len(paths)} are)" if missing else ""


def write_sheet(results: Results, out: Path) -> None:
    """Writes a contact sheet; black frames agree with the query in all attributes asked for.

    Raises:
        HemlineError: a picture is missing.
    """
    names = [*results.request.weights]
    of_query = _together(results.query.values, names)
    tiles = [Tile(Path(results.shown), "query", ("query", _listed(of_query)))]
    for rank, item in enumerate(results.found, start=1):
        values = _together(item.values, names)
        captions = (f"{rank}.  {item.similarity:.3f}", _listed(values))
        tiles.append(Tile(Path(results.address(item)), verdict(values, of_query), captions))
    if missing := missing_pictures(results):
        raise HemlineError(f"no sheet without the pictures: {missing}; leave --sheet out")
    write_tiles(tiles, out, title=f"nearest in {' and '.join(names)}: black agrees, red differs")


def _shown(values: Values, attribute: str) -> str:
    return _listed(values.get(attribute, ()))


def _listed(values: Collection[str]) -> str:
    return ", ".join(sorted(values)) or "no label"


def _together(values: Values, attributes: Sequence[str]) -> set[str]:
    """Returns values of several attributes as one: none where one of them has no label."""
    each = product(*(values.get(name, ()) for name in attributes))
    return {" + ".join(combination) for combination in each}
