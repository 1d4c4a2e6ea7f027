"""What stands in a report, ready to be laid out; `page.py` makes HTML of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Sign = Literal["query", "agrees", "differs", "plain"]
"""How a picture is framed; every frame but the plain one also carries a sign."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with its caption.

    Attributes:
        source: the picture as a data URI.
        description: what a reader who does not see it is told.
        lines: of the caption.
        sign: how it is framed.
    """

    source: str
    description: str
    lines: Sequence[str] = ()
    sign: Sign = "plain"


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures in a row, and what they are."""

    title: str
    tiles: Sequence[Tile]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart as an `<svg>` element, and what it shows; without one, why there is none."""

    svg: str | None
    caption: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under a header; the first cell of a row says what the row is."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """A value whose queries find another value, with the most similar example."""

    summary: str
    share: float
    query: Tile
    item: Tile


@dataclass(frozen=True, kw_only=True)
class AttributeSection:
    """An attribute's part of the report.

    Attributes:
        name: of the attribute.
        summary: its scores in a sentence.
        searches: the best, the median and the worst query with what they found.
        attention: where the network looked; none where it has no attention.
        space: its embeddings in two dimensions.
        confused: the values that are confused most.
        triplets: some in order, and the worst out of order.
        triplet_summary: how many of them are in order.
    """

    name: str
    summary: str
    searches: Sequence[Strip]
    attention: Strip | None
    space: Figure
    confused: Sequence[ConfusedPair]
    triplets: Sequence[Strip]
    triplet_summary: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        facts: what was measured, and where it comes from, by what each is.
        quality: scores per attribute as a chart.
        scores: the same as a table.
        notes: what is not shown, and why; where the papers' numbers come from.
        papers: the papers' scores, where they can be compared.
        learning: the training's curves.
        spaces: the embeddings of all attributes together.
        attention: pictures under every attribute.
        attributes: a section each.
        failures: queries that found hardly anything.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    quality: Figure
    scores: Table
    notes: Sequence[str]
    papers: Table | None
    learning: Figure
    spaces: Figure
    attention: Sequence[Strip]
    attributes: Sequence[AttributeSection]
    failures: Sequence[Strip] = field(default_factory=tuple)
