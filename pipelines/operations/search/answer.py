"""What a search answers: a table for people, JSON for programs, and a sheet of pictures."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from components.errors import HemlineError
from components.figures.frames import FRAMES
from components.figures.sheet import Tile, write_tiles
from components.images.paths import region_of
from components.search.change import target_verdict
from components.search.request import Found, Query, SearchRequest, Verdict, verdict
from pipelines.shell.reporting import console, plain, print_with_paths, table

_MOST_NAMED = 2  # attributes that stay, beside those that change
_DECIMALS = 6  # half precision knows no more of a similarity

Values = Mapping[str, Sequence[str]]
"""An image's values of every attribute that it has a label of."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What was asked and what was found, nearest first.

    Attributes:
        query: the query.
        target: the same with the values that were asked for instead; the query where none were.
        shown: path or address of its picture.
        image: its number, where it is an item.
        request: how it was compared.
        model: URI of the version that made the embeddings.
        root: folder or URL that paths of items are relative to.
        found: the items.
    """

    query: Query
    target: Query
    shown: str
    image: int | None
    request: SearchRequest
    model: str
    root: str
    found: Sequence[Found]

    @property
    def title(self) -> str:
        """Attributes with their weights, among how many items, and the model.

        Beside changes, only a few others are named.
        """
        shown = {name: f"{name}={value}" for name, value in self.request.changes.items()}
        named = " + ".join(
            shown.get(name, name) if weight == 1 else f"{weight:g} x {shown.get(name, name)}"
            for name, weight in self.request.weights.items()
        )
        kept = [name for name in self.request.weights if name not in self.request.changes]
        if self.request.changes and len(kept) > _MOST_NAMED:
            named = f"{', '.join(shown.values())}, {len(kept)} attributes as in the query"
        rerank = self.request.rerank
        among = "" if rerank is None else f" among the {rerank} nearest in all attributes"
        return f"{named}{among}, by {self.model}"

    def address(self, item: Found) -> str:
        """Returns the path or address of an item's file."""
        return f"{self.root.rstrip('/')}/{item.path}"

    def verdict(self, item: Found) -> Verdict:
        """Returns whether an item agrees with what was asked for, in all attributes asked for."""
        names = [*self.request.weights]
        if self.request.changes:
            return target_verdict(item.values, self.target.values, self.request.changes, names)
        return verdict(_together(item.values, names), _together(self.query.values, names))


def content_of(results: Results) -> dict[str, Any]:
    """Returns the results for programs."""
    return {
        "query": {
            "shown": results.shown,
            "image": results.image,
            "values": results.query.values,
        },
        "attributes": results.request.weights,
        "changes": results.request.changes,
        "model": results.model,
        "found": [
            {
                "rank": rank,
                "similarity": round(item.similarity, _DECIMALS),
                "image": item.image,
                "path": results.address(item),
                "verdict": results.verdict(item),
                "values": item.values,
            }
            for rank, item in enumerate(results.found, start=1)
        ],
    }


def print_table(results: Results) -> None:
    """Prints a row for each item: rank, similarity, values, number, file."""
    addresses = [results.address(item) for item in results.found]
    print_with_paths(partial(_table, results), addresses)
    of_query = [_shown(results.query.values, name) for name in results.request.weights]
    if results.request.changes:
        of_query = [_change(results, name) for name in results.request.changes]
    console.print(plain(f"query: {results.shown} ({', '.join(of_query)})"))


def _table(results: Results, paths: Sequence[str]) -> Table:
    names = [*(results.request.changes or results.request.weights)]
    columns = ["rank", "similarity", "", *(["value"] if len(names) == 1 else names)]
    columns += ["differs in"] if results.request.changes else []
    rows = [
        (
            str(rank),
            f"{item.similarity:.4f}",
            FRAMES[results.verdict(item)].sign,
            *(_shown(item.values, name) for name in names),
            *([_differing(results, item)] if results.request.changes else []),
            str(item.image),
            path,
        )
        for (rank, item), path in zip(enumerate(results.found, start=1), paths, strict=True)
    ]
    found = table(results.title, [*columns, "image", "path"], rows=rows)
    for place in (0, 1, -2):
        found.columns[place].justify, found.columns[place].no_wrap = "right", True
    return found


def missing_pictures(results: Results) -> str:
    """Returns which picture of a sheet is missing, and of how many; "" where none is."""
    paths = [Path(results.shown), *(Path(results.address(item)) for item in results.found)]
    missing = [path for path in paths if not region_of(path)[0].is_file()]
    return f"{missing[0]} is missing ({len(missing)} of {len(paths)} are)" if missing else ""


def write_sheet(results: Results, out: Path) -> None:
    """Writes a contact sheet, whose frames tell what agrees in all attributes asked for.

    Raises:
        HemlineError: a picture is missing.
    """
    changes = results.request.changes
    names = [*(changes or results.request.weights)]
    of_query = _listed(_together(results.query.values, names))
    if changes:
        of_query = ", ".join(_change(results, name) for name in changes)
    file, box = region_of(Path(results.shown))
    tiles = [Tile(file, "query", ("query", of_query), box)]
    for rank, item in enumerate(results.found, start=1):
        of_item = _listed(_together(item.values, names))
        if changes and (differing := _differing(results, item)):
            of_item = f"{of_item} ({differing})"
        captions = (f"{rank}.  {item.similarity:.3f}  #{item.image}", of_item)
        file, box = region_of(Path(results.address(item)))
        tiles.append(Tile(file, results.verdict(item), captions, box))
    if missing := missing_pictures(results):
        raise HemlineError(f"no sheet without the pictures: {missing}; leave --sheet out")
    agrees, differs = FRAMES["agrees"].line, FRAMES["differs"].line
    title = f"nearest in {' and '.join(names)}"
    if changes:
        wanted = " and ".join(f"{name} {value}" for name, value in changes.items())
        title = f"like the query, but {wanted}"
    write_tiles(tiles, out, title=f"{title}: {agrees} agrees, {differs} differs")


def _change(results: Results, attribute: str) -> str:
    """Returns what is asked for of a changed attribute, and what the query has instead."""
    wanted = results.request.changes[attribute]
    its = results.query.values.get(attribute)
    return f"{wanted} instead of {_listed(its)}" if its else wanted


def _differing(results: Results, item: Found) -> str:
    """Returns the values that an item has where it should be like the query, and is not."""
    target = results.target.values
    return ", ".join(
        _listed(item.values[name])
        for name in results.request.weights
        if name not in results.request.changes
        and verdict(set(item.values.get(name, ())), set(target.get(name, ()))) == "differs"
    )


def _shown(values: Values, attribute: str) -> str:
    return _listed(values.get(attribute, ()))


def _listed(values: Collection[str]) -> str:
    return ", ".join(sorted(values)) or "no label"


def _together(values: Values, attributes: Sequence[str]) -> set[str]:
    """Returns values of several attributes as one: none where one of them has no label."""
    each = product(*(values.get(name, ()) for name in attributes))
    return {" + ".join(combination) for combination in each}
