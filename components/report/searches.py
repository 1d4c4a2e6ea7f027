"""Queries of a report with what they found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.attributes import Attribute
from components.evaluation.examples import (
    Confusion,
    Nearest,
    best_median_worst,
    confused_values,
    failures,
)
from components.evaluation.ranking import Items
from components.report.content import ConfusedPair, Strip, Tile
from components.report.pictures import Pictures

NUM_NEAREST = 10


@dataclass(frozen=True, kw_only=True)
class Searches:
    """The queries of an attribute that can be shown.

    Attributes:
        attribute: asked for.
        nearest: what each query found.
        ap_Q: average precision of each.
        pictures: of the images.
    """

    attribute: Attribute
    nearest: Nearest
    ap_Q: NDArray[np.float64]
    pictures: Pictures

    def best_median_worst(self) -> list[Strip]:
        """Returns the queries of the highest, the median and the lowest average precision."""
        places = best_median_worst(self.ap_Q)
        titles = ("Best query", "Median query", "Worst query")
        return [self._strip(title, q) for title, q in zip(titles, places, strict=True)]

    def failures(self, *, limit: int) -> list[tuple[float, Strip]]:
        """Returns the queries that agree least with what they found, the worst one left out.

        That one stands among `best_median_worst`. Each with the share that agrees of what could.
        """
        worst = best_median_worst(self.ap_Q)[-1]
        found = failures(self.nearest, limit=limit, leave_out=[worst])
        return [(self._share(q), self._failure(q)) for q in found]

    def confused(self, *, limit: int) -> list[ConfusedPair]:
        """Returns the values that are confused most."""
        pairs = confused_values(self.nearest, limit=limit)
        return [self._confused_pair(pair) for pair in pairs]

    def values(self, items: Items, place: int) -> str:
        """Returns the values of an item as people read them."""
        names = [self.attribute.values[v] for v in np.flatnonzero(items.values_N[place])]
        return ", ".join(names)

    def _share(self, q: int) -> float:
        return float(self.nearest.agrees_QK[q].sum() / self.nearest.could_agree_Q[q])

    def _strip(self, title: str, q: int) -> Strip:
        nearest = self.nearest
        note = (
            f"Average precision {self.ap_Q[q]:.3f}. Of the {self._num_shown(q)} nearest, "
            f"{nearest.agrees_QK[q].sum()} agree; of the {len(nearest.gallery)} items of the "
            f"gallery, {nearest.num_relevant_Q[q]} do."
        )
        return Strip(title=title, note=note, tiles=[self._query(q), *self._found(q)])

    def _failure(self, q: int) -> Strip:
        nearest = self.nearest
        num_relevant, num_items = int(nearest.num_relevant_Q[q]), len(nearest.gallery)
        by_chance = self._num_shown(q) * num_relevant / num_items
        note = (
            f"Expected {self.values(nearest.queries, q)}, which {num_relevant} of {num_items} "
            f"items are: {self._num_shown(q)} drawn at random would hold {by_chance:.1f}, these "
            f"hold {nearest.agrees_QK[q].sum()}."
        )
        tiles = [self._query(q), *self._found(q)]
        if not nearest.agrees_QK[q].any():
            note += " The last picture is the nearest that agrees."
            place, rank = (int(x[q]) for x in (nearest.first_relevant_Q, nearest.first_rank_Q))
            tiles.append(self._item(place, f"rank {rank}", agrees=True))
        return Strip(title=self.attribute.name, note=note, tiles=tiles)

    def _num_shown(self, q: int) -> int:
        return int((self.nearest.places_QK[q] >= 0).sum())

    def _query(self, q: int) -> Tile:
        queries = self.nearest.queries
        assert queries.images_N is not None
        lines = ("query", self.values(queries, q))
        return self.pictures.tile(int(queries.images_N[q]), lines=lines, sign="query")

    def _found(self, q: int) -> Sequence[Tile]:
        nearest = self.nearest
        rows = zip(
            nearest.places_QK[q], nearest.similarities_QK[q], nearest.agrees_QK[q], strict=True
        )
        return [
            self._item(int(place), f"{rank}. {similarity:.3f}", agrees=bool(agrees))
            for rank, (place, similarity, agrees) in enumerate(rows, start=1)
            if place >= 0
        ]

    def _item(self, place: int, line: str, *, agrees: bool) -> Tile:
        gallery = self.nearest.gallery
        assert gallery.images_N is not None
        return self.pictures.tile(
            int(gallery.images_N[place]),
            lines=(line, self.values(gallery, place)),
            sign="agrees" if agrees else "differs",
        )

    def _confused_pair(self, pair: Confusion) -> ConfusedPair:
        value, other = (self.attribute.values[v] for v in (pair.value, pair.other))
        rank = int(np.flatnonzero(self.nearest.places_QK[pair.query] == pair.item)[0])
        similarity = self.nearest.similarities_QK[pair.query, rank]
        queries = "1 query" if pair.num_queries == 1 else f"{pair.num_queries} queries"
        return ConfusedPair(
            summary=(
                f"{value} finds {other}: {pair.num_found} of {pair.num_shown} nearest items "
                f"of {queries}"
            ),
            share=pair.share,
            query=self._query(pair.query),
            item=self._item(pair.item, f"{rank + 1}. {similarity:.3f}", agrees=False),
        )
