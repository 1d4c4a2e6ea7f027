"""What a shelf answers: where its model looked, and the nearest items."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.browse.pictures import data_url
from components.browse.question import Question
from components.browse.shelf import Shelf
from components.browse.uploads import Upload
from components.errors import HemlineError
from components.figures.overlay import attention_overlay
from components.images.decode import UnreadableImageError, decode
from components.search.finder import Found

AGREES, DIFFERS, UNKNOWN = "agrees", "differs", "unknown"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A picture as a shelf knows it.

    Attributes:
        vectors: embedding [D] for each attribute asked for.
        images: numbers of the catalogue's items that are this picture.
        pixels_SS3: what the model is shown; None where the file cannot be read.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    images: tuple[int, ...]
    pixels_SS3: NDArray[np.uint8] | None


class Mark(NamedTuple):
    """An item's values of an attribute, and whether one of them is the query's."""

    attribute: str
    values: tuple[str, ...]
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """An item that was found, and its rank in the other column; None where it is not there."""

    rank: int
    found: Found
    marks: tuple[Mark, ...]
    other_rank: int | None = None

    @property
    def verdict(self) -> str:
        """Of all its marks: differs where one does, agrees where one does and none differs."""
        verdicts = {mark.verdict for mark in self.marks}
        return next((word for word in (DIFFERS, AGREES) if word in verdicts), UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A column of the page.

    Attributes:
        shelf: that answers.
        problem: why it cannot; empty where it can.
        notice: what would make it faster; empty where nothing would.
        picture: the query as the model is shown it, as a data URL; empty without one.
        values: the query's values, by attribute.
        maps: the query under its attention map as a data URL, by attribute.
        cards: nearest first.
    """

    shelf: Shelf
    problem: str = ""
    notice: str = ""
    picture: str = ""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)
    cards: tuple[Card, ...] = ()

    def num(self, verdict: str, attribute: str) -> int:
        """Returns how many of the items have a verdict in an attribute."""
        marks = [mark for card in self.cards for mark in card.marks]
        return sum(mark.attribute == attribute and mark.verdict == verdict for mark in marks)


def item_query(shelf: Shelf, path: str, attributes: Sequence[str]) -> Query:
    """Returns an item of the catalogue as the query, with its stored embeddings.

    Raises:
        HemlineError: the shelf has no such item, or is not embedded for an attribute.
    """
    image = shelf.finder.number_of(path)
    return Query(
        vectors=shelf.finder.vectors_of(image, attributes),
        images=(image,),
        pixels_SS3=_pixels(shelf, image),
    )


def upload_query(shelf: Shelf, upload: Upload, attributes: Sequence[str]) -> Query:
    """Returns an uploaded picture as the query.

    Raises:
        HemlineError: the model does not know an attribute.
    """
    pixels_SS3 = upload.pixels[shelf.image_size_px]
    return Query(
        vectors=shelf.embed(pixels_SS3, attributes),
        images=upload.copies[shelf.key],
        pixels_SS3=pixels_SS3,
    )


def answer(shelf: Shelf, query: Query, question: Question) -> Answer:
    """Returns the nearest items of a shelf, and where its model looked in the query.

    Where it cannot be searched so (it lacks a column that a condition names), the answer says why.
    """
    names = [*question.weights]
    seen = Answer(
        shelf=shelf,
        notice=shelf.finder.missing_index(names) or "",
        picture="" if query.pixels_SS3 is None else data_url(query.pixels_SS3),
        values=shelf.finder.values_of(*query.images),
        maps=_maps(shelf, query.pixels_SS3, names),
    )
    try:
        found = shelf.finder.find(
            query.vectors,
            top_k=question.top_k,
            weights=question.weights,
            conditions=question.conditions,
            labelled_only=() if question.all_items else names,
            without=query.images,
            rerank=question.rerank,
        )
    except HemlineError as error:
        return replace(seen, problem=str(error))
    cards = [
        Card(rank=rank, found=item, marks=_marks(item, seen.values, names))
        for rank, item in enumerate(found, start=1)
    ]
    return replace(seen, cards=tuple(cards))


def side_by_side(answers: Sequence[Answer]) -> Sequence[Answer]:
    """Returns two answers whose cards tell the rank in the other one; others as they are."""
    if len(answers) != 2:
        return answers
    ranks = [{card.found.path: card.rank for card in each.cards} for each in answers]
    return [
        replace(
            each,
            cards=tuple(
                replace(card, other_rank=other.get(card.found.path)) for card in each.cards
            ),
        )
        for each, other in zip(answers, reversed(ranks), strict=True)
    ]


def _pixels(shelf: Shelf, image: int) -> NDArray[np.uint8] | None:
    try:
        return decode(shelf.pictures.read(image), image_size_px=shelf.image_size_px)
    except UnreadableImageError:  # its embeddings are there, whatever became of the file
        return None


def _marks(
    item: Found, query: Mapping[str, Sequence[str]], attributes: Sequence[str]
) -> tuple[Mark, ...]:
    return tuple(
        Mark(name, tuple(its), _verdict(set(its), set(query.get(name, ()))))
        for name in attributes
        for its in [item.values.get(name, ())]
    )


def _verdict(values: Set[str], query_values: Set[str]) -> str:
    if not values or not query_values:
        return UNKNOWN
    return AGREES if values & query_values else DIFFERS


def _maps(
    shelf: Shelf, pixels_SS3: NDArray[np.uint8] | None, attributes: Sequence[str]
) -> dict[str, str]:
    if pixels_SS3 is None:
        return {}
    maps_KHW = shelf.attend(pixels_SS3, attributes)
    if maps_KHW is None:
        return {}
    return {
        name: data_url(attention_overlay(pixels_SS3, map_HW))
        for name, map_HW in zip(attributes, maps_KHW, strict=True)
    }
