"""An attribute's section of a report: queries with what they found, its space, its triplets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from components.attributes import Attribute
from components.evaluation.attention import attention_maps
from components.evaluation.evaluation import queries_and_gallery
from components.evaluation.examples import (
    Confusion,
    Nearest,
    best_median_worst,
    confused_values,
    evenly_spaced,
    failures,
    nearest_items,
)
from components.evaluation.figures import gain_text, hits_text
from components.evaluation.ranking import Items
from components.evaluation.triplet_relations import Triplet, TripletExamples, triplet_examples
from components.figures.space import space_svg, subsample
from components.report.content import AttributeSection, Figure, Measured, StoreTiles, Strip, Tile

MAX_POINTS = 1000  # of a t-SNE: seconds

_NUM_NEAREST = 10
_NUM_CONFUSED = 5
_NUM_ATTENDED = 5
_NUM_TRIPLETS = 2


@dataclass(frozen=True, kw_only=True)
class Searches:
    """The queries of an attribute that can be shown.

    Attributes:
        attribute: the attribute searched by.
        nearest: what each query found.
        ap_Q: average precision of each query.
        pictures: pictures of the images.
        names: names of the values by their numbers.
    """

    attribute: Attribute
    nearest: Nearest
    ap_Q: NDArray[np.float64]
    pictures: StoreTiles
    names: Mapping[int, str]

    def best_median_worst(self) -> list[Strip]:
        """Returns the queries of the highest, the median and the lowest average precision."""
        places = best_median_worst(self.ap_Q)
        titles = ("Best query", "Median query", "Worst query")
        return [self._strip(title, q) for title, q in zip(titles, places, strict=True)]

    def failures(self, *, limit: int) -> list[tuple[float, Strip]]:
        """Returns the queries that agree least with what they found, with the share that agrees.

        The worst one is left out: it stands among `best_median_worst`.
        """
        worst = best_median_worst(self.ap_Q)[-1]
        found = failures(self.nearest, limit=limit, leave_out=[worst])
        return [(share, self._failure(q)) for share, q in found]

    def confused(self, *, limit: int) -> list[Strip] | None:
        """Returns the values that are confused most; None of items, which are too many."""
        if self.attribute.is_identity:
            return None
        return [self._confused(pair) for pair in confused_values(self.nearest, limit=limit)]

    def values(self, items: Items, place: int) -> str:
        """Returns the values of an item as people read them."""
        values = items.values_N[[place]].nonzero()[1]
        return ", ".join(self.names.get(value, f"item {value}") for value in values.tolist())

    def _strip(self, title: str, q: int) -> Strip:
        nearest = self.nearest
        note = (
            f"Average precision {self.ap_Q[q]:.3f}. Of the {self._num_shown(q)} nearest, "
            f"{nearest.agrees_QK[q].sum()} agree; of the {nearest.num_items_Q[q]} items of the "
            f"gallery, {nearest.num_relevant_Q[q]} do."
        )
        tiles = self._found(q)
        if self.attribute.is_identity:
            note += f" The first that does is number {nearest.first_rank_Q[q]}."
            tiles += self._first_relevant(q)
        return Strip(title=title, note=note, tiles=tiles)

    def _failure(self, q: int) -> Strip:
        nearest = self.nearest
        num_relevant, num_items = (int(x[q]) for x in (nearest.num_relevant_Q, nearest.num_items_Q))
        by_chance = self._num_shown(q) * num_relevant / num_items
        note = (
            f"Expected {self.values(nearest.queries, q)}, which {num_relevant} of {num_items} "
            f"items are: {self._num_shown(q)} drawn at random would hold {by_chance:.1f}, these "
            f"hold {nearest.agrees_QK[q].sum()}."
        )
        if not nearest.agrees_QK[q].any():
            note += " The last picture is the nearest that agrees."
        tiles = [*self._found(q), *self._first_relevant(q)]
        return Strip(title=self.attribute.name, note=note, tiles=tiles)

    def _first_relevant(self, q: int) -> list[Tile]:
        """Returns the nearest item that agrees, where none of those shown does."""
        nearest = self.nearest
        if nearest.agrees_QK[q].any():
            return []
        place, rank = (int(x[q]) for x in (nearest.first_relevant_Q, nearest.first_rank_Q))
        return [self._item(place, f"rank {rank}", agrees=True)]

    def _num_shown(self, q: int) -> int:
        return int((self.nearest.places_QK[q] >= 0).sum())

    def _query(self, q: int) -> Tile:
        queries = self.nearest.queries
        lines = ("query", self.values(queries, q))
        return self.pictures.tile(int(queries.images_N[q]), lines=lines, sign="query")

    def _found(self, q: int) -> list[Tile]:
        """Returns a query and what it found."""
        return [self._query(q), *(self._neighbour(q, rank) for rank in range(self._num_shown(q)))]

    def _neighbour(self, q: int, rank: int) -> Tile:
        nearest = self.nearest
        line = f"{rank + 1}. {nearest.similarities_QK[q, rank]:.3f}"
        agrees = bool(nearest.agrees_QK[q, rank])
        return self._item(int(nearest.places_QK[q, rank]), line, agrees=agrees)

    def _item(self, place: int, line: str, *, agrees: bool) -> Tile:
        gallery = self.nearest.gallery
        return self.pictures.tile(
            int(gallery.images_N[place]),
            lines=(line, self.values(gallery, place)),
            sign="agrees" if agrees else "differs",
        )

    def _confused(self, pair: Confusion) -> Strip:
        value, other = (self.attribute.values[v] for v in (pair.value, pair.other))
        queries = "1 query" if pair.num_queries == 1 else f"{pair.num_queries} queries"
        found = f"{pair.num_found} of {pair.num_shown} nearest items of {queries}"
        return Strip(
            title=f"{100 * pair.share:.0f} %",
            note=f"{value} finds {other}: {found}",
            tiles=[self._query(pair.query), self._neighbour(pair.query, pair.rank)],
        )


def searches_of(measured: Measured, pictures: StoreTiles, attribute: int) -> Searches:
    """Returns the queries of an attribute with what they found."""
    queries, gallery = queries_and_gallery(
        measured.splits, "test", attribute, measured.images, measured.embeddings
    )
    described = measured.schema.attributes[attribute]
    if not described.is_identity:  # of few values
        queries, gallery = (
            replace(items, values_N=csr_array(items.values_N).toarray())
            for items in (queries, gallery)
        )
    return Searches(
        attribute=described,
        nearest=nearest_items(queries, gallery, k=_NUM_NEAREST),
        ap_Q=measured.results[attribute].ap_Q,
        pictures=pictures,
        names=measured.item_names if described.is_identity else dict(enumerate(described.values)),
    )


def section_of(measured: Measured, searches: Searches, attribute: int) -> AttributeSection:
    """Returns the section of an attribute (position in the schema) that has queries."""
    name = searches.attribute.name
    row = measured.figures["attributes"][name]
    found = triplet_examples(
        measured.triplets, attribute, measured.images, measured.embeddings, limit=_NUM_TRIPLETS
    )
    return AttributeSection(
        name=name,
        summary=(
            f"MAP {row['map']:.2f} ({row['map_low']:.1f} to {row['map_high']:.1f}), a random "
            f"ranking {row['random_map']:.2f}, gain {gain_text(row)} %; "
            f"{row['num_queries']} queries, {row['num_gallery']} items in the gallery."
            + (f" Items found: {hits_text(row)}." if searches.attribute.is_identity else "")
        ),
        searches=searches.best_median_worst(),
        attention=_attention(measured, searches, attribute),
        space=_space(measured, attribute),
        confused=searches.confused(limit=_NUM_CONFUSED),
        triplets=[] if found is None else _triplets(found, searches.pictures),
        triplet_summary=_triplet_summary(found),
    )


def _attention(measured: Measured, searches: Searches, attribute: int) -> Strip | None:
    """Returns queries with their attention, evenly spaced from the best to the worst."""
    places = evenly_spaced(searches.ap_Q, _NUM_ATTENDED)
    images = searches.nearest.queries.images_N[places]
    asked = np.full((len(images), 1), attribute, np.int64)
    maps = attention_maps(measured.attend, measured.store, images, asked)
    if maps is None:
        return None
    tiles: list[Tile] = []
    for place, image, weights in zip(places, images.tolist(), maps[:, 0], strict=True):
        lines = (searches.values(searches.nearest.queries, place), f"AP {searches.ap_Q[place]:.2f}")
        tiles += [
            searches.pictures.tile(image, lines=lines),
            searches.pictures.attended(image, weights, lines=("attention",)),
        ]
    note = "Queries evenly spaced from the highest to the lowest average precision."
    return Strip(title="Attention", note=note, tiles=tiles)


def _space(measured: Measured, attribute: int) -> Figure:
    """Returns the attribute's space as a chart, an image of several values at the first one.

    That of items shows who asks and who answers, where roles decide: whether the two worlds lie
    apart.
    """
    name, described = measured.schema.names[attribute], measured.schema.attributes[attribute]
    own = (pc.field("split") == "test") & (pc.field("attribute") == attribute)
    labels = measured.splits.filter(own).sort_by([("image", "ascending"), ("value", "ascending")])
    images, first = np.unique(labels["image"].to_numpy(), return_index=True)
    if described.is_identity:
        role = pc.if_else(labels["exclusion_group"].is_valid(), "query and gallery", labels["role"])
        groups, what = role.to_numpy()[first], "role"
    else:
        groups, what = np.array(described.values)[labels["value"].to_numpy()[first]], "value"
    drawn = subsample(len(images), limit=MAX_POINTS)
    places = np.searchsorted(measured.images, images[drawn])
    svg = space_svg(
        measured.embeddings[places, attribute],
        groups[drawn].tolist(),
        name=f"space-{attribute}",
        description=f"t-SNE of {len(drawn)} images in the space of {name}, by their {what}s",
    )
    if svg is None:
        return Figure(svg=None, caption=f"Not drawn: {len(drawn)} images are too few.")
    caption = (
        f"t-SNE of {len(drawn)} of the {len(images)} test images that have a label of {name}, in "
        f"its space, by {what} (number of images): near in the picture means near in the space."
    )
    return Figure(svg=svg, caption=caption)


def _triplets(found: TripletExamples, pictures: StoreTiles) -> list[Strip]:
    return [
        *(_triplet("In order", triplet, pictures) for triplet in found.in_order),
        *(_triplet("Out of order, worst", triplet, pictures) for triplet in found.out_of_order),
    ]


def _triplet(title: str, triplet: Triplet, pictures: StoreTiles) -> Strip:
    near = ("positive", f"{triplet.to_positive:.3f}")
    far = ("negative", f"{triplet.to_negative:.3f}")
    tiles = [
        pictures.tile(triplet.anchor, lines=("anchor",), sign="query"),
        pictures.tile(triplet.positive, lines=near, sign="agrees"),
        pictures.tile(triplet.negative, lines=far, sign="differs"),
    ]
    margin = triplet.to_positive - triplet.to_negative
    return Strip(title=title, note=f"margin {margin:+.3f}", tiles=tiles)


def _triplet_summary(found: TripletExamples | None) -> str:
    if found is None:
        return "The test split has no triplet of this attribute."
    share = 100 * found.num_in_order / found.num_triplets
    return (
        f"{found.num_in_order:,} of {found.num_triplets:,} test triplets are in order "
        f"({share:.1f} %): the anchor is nearer to the positive than to the negative. In order: "
        "the widest and the narrowest margin; out of order: the most negative, one per anchor."
    )
