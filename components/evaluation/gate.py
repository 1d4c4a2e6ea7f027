"""The gate: whether a challenger may take the champion's place, by numbers alone.

Both were measured on the same split. Differences are paired: of each query, the challenger's
average precision less the champion's.
"""

import json
import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from components.errors import HemlineError
from components.evaluation.metrics import bootstrap_interval, gain
from components.evaluation.query_scores import QueryScores
from components.params import GateParams

_KEYS = ["attribute", "image"]
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
    """

    challenger: int
    champion: int | None
    splits: str
    limits: Mapping[str, float]
    rules: tuple[Rule, ...]
    attributes: tuple[AttributeChange, ...]
    widths: "IntervalWidths | None" = None

    @property
    def passed(self) -> bool:
        """Whether every rule is kept."""
        return all(rule.passed for rule in self.rules)

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
        if content.get("widths"):
            content["widths"] = IntervalWidths(**content["widths"])
        return Verdict(**content)


@dataclass(frozen=True, kw_only=True)
class IntervalWidths:
    """The widths of an interval, in percent points, over all queries and over held-out ones alone.

    The interval is that of the change of MAP, or of MAP where there is no champion; held-out
    queries are those that would ask with `split.roles held_out`, against the same gallery: all
    queries of an attribute whose roles decide.
    """

    of: Literal["change of MAP", "MAP"]
    num_queries: int
    width: float
    num_held_out: int
    width_held_out: float

    @property
    def text(self) -> str:
        """How much narrower it decides, in words; equal scores have no width to compare."""
        text = (
            f"split.roles leave_one_out: the interval of the {self.of} over {self.num_queries:,} "
            f"queries is {self.width:.2f} points wide; over the {self.num_held_out:,} of held_out "
            f"alone it is {self.width_held_out:.2f}"
        )
        if not (self.width and self.width_held_out):
            return text
        return f"{text}, {self.width_held_out / self.width:.1f} times as wide"


def judge(
    challenger: QueryScores,
    champion: QueryScores | None,
    *,
    challenger_version: int,
    champion_version: int | None,
    limits: GateParams,
) -> Verdict:
    """Returns the verdict on a challenger; without a champion, only the sanity rules apply.

    Raises:
        HemlineError: the two were measured on different splits, or share no query.
    """
    ours = challenger.queries.to_pandas()
    rules = _sanity(challenger, ours, limits)
    if champion is None:
        attributes = _attributes(ours.assign(champions=math.nan))
        of_all = ours.assign(measured=ours["average_precision"])
    else:
        queries = _beside(challenger, champion)
        of_all = queries.assign(measured=queries["average_precision"] - queries["champions"])
        attributes = _attributes(queries)
        lost = [name for name in champion.attributes if name not in challenger.attributes]
        names = ", ".join(lost) or None
        kept = Rule("attributes that the challenger does not know", len(lost), "at most", 0, names)
        rules = [*_changes(queries, attributes, limits), kept, *rules]
    return Verdict(
        challenger=challenger_version,
        champion=champion_version,
        splits=challenger.splits,
        limits=asdict(limits),
        rules=tuple(rules),
        attributes=attributes,
        widths=_widths(
            of_all.dropna(subset="measured"), "MAP" if champion is None else "change of MAP", limits
        ),
    )


def _widths(
    queries: pd.DataFrame, of: Literal["change of MAP", "MAP"], limits: GateParams
) -> IntervalWidths | None:
    """Returns the widths of the interval of the mean of `measured`.

    None where roles decide for all queries, or would have let none of them ask.
    """
    held_out = queries["is_held_out_query"]
    is_held_out = held_out.isna() | held_out.eq(other=True)
    if held_out.isna().all() or not is_held_out.any():
        return None
    samples = [100 * rows["measured"].to_numpy() for rows in (queries, queries[is_held_out])]
    ends = [bootstrap_interval(sample, confidence=limits.confidence) for sample in samples]
    width, width_held_out = (high - low for low, high in ends)
    return IntervalWidths(
        of=of,
        num_queries=len(samples[0]),
        width=width,
        num_held_out=len(samples[1]),
        width_held_out=width_held_out,
    )


def _sanity(scores: QueryScores, queries: pd.DataFrame, limits: GateParams) -> list[Rule]:
    """Returns the rules on the challenger alone."""
    deviation = max(abs(length - 1) for length in scores.norm_range)
    closest = max(scores.mean_similarity, key=lambda name: scores.mean_similarity[name])
    similarity = scores.mean_similarity[closest]
    above = _percent(queries["average_precision"] - queries["random_average_precision"])
    return [
        Rule("MAP above a random ranking's", above, "above", limits.min_above_random),
        Rule("length of embeddings, from 1", deviation, "at most", limits.norm_tolerance),
        Rule("highest mean similarity", similarity, "at most", limits.max_mean_similarity, closest),
    ]


def _beside(challenger: QueryScores, champion: QueryScores) -> pd.DataFrame:
    """Returns the challenger's queries with the champion's average precision as `champions`.

    It is NaN where the champion does not know the attribute.
    """
    if challenger.splits != champion.splits:
        raise HemlineError(
            f"the champion was measured on the split {champion.splits[:12]} and the challenger on "
            f"{challenger.splits[:12]}: measure both on one"
        )
    theirs = champion.queries.to_pandas().rename(columns={"average_precision": "champions"})
    queries = challenger.queries.to_pandas().merge(
        theirs[[*_KEYS, "champions"]], how="left", on=_KEYS, validate="one_to_one"
    )
    if queries["champions"].isna().all():
        raise HemlineError(
            "challenger and champion share no query: they know none of the same attributes "
            f"({', '.join(challenger.attributes)}; {', '.join(champion.attributes)})"
        )
    return queries


def _changes(
    queries: pd.DataFrame, attributes: tuple[AttributeChange, ...], limits: GateParams
) -> list[Rule]:
    """Returns the rules on what changes, in percentage points of MAP."""
    changes_Q = 100 * (queries["average_precision"] - queries["champions"]).dropna().to_numpy()
    low, _ = bootstrap_interval(changes_Q, confidence=limits.confidence)
    worst = max((row for row in attributes if row.champion_map is not None), key=_drop)
    interval = f"lower end of its {100 * limits.confidence:g} % interval"
    drop = "largest drop of an attribute's MAP"
    return [
        Rule("change of MAP", float(changes_Q.mean()), "at least", limits.min_map_change),
        Rule(interval, low, "above", min(0.0, limits.min_map_change)),
        Rule(drop, _drop(worst), "at most", limits.max_attribute_drop, worst.name),
    ]


def _attributes(queries: pd.DataFrame) -> tuple[AttributeChange, ...]:
    return tuple(
        _change(str(name), rows) for name, rows in queries.groupby("attribute", sort=False)
    )


def _change(name: str, rows: pd.DataFrame) -> AttributeChange:
    scores = rows["average_precision"].to_numpy(), rows["random_average_precision"].to_numpy()
    low, high = bootstrap_interval(*scores, statistic=gain)
    return AttributeChange(
        name=name,
        num_queries=len(rows),
        champion_map=None if rows["champions"].isna().any() else _percent(rows["champions"]),
        challenger_map=_percent(rows["average_precision"]),
        random_map=_percent(rows["random_average_precision"]),
        gain=100 * float(gain(*scores)),
        gain_low=100 * low,
        gain_high=100 * high,
    )


def _drop(change: AttributeChange) -> float:
    """Returns how many percentage points the attribute loses, negative where it gains."""
    assert change.champion_map is not None
    return change.champion_map - change.challenger_map


def _percent(scores: "pd.Series[float]") -> float:
    return 100 * float(scores.mean())
