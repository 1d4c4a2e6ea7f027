"""The report of an evaluation, put together from its parts as one HTML file.

The file needs nothing else: no script, no network.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.evaluation.attention import attention_maps
from components.evaluation.examples import best_median_worst
from components.evaluation.figures import not_above_random
from components.figures.charts import CHARTS_CSS
from components.figures.frames import FRAMES, frames_css
from components.figures.space import space_svg, subsample
from components.report.content import Figure, Measured, Report, StoreTiles, Strip
from components.report.items import items_notes, items_table
from components.report.manipulation import manipulation_of
from components.report.overview import (
    champion_reason,
    facts_of,
    growth_table,
    learning_of,
    papers_table,
    quality_of,
    quantisation_table,
    scores_table,
    tags_table,
)
from components.report.papers import paper_scores
from components.report.section import MAX_POINTS, searches_of, section_of
from components.report.words import network_name

_NUM_FAILURES = 10
_FAILURES_PER_ATTRIBUTE = 2
_NUM_ATTENDED = 4

_BREAKABLE = Markup("_<wbr>")  # names such as neckline_design are wider than a tile


def compose(
    measured: Measured,
    *,
    splits: str,
    on_progress: Callable[[int], None] = lambda num_attributes: None,
) -> Report:
    """Returns the report of an evaluation.

    Args:
        measured: the evaluation.
        splits: path of the splits, as DVC knows it.
        on_progress: called with the number of attributes done since its last call.
    """
    pictures = StoreTiles(measured.store)
    reason = champion_reason(measured, splits=splits)
    champion = None if reason else measured.champion
    papers = paper_scores(measured.schema, num_test_images=len(measured.images))
    notes = items_notes(measured.figures)
    if reason:
        notes.append(f"The champion is not shown: {reason}.")
    if papers.reason:
        notes.append(f"The papers are not shown: {papers.reason}.")
    if names := not_above_random(measured.figures):
        notes.append(f"Not above a random ranking: {', '.join(names)} (their gain may be 0).")
    sections, worst, medians = [], [], []
    for attribute in measured.results:
        searches = searches_of(measured, pictures, attribute)
        sections.append(section_of(measured, searches, attribute))
        worst += searches.failures(limit=_FAILURES_PER_ATTRIBUTE)
        median = best_median_worst(searches.ap_Q)[1]
        medians.append(int(searches.nearest.queries.images_N[median]))
        on_progress(1)
    worst.sort(key=lambda failure: failure[0])
    return Report(
        title=f"{measured.schema.dataset}: {network_name(measured.network['name'])}",
        facts=facts_of(measured),
        quality=quality_of(measured, champion, papers),
        scores=scores_table(measured, champion),
        items=items_table(measured.figures, champion),
        notes=notes,
        papers=papers_table(measured, papers),
        tags=tags_table(measured),
        growth=growth_table(measured),
        quantisation=quantisation_table(measured),
        learning=learning_of(measured),
        spaces=_spaces(measured),
        manipulation=manipulation_of(measured, pictures),
        attention=_attention(measured, pictures, medians[:_NUM_ATTENDED]),
        attributes=sections,
        failures=[strip for _, strip in worst[:_NUM_FAILURES]],
    )


def render(report: Report) -> str:
    """Returns the page; names from the data are escaped, figures are put in as they are."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html")
    return page.render(
        report=report,
        frames=FRAMES,
        css=Markup(frames_css() + CHARTS_CSS),
        breakable=_BREAKABLE,
    )


def _spaces(measured: Measured) -> Figure:
    """Returns the embeddings of all attributes together, each image where it has a label."""
    test = measured.splits.filter(pc.field("split") == "test")
    columns = [test[name].to_numpy() for name in ("image", "attribute")]
    labelled = np.unique(np.stack(columns, axis=1), axis=0)
    images, attributes = labelled[subsample(len(labelled), limit=MAX_POINTS)].T
    names = measured.schema.names
    svg = space_svg(
        measured.embeddings[np.searchsorted(measured.images, images), attributes],
        [names[attribute] for attribute in attributes],
        name="spaces",
        description=f"t-SNE of {len(images)} embeddings, by the attribute they are of",
    )
    if svg is None:
        return Figure(svg=None, caption=f"Not drawn: {len(images)} labels are too few.")
    caption = (
        f"t-SNE of {len(images):,} of the {len(labelled):,} labelled pairs of test image and "
        "attribute, each embedded for its attribute, by attribute (number of points)."
    )
    return Figure(svg=svg, caption=caption)


def _attention(measured: Measured, pictures: StoreTiles, images: Sequence[int]) -> list[Strip]:
    """Returns each image under every attribute; nothing where the network has no attention."""
    numbers = np.array(images, np.int64)
    names = measured.schema.names
    asked = np.tile(np.arange(len(names)), (len(images), 1))
    maps = attention_maps(measured.attend, measured.store, numbers, asked)
    if maps is None:
        return []
    strips = []
    for image, weights_KHW in zip(images, maps, strict=True):
        tiles = [pictures.tile(image, lines=("image",))]
        for name, weights_HW in zip(names, weights_KHW, strict=True):
            tiles.append(pictures.attended(image, weights_HW, lines=(name,)))
        strips.append(Strip(title=f"Image {image}", tiles=tiles))
    return strips
