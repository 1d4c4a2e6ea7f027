"""An attribute's section of a report."""

import numpy as np
import pyarrow.compute as pc

from components.evaluation.attention import attention_maps
from components.evaluation.evaluation import queries_and_gallery
from components.evaluation.examples import evenly_spaced, nearest_items
from components.evaluation.triplet_relations import Triplet, TripletExamples, triplet_examples
from components.figures.projection import MIN_POINTS, project, subsample
from components.figures.scatter import scatter_svg
from components.report.content import AttributeSection, Figure, Strip, Tile
from components.report.measured import Measured
from components.report.pictures import Pictures
from components.report.searches import NUM_NEAREST, Searches

MAX_POINTS = 1000  # of a t-SNE: seconds

_NUM_CONFUSED = 5
_NUM_ATTENDED = 5
_NUM_TRIPLETS = 2


def searches_of(measured: Measured, pictures: Pictures, attribute: int) -> Searches:
    """Returns the queries of an attribute with what they found."""
    queries, gallery = queries_and_gallery(
        measured.splits, "test", attribute, measured.images, measured.embeddings[:, attribute]
    )
    return Searches(
        attribute=measured.schema.attributes[attribute],
        nearest=nearest_items(queries, gallery, k=NUM_NEAREST),
        ap_Q=measured.results[attribute].ap_Q,
        pictures=pictures,
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
            f"ranking {row['random_map']:.2f}; {row['num_queries']} queries, "
            f"{row['num_gallery']} items in the gallery."
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
    queries = searches.nearest.queries
    assert queries.images_N is not None
    images = queries.images_N[places]
    asked = np.full((len(images), 1), attribute, np.int64)
    maps = attention_maps(measured.attend, measured.store, images, asked)
    if maps is None:
        return None
    tiles: list[Tile] = []
    for place, image, weights in zip(places, images.tolist(), maps[:, 0], strict=True):
        lines = (searches.values(queries, place), f"AP {searches.ap_Q[place]:.2f}")
        tiles += [
            searches.pictures.tile(image, lines=lines),
            searches.pictures.attended(image, weights, lines=("attention",)),
        ]
    note = "Queries evenly spaced from the highest to the lowest average precision."
    return Strip(title="Attention", note=note, tiles=tiles)


def _space(measured: Measured, attribute: int) -> Figure:
    """Returns the attribute's space as a chart, an image of several values at the first one."""
    name = measured.schema.names[attribute]
    own = (pc.field("split") == "test") & (pc.field("attribute") == attribute)
    labels = measured.splits.filter(own).sort_by([("image", "ascending"), ("value", "ascending")])
    images, first = np.unique(labels["image"].to_numpy(), return_index=True)
    values = labels["value"].to_numpy()[first]
    drawn = subsample(len(images), limit=MAX_POINTS)
    if len(drawn) < MIN_POINTS:
        return Figure(svg=None, caption=f"Not drawn: {len(drawn)} images are too few.")
    places = np.searchsorted(measured.images, images[drawn])
    names = measured.schema.attributes[attribute].values
    svg = scatter_svg(
        project(measured.embeddings[places, attribute]),
        [names[value] for value in values[drawn]],
        name=f"space-{attribute}",
        description=f"t-SNE of {len(drawn)} images in the space of {name}, by their values",
    )
    caption = (
        f"t-SNE of {len(drawn)} of the {len(images)} test images that have a label of {name}, in "
        "its space, by value (number of images): near in the picture means near in the space."
    )
    return Figure(svg=svg, caption=caption)


def _triplets(found: TripletExamples, pictures: Pictures) -> list[Strip]:
    kinds = (("In order", found.in_order), ("Out of order, worst", found.out_of_order))
    return [_triplet(title, one, pictures) for title, some in kinds for one in some]


def _triplet(title: str, triplet: Triplet, pictures: Pictures) -> Strip:
    margin = triplet.to_positive - triplet.to_negative
    tiles = [
        pictures.tile(triplet.anchor, lines=("anchor",), sign="query"),
        pictures.tile(
            triplet.positive, lines=("positive", f"{triplet.to_positive:.3f}"), sign="agrees"
        ),
        pictures.tile(
            triplet.negative, lines=("negative", f"{triplet.to_negative:.3f}"), sign="differs"
        ),
    ]
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
