"""What a search answers: a table for people, JSON for programs, and a sheet of pictures."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.table import Table

from components.errors import HemlineError
from components.figures.sheet import Item, write_search_sheet
from components.search.finder import Found
from pipelines.operations.search.query import Query
from pipelines.shell.reporting import console

_DECIMALS = 6  # of similarities: half precision tells no more

Values = Mapping[str, Sequence[str]]
"""Of an image: its values of every attribute that it has a label of."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was asked and what was found.

    Attributes:
        query: what was asked.
        query_values: the query's labels, where the catalogue knows them.
        weights: of the attributes that were asked for.
        model: URI of the version that embedded the catalogue.
        root: what the paths of what was found are relative to: a folder or a URL.
        found: nearest first.
    """

    query: Query
    query_values: Values
    weights: Mapping[str, float]
    model: str
    root: str
    found: Sequence[Found]

    def address(self, item: Found) -> str:
        """Returns where an item's file lies."""
        return f"{self.root.rstrip('/')}/{item.path}"


def print_json(answer: Answer) -> None:
    """Prints one JSON object to the standard output, and nothing else."""
    content = {
        "query": {
            "shown": answer.query.shown,
            "image": answer.query.image,
            "values": answer.query_values,
        },
        "attributes": answer.weights,
        "model": answer.model,
        "found": [
            {
                "rank": rank,
                "similarity": round(item.similarity, _DECIMALS),
                "image": item.image,
                "path": answer.address(item),
                "values": item.values,
            }
            for rank, item in enumerate(answer.found, start=1)
        ],
    }
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_table(answer: Answer, *, title: str) -> None:
    """Prints a row for each item: rank, similarity, values of the attributes asked for, file."""
    of_query = [_shown(answer.query_values, name) for name in answer.weights]
    table = Table(title=title, caption=f"query: {answer.query.shown} ({', '.join(of_query)})")
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    for name in answer.weights:
        table.add_column("value" if len(answer.weights) == 1 else name)
    table.add_column("image")
    for rank, item in enumerate(answer.found, start=1):
        values = [_shown(item.values, name) for name in answer.weights]
        table.add_row(str(rank), f"{item.similarity:.4f}", *values, answer.address(item))
    console.print(table)


def write_sheet(answer: Answer, out: Path) -> None:
    """Writes a contact sheet; black frames agree with the query in all attributes asked for.

    Raises:
        HemlineError: a picture is not at hand.
    """
    names = list(answer.weights)
    query = Item(path=Path(answer.query.shown), values=_together(answer.query_values, names))
    items = [
        Item(
            path=Path(answer.address(item)),
            values=_together(item.values, names),
            similarity=item.similarity,
        )
        for item in answer.found
    ]
    missing = [item.path for item in (query, *items) if not item.path.is_file()]
    if missing:
        raise HemlineError(
            f"no sheet without the pictures: {missing[0]} is no file here, nor are "
            f"{len(missing) - 1} others; leave --sheet out"
        )
    write_search_sheet(query, items, out, attribute=" and ".join(names))


def _shown(values: Values, attribute: str) -> str:
    return ", ".join(sorted(values.get(attribute, ()))) or "no label"


def _together(values: Values, attributes: Sequence[str]) -> set[str]:
    """Returns values of several attributes as one: none where one of them has no label."""
    each = product(*(values.get(name, ()) for name in attributes))
    return {" + ".join(combination) for combination in each}
