"""One part of a comparison: the lists of some items, made in whole or from earlier ones."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.images.keyed_parts import MAKING
from components.neighbours.by_index import nearest_by_index
from components.neighbours.changes import Changes
from components.neighbours.compared import ComparedItems
from components.neighbours.exact import NearestLists, nearest_exactly, no_lists, sorted_lists
from components.neighbours.folder import NeighbourPart, part_file, read_part, write_part
from components.search.index import AttributeIndex, read_index


@dataclass(frozen=True, kw_only=True)
class PartMade:
    """A part that was made: how many lists in whole, the others from earlier ones."""

    part: NeighbourPart
    num_whole: int


@dataclass(frozen=True, kw_only=True)
class PartsMaker:
    """Makes parts of one comparison; on Ray it is shared by all tasks of a node.

    Attributes:
        embedded: the embeddings.
        name: name of the comparison.
        weights: weight of each attribute.
        items: all items.
        candidates: those that may be neighbours.
        top_k: neighbours of an item.
        num_probes: lists of the index to look into; None: exactly.
        changes: what became of the items of earlier lists, if those are of use.
        out: folder of the neighbours.
    """

    embedded: Embeddings
    name: str
    weights: dict[str, float]
    items: ComparedItems
    candidates: ComparedItems
    top_k: int
    num_probes: int | None
    changes: Changes | None
    out: Path

    def make(self, key: str, rows: slice) -> PartMade:
        """Makes the part of the items in these rows; its file is in `making` then."""
        queries = self.items.rows(rows)
        lists, num_whole = self._lists(key, rows, queries)
        path = self.out / MAKING / part_file(key, self.weights)
        write_part(path, queries.images_n, lists, attribute=self.name)
        part = NeighbourPart.of(path, key, num_items=len(queries))
        return PartMade(part=part, num_whole=num_whole)

    def _lists(self, key: str, rows: slice, queries: ComparedItems) -> tuple[NearestLists, int]:
        changes = self.changes
        lists = no_lists(len(queries), self.top_k)
        anew_Q = np.ones(len(queries), bool)
        path = changes.parts.get(int(key.partition("-")[0])) if changes else None
        if changes and path:
            lists = read_part(path, queries.images_n, top_k=self.top_k)
            anew_Q = ~changes.kept_n[rows] | np.isin(lists.images_QK, changes.gone).any(axis=1)
            kept = queries.rows(~anew_Q)
            came = nearest_exactly(kept, self.items.rows(changes.came_n), top_k=self.top_k)
            merged = sorted_lists(
                np.hstack([lists.images_QK[~anew_Q], came.images_QK]),
                np.hstack([lists.similarities_QK[~anew_Q], came.similarities_QK]),
                top_k=self.top_k,
            )
            lists.put(~anew_Q, merged)
        lists.put(anew_Q, self._whole(queries.rows(anew_Q)))
        return lists, int(anew_Q.sum())

    def _whole(self, queries: ComparedItems) -> NearestLists:
        if self.num_probes is None or self.changes is not None:
            return nearest_exactly(queries, self.candidates, top_k=self.top_k)
        return nearest_by_index(
            queries, self.candidates, self.index, top_k=self.top_k, num_probes=self.num_probes
        )

    @cached_property
    def index(self) -> AttributeIndex:
        """The index of the only attribute, mapped from its file."""
        (attribute,) = self.weights
        index = read_index(self.embedded, attribute)
        if index is None:
            raise HemlineError(
                f"the index of {attribute} in {self.embedded.folder} went while it was in use: "
                "start again"
            )
        return index
