"""A column of the page: where a shelf's model looked, and the nearest items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.browse.question import Question
from components.browse.shelf import Shelf, data_url
from components.errors import HemlineError
from components.figures.pictures import attention_overlay
from components.search.change import changed
from components.search.request import Found, Query, Verdict, verdict


class Asked(NamedTuple):
    """A query, and what the model is shown of it [S, S, 3]; None where its file is unreadable."""

    query: Query
    pixels_SS3: NDArray[np.uint8] | None


Ask = Callable[[Shelf, Sequence[str]], Asked]
"""Returns the query as a shelf's model embeds it for some attributes."""


class Mark(NamedTuple):
    """An item's values of an attribute, and whether one of them is the query's."""

    attribute: str
    values: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Card:
    """An item that was found, and its rank in the other column; None where it is not there."""

    rank: int
    found: Found
    marks: tuple[Mark, ...]
    other_rank: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Of all its marks: differs where one does, agrees where one does and none differs."""
        verdicts = {mark.verdict for mark in self.marks}
        if "differs" in verdicts:
            return "differs"
        return "agrees" if "agrees" in verdicts else "unknown"


@dataclass(frozen=True, kw_only=True)
class Column:
    """What the page shows of a shelf.

    Attributes:
        shelf: the shelf that answers.
        problem: why it has no answer; empty where it has one.
        notice: a hint for a faster search; empty for none.
        picture: the query as the model is shown it, as a data URL; empty without one.
        values: the query's values, by attribute.
        target: the same with the values that were asked for instead.
        maps: the query under its attention map as a data URL, by attribute.
        cards: items found, nearest first.
    """

    shelf: Shelf
    problem: str = ""
    notice: str = ""
    picture: str = ""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    target: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)
    cards: tuple[Card, ...] = ()

    def num(self, verdict: str, attribute: str) -> int:
        """Returns how many of the items have a verdict in an attribute."""
        marks = [mark for card in self.cards for mark in card.marks]
        return sum(mark.attribute == attribute and mark.verdict == verdict for mark in marks)


def column_of(shelf: Shelf, ask: Ask, question: Question) -> Column:
    """Returns the nearest items of a shelf, and where its model looked in the query.

    Where it has no answer (it lacks a column that a condition names), the column says why: another
    shelf may well have one.
    """
    names = [*question.weights]
    column = Column(shelf=shelf)
    try:
        query, pixels_SS3 = ask(shelf, question.needed(shelf.finder.attributes))
        column = replace(
            column,
            picture="" if pixels_SS3 is None else data_url(pixels_SS3),
            values=query.values,
            maps=_maps(shelf, pixels_SS3, names),
        )
        if question.changes:
            query = changed(query, question.changes, shelf.prototypes())
        column = replace(column, target=query.values)
        answer = shelf.finder.find(query, question)
    except HemlineError as error:
        return replace(column, problem=str(error))
    cards = tuple(
        Card(rank=rank, found=item, marks=_marks(item, query.values, names))
        for rank, item in enumerate(answer.found, start=1)
    )
    return replace(column, notice=answer.notice, cards=cards)


def side_by_side(columns: Sequence[Column]) -> Sequence[Column]:
    """Returns two columns whose cards tell the rank in the other one; others as they are."""
    if len(columns) != 2:
        return columns
    ranks = [{card.found.path: card.rank for card in each.cards} for each in columns]
    compared = []
    for each, other in zip(columns, reversed(ranks), strict=True):
        cards = (replace(card, other_rank=other.get(card.found.path)) for card in each.cards)
        compared.append(replace(each, cards=tuple(cards)))
    return compared


def _marks(
    item: Found, query: Mapping[str, Sequence[str]], attributes: Sequence[str]
) -> tuple[Mark, ...]:
    values = {name: item.values.get(name, ()) for name in attributes}
    return tuple(
        Mark(name, its, verdict(set(its), set(query.get(name, ())))) for name, its in values.items()
    )


def _maps(
    shelf: Shelf, pixels_SS3: NDArray[np.uint8] | None, attributes: Sequence[str]
) -> dict[str, str]:
    if pixels_SS3 is None:
        return {}
    maps_KHW = shelf.attend(pixels_SS3, attributes)
    if maps_KHW is None:
        return {}
    overlays = (attention_overlay(pixels_SS3, map_HW) for map_HW in maps_KHW)
    return dict(zip(attributes, map(data_url, overlays), strict=True))
