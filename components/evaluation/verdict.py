"""The gate's verdict on a version: its rules, what was measured, and how people read it."""

import json
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

_KEEPS = {"above": operator.gt, "at least": operator.ge, "at most": operator.le}


@dataclass(frozen=True)
class Rule:
    """A rule with what was measured, its limit, and the attribute concerned if it is only one."""

    name: str
    measured: float
    bound: Literal["above", "at least", "at most"]
    limit: float
    attribute: str | None = None

    @property
    def passed(self) -> bool:
        """Whether what was measured keeps to the limit; NaN does not."""
        return bool(_KEEPS[self.bound](self.measured, self.limit))

    @property
    def title(self) -> str:
        """Its name, with the attribute concerned."""
        return f"{self.name} ({self.attribute})" if self.attribute else self.name


@dataclass(frozen=True, kw_only=True)
class AttributeChange:
    """MAP of an attribute in percent; the champion's is None if it does not know the attribute.

    `gain` is the challenger's, with its 95 % interval, as `evaluation.report` has it; these and a
    random ranking's MAP are None in a verdict of an older version.
    """

    name: str
    num_queries: int
    champion_map: float | None
    challenger_map: float
    random_map: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None

    @property
    def gain_text(self) -> str:
        """The gain with its interval, and in words where it may be 0; empty where unknown."""
        if self.gain is None or self.gain_low is None:
            return ""
        text = f"{self.gain:.1f} ({self.gain_low:.1f} to {self.gain_high:.1f})"
        return text if self.gain_low > 0 else f"{text}, not above random"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's decision on a version.

    Attributes:
        challenger: number of the version.
        champion: number of the version that it was compared with; None where there was none.
        splits: SHA-256 of the splits table that both were measured on.
        limits: section `gate` of the params.
        rules: rules in the order in which people read them.
        attributes: MAP of each attribute.
        widths: where more images ask than by their roles, how much that narrows the interval;
            None elsewhere.
        unchanged: of a version that was grown from the champion, the attributes whose embeddings
            are the champion's, bit for bit: what is new decides.
        without: attributes that the champion knows and the version need not.
    """

    challenger: int
    champion: int | None
    splits: str
    limits: Mapping[str, float]
    rules: tuple[Rule, ...]
    attributes: tuple[AttributeChange, ...]
    widths: "IntervalWidths | None" = None
    unchanged: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every rule is kept."""
        return all(rule.passed for rule in self.rules)

    @property
    def remarks(self) -> list[str]:
        """What else people should know, a sentence each."""
        remarks = []
        if self.unchanged:
            remarks.append(
                f"grown from version {self.champion}: its embeddings of "
                f"{', '.join(self.unchanged)} are the same, bit for bit; what is new decides"
            )
        if self.without:
            remarks.append(f"left out, as was asked for: {', '.join(self.without)}")
        return remarks if self.widths is None else [*remarks, self.widths.text]

    def champion_text(self, row: AttributeChange) -> str | None:
        """Returns the champion's MAP of an attribute in words; None where it does not know it."""
        if row.name in self.unchanged:
            return "unchanged"
        return None if row.champion_map is None else f"{row.champion_map:.2f}"

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, with `passed` for every rule and for the whole."""
        rules = [{**asdict(rule), "passed": rule.passed} for rule in self.rules]
        return {**asdict(self), "rules": rules, "passed": self.passed}

    def to_json(self) -> str:
        """Returns it as JSON, which `from_json` reads."""
        return json.dumps(self.as_dict())

    @staticmethod
    def from_json(text: str) -> "Verdict":
        """Returns the verdict that `to_json` wrote."""
        content = json.loads(text)
        del content["passed"]
        for rule in content["rules"]:
            del rule["passed"]
        content["rules"] = tuple(Rule(**rule) for rule in content["rules"])
        content["attributes"] = tuple(AttributeChange(**row) for row in content["attributes"])
        content |= {name: tuple(content.get(name, ())) for name in ("unchanged", "without")}
        if content.get("widths"):
            content["widths"] = IntervalWidths(**content["widths"])
        return Verdict(**content)


@dataclass(frozen=True, kw_only=True)
class IntervalWidths:
    """The widths of an interval, in percent points, over all queries and over held-out ones alone.

    The interval is that of the change of MAP, of MAP where there is no champion, or of the gain of
    the new attribute whose interval ends lowest; held-out queries are those that would ask with
    `split.roles held_out`, against the same gallery: all queries of an attribute whose roles
    decide.
    """

    of: Literal["change of MAP", "MAP", "gain"]
    attribute: str | None = None
    num_queries: int
    width: float
    num_held_out: int
    width_held_out: float

    @property
    def text(self) -> str:
        """How much narrower it decides, in words; equal scores have no width to compare."""
        whose = f" of {self.attribute}" if self.attribute else ""
        text = (
            f"split.roles leave_one_out: the interval of the {self.of}{whose} over "
            f"{self.num_queries:,} queries is {self.width:.2f} points wide; over the "
            f"{self.num_held_out:,} of held_out alone it is {self.width_held_out:.2f}"
        )
        if not (self.width and self.width_held_out):
            return text
        return f"{text}, {self.width_held_out / self.width:.1f} times as wide"
