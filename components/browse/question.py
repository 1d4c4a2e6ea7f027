"""The search request of an address or a form's fields, and the fields that ask for the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from components.attributes import nfc
from components.errors import HemlineError
from components.search.conditions import parse_condition
from components.search.request import SearchRequest, parse_weight

NUM_SHOWN = (10, 20, 50, 100)

_WEIGHT, _CHANGE = "weight.", "change."


@dataclass(frozen=True, kw_only=True)
class Question(SearchRequest):
    """A search request of the page; without weights where no attribute was chosen."""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a form or of an address that ask for the same."""
        weights = {f"{_WEIGHT}{name}": f"{w:g}" for name, w in self.weights.items() if w != 1}
        changes = {f"{_CHANGE}{name}": value for name, value in self.changes.items()}
        others: dict[str, Any] = {"top_k": self.top_k} if self.top_k != NUM_SHOWN[0] else {}
        if self.all_items:
            others["all_items"] = 1
        if self.rerank is not None:
            others["rerank"] = self.rerank
        if self.conditions:
            others["where"] = [str(condition) for condition in self.conditions]
        return {"attribute": [*self.weights], **weights, **changes, **others}

    @property
    def unchanged(self) -> "Question":
        """The question without other values than the picture's: what is asked of a found item."""
        return replace(self, changes={})

    def with_default(self, attribute: str) -> "Question":
        """Returns the question with one attribute to compare by where none was chosen."""
        return self if self.weights else replace(self, weights={attribute: 1.0})


def read_question(
    fields: MultiDict[str, str], known: Sequence[str], *, kept: Collection[str]
) -> Question:
    """Returns what the fields of a form or of an address ask for.

    Args:
        fields: `attribute`, as often as attributes are chosen; `weight.<attribute>`, without it 1;
            `change.<attribute>`, the value that it is to have; `top_k`; `all_items`; `where`, a
            condition each; `rerank`. Others do not count.
        known: attributes that there are.
        kept: those that stay as they are in the picture where another is changed and nothing is
            chosen: not an identity, as what is found is to be another product.

    Raises:
        BadRequest: a field is not of what is allowed.
    """
    chosen = list(dict.fromkeys(fields.getlist("attribute")))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise BadRequest(f"There is no attribute {unknown[0]!r}; there are {', '.join(known)}.")
    changes = {n: value for n in known if (value := nfc(fields.get(f"{_CHANGE}{n}", "")))}
    if changes and not {*chosen} - changes.keys():
        chosen = [name for name in known if name in kept]  # nothing is said of what stays
    chosen = list(dict.fromkeys([*chosen, *changes]))
    try:
        return Question(
            weights={n: parse_weight(n, fields.get(f"{_WEIGHT}{n}") or "1") for n in chosen},
            changes=changes,
            top_k=_top_k(fields.get("top_k") or str(NUM_SHOWN[0])),
            all_items="all_items" in fields,
            conditions=[parse_condition(text) for text in fields.getlist("where") if text.strip()],
            rerank=_rerank(fields.get("rerank", "")),
        )
    except HemlineError as error:
        raise BadRequest(str(error)) from error


def _top_k(text: str) -> int:
    if text not in map(str, NUM_SHOWN):
        raise HemlineError(f"top_k is {text!r}: it can be {', '.join(map(str, NUM_SHOWN))}")
    return int(text)


def _rerank(text: str) -> int | None:
    if text and not text.isdecimal():
        raise HemlineError(f"rerank is {text!r}: it must be a whole number")
    return int(text) if text else None
