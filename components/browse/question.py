"""What a request asks for: attributes, their weights, and how much of the ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from components.errors import HemlineError
from components.search.conditions import Condition, parse_condition

NUM_SHOWN = (10, 20, 50, 100)
MAX_WEIGHT = 1000

_WEIGHT = "weight."


@dataclass(frozen=True, kw_only=True)
class Question:
    """How to compare, whatever is compared.

    Attributes:
        weights: of the attributes to compare by; empty where none was chosen.
        top_k: how many items to show.
        all_items: whether items without a label of the attributes take part.
        conditions: on the items; all must hold.
        rerank: how many of the nearest in all attributes together are ranked; None: all items are.
    """

    weights: Mapping[str, float]
    top_k: int
    all_items: bool
    conditions: tuple[Condition, ...]
    rerank: int | None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a form or of an address that ask for the same."""
        weights = {f"{_WEIGHT}{name}": f"{w:g}" for name, w in self.weights.items() if w != 1}
        others: dict[str, Any] = {"top_k": self.top_k} if self.top_k != NUM_SHOWN[0] else {}
        if self.all_items:
            others["all_items"] = 1
        if self.rerank is not None:
            others["rerank"] = self.rerank
        if self.conditions:
            others["where"] = [str(condition) for condition in self.conditions]
        return {"attribute": [*self.weights], **weights, **others}

    def with_default(self, attribute: str) -> "Question":
        """Returns the question with one attribute to compare by where none was chosen."""
        return self if self.weights else replace(self, weights={attribute: 1.0})


def read_question(fields: MultiDict[str, str], known: Sequence[str]) -> Question:
    """Returns what the fields of a form or of an address ask for.

    Args:
        fields: `attribute`, as often as attributes are chosen; `weight.<attribute>`, without it 1;
            `top_k`; `all_items`; `where`, a condition each; `rerank`. Others do not count.
        known: attributes that there are.

    Raises:
        BadRequest: a field is not of what is allowed.
    """
    chosen = list(dict.fromkeys(fields.getlist("attribute")))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise BadRequest(f"There is no attribute {unknown[0]!r}; there are {', '.join(known)}.")
    top_k = _top_k(fields.get("top_k") or str(NUM_SHOWN[0]))
    return Question(
        weights={name: _weight(fields, name) for name in chosen},
        top_k=top_k,
        all_items="all_items" in fields,
        conditions=tuple(_condition(text) for text in fields.getlist("where") if text.strip()),
        rerank=_rerank(fields.get("rerank", ""), top_k),
    )


def _weight(fields: MultiDict[str, str], name: str) -> float:
    text = fields.get(f"{_WEIGHT}{name}") or "1"
    try:
        weight = float(text)
    except ValueError:
        weight = 0
    if not 0 < weight <= MAX_WEIGHT:  # nor NaN
        raise BadRequest(
            f"The weight of {name} is {text!r}: give a number above 0, of {MAX_WEIGHT} at most."
        )
    return weight


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except HemlineError as error:
        raise BadRequest(str(error)) from error


def _top_k(text: str) -> int:
    if text not in map(str, NUM_SHOWN):
        raise BadRequest(f"top_k is {text!r}: it can be {', '.join(map(str, NUM_SHOWN))}.")
    return int(text)


def _rerank(text: str, top_k: int) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < top_k:
        raise BadRequest(f"rerank is {text!r}: it can be a number from {top_k}, as many as shown.")
    return int(text)
