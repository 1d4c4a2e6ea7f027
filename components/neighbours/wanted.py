"""A comparison that is to be made: its items, and the keys of its parts."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import pyarrow as pa

from components.embedding.embeddings import Embeddings
from components.images.keyed_parts import parts_by_number
from components.neighbours.compared import ComparedItems, fingerprints, read_compared
from components.neighbours.folder import COMPARED, Method
from components.search.finder import Finder
from components.search.request import SearchRequest

ITEMS_PER_PART = 32_768
"""Image numbers that a part covers: a killed run loses at most so many lists."""

MOST_EXACT = 100_000
"""Candidates beyond which one attribute's neighbours are found by its index."""

_FORMAT = 1  # of what is written, in every key


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A comparison to be made: the items, with what tells whether they changed."""

    request: SearchRequest
    items: ComparedItems
    compared: pa.Table
    method: Method

    @classmethod
    def read(cls, finder: Finder, embedded: Embeddings, request: SearchRequest) -> "Wanted":
        """Returns what a request asks for of the embeddings.

        Raises:
            HemlineError: as `Finder.allowed_images`, or a file is missing or damaged.
        """
        table = embedded.items().sort_by("image")
        items = read_compared(embedded, table, request)
        allowed = finder.allowed_images(request)
        could_n = np.ones(len(items), bool) if allowed is None else np.isin(items.images_n, allowed)
        columns = [items.images_n, fingerprints(items, table["content"]), could_n]
        is_large = len(request.weights) == 1 and could_n.sum() > MOST_EXACT
        return cls(
            request=request,
            items=items,
            compared=pa.table(columns, schema=COMPARED),
            method="index" if is_large and not request.exact else "exact",
        )

    def or_better(self, method: Method) -> "Wanted":
        """Returns the same, but with exact lists where these are there already."""
        return replace(self, method="exact") if method == "exact" else self

    @cached_property
    def candidates(self) -> ComparedItems:
        """The items that may be neighbours."""
        could_n = self.compared["may_be_found"].to_numpy()
        return self.items if could_n.all() else self.items.rows(could_n)

    @property
    def made_from(self) -> str:
        """Digest of what the lists are made from, but for an index."""
        return _digest(self._recipe, self.compared)

    def keys(self, *, history: str) -> dict[str, slice]:
        """Returns key and rows of every part."""
        candidates = _digest(self._recipe, self.compared.filter(self.compared["may_be_found"]))
        parts = parts_by_number(self.compared, images_per_part=ITEMS_PER_PART)
        keys, start = {}, 0
        for index, rows in parts:
            digest = _digest([candidates, history], rows.select(["image", "fingerprint"]))
            keys[f"{index:05d}-{digest[:16]}"] = slice(start, start + len(rows))
            start += len(rows)
        return keys

    @property
    def _recipe(self) -> list[object]:
        weights = [*self.request.weights.items()]
        return [_FORMAT, ITEMS_PER_PART, weights, self.request.top_k, self.method]


def _digest(recipe: object, rows: pa.Table) -> str:
    digest = sha256(json.dumps(recipe).encode())
    for column in rows.columns:
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()
