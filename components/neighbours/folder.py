"""Neighbours on disk: a manifest, and one table in parts.

    manifest.json                        what was compared, and which parts there are
    nearest/part-<key>-<name>.parquet    `NEIGHBOURS`: a part of the items, by one comparison
    items-<digest>.parquet               `COMPARED`: what a comparison's lists were made from
    making/                              parts of a run that is not done, see `keyed_parts.py`

The manifest is written last. The folder `nearest` holds whole parts and nothing else, so that
programs read it as one table. A new run's parts come into it when all of them are made.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components import files
from components.errors import HemlineError
from components.images import keyed_parts
from components.neighbours.exact import NO_IMAGE, NearestLists, no_lists

MANIFEST, NEAREST = "manifest.json", "nearest"

NEIGHBOURS = pa.schema(
    [
        ("item", pa.int64()),
        ("attribute", pa.string()),
        ("rank", pa.int16()),
        ("neighbour", pa.int64()),
        ("similarity", pa.float32()),
    ]
)
"""A row per item and neighbour, by item and rank.

item and neighbour are image numbers, rank counts from 1, similarity is the cosine or the weighted
sum of several. attribute is the name of the comparison: an attribute's, or those of several with
their weights.
"""

COMPARED = pa.schema(
    [("image", pa.int64()), ("fingerprint", pa.uint64()), ("may_be_found", pa.bool_())]
)
"""A row per item, by image number: whether it may be a neighbour, and what tells if it changed."""

Method = Literal["exact", "index"]


@dataclass(frozen=True, kw_only=True)
class NeighbourPart:
    """The lists of some items by one comparison; the key is a hash of all they are made from."""

    key: str
    num_items: int
    num_rows: int
    crc32: str

    @classmethod
    def of(cls, path: Path, key: str, *, num_items: int) -> "NeighbourPart":
        """Returns the part that lies whole in a file."""
        num_rows = pq.read_metadata(path).num_rows
        return cls(key=key, num_items=num_items, num_rows=num_rows, crc32=files.checksum(path))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the manifest says of one comparison.

    Attributes:
        name: what its rows have as attribute.
        weights: weight of each attribute.
        top_k: neighbours of an item.
        method: how lists were made that were not kept.
        recall: of the index, on a sample of items; None where lists are exact.
        num_probes: lists of the index that were looked into; None where lists are exact.
        made_from: digest of the items and of the above.
        parts: its parts.
    """

    name: str
    weights: Mapping[str, float]
    top_k: int
    method: Method
    recall: float | None
    num_probes: int | None
    made_from: str
    parts: tuple[NeighbourPart, ...]


@dataclass(frozen=True, kw_only=True)
class NeighboursFolder:
    """What the manifest says.

    `model_name`, `model_version`, `model_sha256` and `embeddings_digest` are those of the
    embeddings; `conditions` and `all_items` say what could be a neighbour.
    """

    folder: Path
    model_name: str
    model_version: int
    model_sha256: str
    embeddings_digest: str
    conditions: tuple[str, ...]
    all_items: bool
    comparisons: tuple[Comparison, ...]

    def comparison(self, weights: Mapping[str, float]) -> Comparison | None:
        """Returns what there is of a comparison; sums in another order have other bits."""
        same = (x for x in self.comparisons if [*x.weights.items()] == [*weights.items()])
        return next(same, None)

    def part_path(self, comparison: Comparison, part: NeighbourPart) -> Path:
        """Returns the path of a part."""
        return self.folder / NEAREST / part_file(part.key, comparison.weights)

    def is_whole(self, comparison: Comparison) -> bool:
        """Returns whether all parts of a comparison are there as they were written."""
        return not any(
            files.problem_of(self.part_path(comparison, part), part.crc32)
            for part in comparison.parts
        )

    def written(self) -> dict[Path, str]:
        """Returns the checksum of every part when it was written."""
        return {
            self.part_path(comparison, part): part.crc32
            for comparison in self.comparisons
            for part in comparison.parts
        }


def comparison_name(weights: Mapping[str, float]) -> str:
    """Returns a comparison's name: `sleeve`, or `sleeve + collar=2` for several attributes."""
    each = [name if weight == 1 else f"{name}={weight:g}" for name, weight in weights.items()]
    return next(iter(weights)) if len(weights) == 1 else " + ".join(each)


def part_file(key: str, weights: Mapping[str, float]) -> str:
    """Returns the name of a part's file; the names of several attributes could be too long."""
    name = quote(next(iter(weights)), safe="") if len(weights) == 1 else "together"
    return f"part-{key}-{name}.parquet"


def write_manifest(made: NeighboursFolder) -> None:
    """Writes the manifest."""
    content = asdict(made)
    del content["folder"]
    files.write_sealed_json(content, made.folder / MANIFEST)


def read_neighbours(folder: Path) -> NeighboursFolder:
    """Returns what the manifest in a folder says.

    Raises:
        HemlineError: there is none, it is damaged, or another version of hemline made it.
    """
    path = folder / MANIFEST
    remedy = f"remove {folder} and make it again with `hemline neighbours`"
    content: dict[str, Any] = files.read_json(path, remedy=remedy)
    try:
        comparisons = tuple(
            Comparison(**{**each, "parts": tuple(NeighbourPart(**part) for part in each["parts"])})
            for each in content.pop("comparisons")
        )
        conditions = tuple(content.pop("conditions"))
        return NeighboursFolder(
            folder=folder, comparisons=comparisons, conditions=conditions, **content
        )
    except (KeyError, TypeError) as error:
        raise HemlineError(
            f"{path} was made by another version of hemline ({error}): {remedy}"
        ) from error


def items_path(folder: Path, made_from: str) -> Path:
    """Returns the path of a comparison's `COMPARED`."""
    return folder / f"items-{made_from[:16]}.parquet"


def write_part(
    path: Path, images_Q: NDArray[np.int64], lists: NearestLists, *, attribute: str
) -> None:
    """Writes the lists of some items, by ascending image number."""
    rows, columns = np.nonzero(lists.images_QK != NO_IMAGE)
    table = pa.table(
        [
            images_Q[rows],
            pa.repeat(attribute, len(rows)),
            (columns + 1).astype(np.int16),
            lists.images_QK[rows, columns],
            lists.similarities_QK[rows, columns],
        ],
        schema=NEIGHBOURS,
    )
    files.write_table(table, path, schema=NEIGHBOURS)


def read_part(path: Path, images_Q: NDArray[np.int64], *, top_k: int) -> NearestLists:
    """Returns the lists of some items, given by ascending image number; others are passed over.

    Raises:
        HemlineError: the file is missing or damaged.
    """
    table = files.read_table(path, schema=NEIGHBOURS)
    lists = no_lists(len(images_Q), top_k)
    items, ranks = table["item"].to_numpy(), table["rank"].to_numpy()
    places = np.searchsorted(images_Q, items)
    asked = np.isin(items, images_Q)
    place = (places[asked], ranks[asked] - 1)
    lists.images_QK[place] = table["neighbour"].to_numpy()[asked]
    lists.similarities_QK[place] = table["similarity"].to_numpy()[asked]
    return lists


def bring_in(made: NeighboursFolder) -> None:
    """Brings finished parts into `nearest`, writes the manifest, and removes what it lacks."""
    keyed_parts.bring_in(made.folder / NEAREST, [path.name for path in made.written()])
    write_manifest(made)
    kept = {items_path(made.folder, each.made_from) for each in made.comparisons}
    keyed_parts.remove_unnamed(made.folder, "items-*.parquet", named=kept)
