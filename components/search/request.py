"""One search: what is asked and what is answered, by the command and by the page alike."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.errors import HemlineError
from components.search.conditions import Condition

MAX_WEIGHT = 1000

Verdict = Literal["agrees", "differs", "unknown"]
"""Whether an item shares a value with the query; unknown where either has no label."""


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """How to compare a query with items.

    Attributes:
        weights: weights of the attributes to compare by.
        top_k: number of items to find.
        conditions: conditions on the items; all must hold.
        all_items: whether items without a label of the attributes take part.
        rerank: number of the nearest in all attributes alike that are ranked by those to compare
            by; None: all items are. Source: ASEN.
        exact: whether to do without an index.
        changes: values that items are to have instead of the query's, by attribute.

    Raises:
        HemlineError: fewer items are ranked than are to be found.
    """

    weights: Mapping[str, float]
    top_k: int
    conditions: Sequence[Condition] = ()
    all_items: bool = False
    rerank: int | None = None
    exact: bool = False
    changes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rerank is not None and self.rerank < self.top_k:
            raise HemlineError(
                f"rerank {self.rerank} leaves fewer items than the {self.top_k} that are shown: "
                f"rerank a number from {self.top_k}, or show fewer"
            )

    def needed(self, attributes: Sequence[str]) -> list[str]:
        """Returns those of the embeddings' attributes that the query must be embedded for."""
        return [*self.weights] if self.rerank is None else [*attributes]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A picture, as embeddings and their catalog know it.

    Attributes:
        vectors: its embedding [D] for each attribute that the request needs.
        itself: numbers of the embedded images that are the picture; they are left out.
        values: its labels by attribute, where the catalog has some.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    itself: Sequence[int]
    values: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """An item that was found.

    Its path is relative to the root of the embedded images, its similarity the cosine with the
    query, or the weighted sum over several attributes. Values are those of every attribute with a
    label; {} without a catalog.
    """

    image: int
    path: str
    similarity: float
    values: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The items found, nearest first, and a hint for a faster search; empty for none."""

    found: Sequence[Found]
    notice: str


def parse_weight(attribute: str, text: str) -> float:
    """Returns the weight of an attribute, given as text.

    Raises:
        HemlineError: it is not a number above 0, or too large.
    """
    try:
        weight = float(text)
    except ValueError:
        weight = 0
    if not 0 < weight <= MAX_WEIGHT:  # nor NaN
        raise HemlineError(
            f"the weight of {attribute} is {text!r}: it must be a number above 0, "
            f"at most {MAX_WEIGHT}"
        )
    return weight


def verdict(values: Set[str], query_values: Set[str]) -> Verdict:
    """Returns whether an item agrees with the query, by the values that each has."""
    if not values or not query_values:
        return "unknown"
    return "agrees" if values & query_values else "differs"
