"""The gate: whether a challenger may take the champion's place, by numbers alone.

Both were measured on the same split. Differences are paired: of each query, the challenger's
average precision less the champion's.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from components.errors import HemlineError
from components.evaluation.metrics import bootstrap_interval
from components.evaluation.query_scores import QueryScores
from components.params import GateParams

_KEYS = ["attribute", "image"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule and what was measured.

    Attributes:
        name: of the rule.
        measured: what was found, in the limit's unit.
        bound: how the limit binds.
        limit: what the measured was compared with.
        attribute: that it was measured at, where that is a single one.
    """

    name: str
    measured: float
    bound: Literal["above", "at least", "at most"]
    limit: float
    attribute: str | None = None

    @property
    def passed(self) -> bool:
        """Whether what was measured keeps to the limit; NaN does not."""
        if self.bound == "above":
            return self.measured > self.limit
        if self.bound == "at least":
            return self.measured >= self.limit
        return self.measured <= self.limit


@dataclass(frozen=True, kw_only=True)
class AttributeChange:
    """MAP of an attribute in percent; the champion's is None where none knows the attribute."""

    name: str
    num_queries: int
    champion_map: float | None
    challenger_map: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate said of a version.

    Attributes:
        challenger: number of the version.
        champion: number of the version that it was compared with; None where there was none.
        splits: SHA-256 of the splits table that both were measured on.
        limits: the section `gate` of the params.
        rules: in the order in which people read them.
        attributes: MAP of each.
    """

    challenger: int
    champion: int | None
    splits: str
    limits: Mapping[str, float]
    rules: tuple[Rule, ...]
    attributes: tuple[AttributeChange, ...]

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
        rules = [{k: v for k, v in rule.items() if k != "passed"} for rule in content.pop("rules")]
        attributes = tuple(AttributeChange(**row) for row in content.pop("attributes"))
        return Verdict(
            **content, rules=tuple(Rule(**rule) for rule in rules), attributes=attributes
        )


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
    else:
        queries = _beside(challenger, champion)
        attributes = _attributes(queries)
        rules = [*_changes(queries, attributes, limits), _kept(challenger, champion), *rules]
    return Verdict(
        challenger=challenger_version,
        champion=champion_version,
        splits=challenger.splits,
        limits=asdict(limits),
        rules=tuple(rules),
        attributes=attributes,
    )


def _sanity(scores: QueryScores, queries: pd.DataFrame, limits: GateParams) -> list[Rule]:
    """Returns the rules on the challenger alone."""
    lowest, highest = scores.norm_range
    closest = max(scores.mean_similarity, key=lambda name: scores.mean_similarity[name])
    better = queries["average_precision"] - queries["random_average_precision"]
    return [
        Rule(
            name="MAP above a random ranking's",
            measured=100 * float(better.mean()),
            bound="above",
            limit=limits.min_above_random,
        ),
        Rule(
            name="length of embeddings, from 1",
            measured=float(max(abs(lowest - 1), abs(highest - 1))),
            bound="at most",
            limit=limits.norm_tolerance,
        ),
        Rule(
            name="highest mean similarity",
            measured=scores.mean_similarity[closest],
            bound="at most",
            limit=limits.max_mean_similarity,
            attribute=closest,
        ),
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
    """Returns the rules on what changes, in percent points of MAP."""
    changes_Q = 100 * (queries["average_precision"] - queries["champions"]).dropna().to_numpy()
    low, _ = bootstrap_interval(changes_Q, confidence=limits.confidence)
    worst = max((row for row in attributes if row.champion_map is not None), key=_drop)
    return [
        Rule(
            name="change of MAP",
            measured=float(changes_Q.mean()),
            bound="at least",
            limit=limits.min_map_change,
        ),
        Rule(
            name=f"lower end of its {100 * limits.confidence:g} % interval",
            measured=low,
            bound="above",
            limit=min(0.0, limits.min_map_change),
        ),
        Rule(
            name="largest drop of an attribute's MAP",
            measured=_drop(worst),
            bound="at most",
            limit=limits.max_attribute_drop,
            attribute=worst.name,
        ),
    ]


def _kept(challenger: QueryScores, champion: QueryScores) -> Rule:
    lost = [name for name in champion.attributes if name not in challenger.attributes]
    return Rule(
        name="attributes that the challenger does not know",
        measured=len(lost),
        bound="at most",
        limit=0,
        attribute=", ".join(lost) or None,
    )


def _attributes(queries: pd.DataFrame) -> tuple[AttributeChange, ...]:
    return tuple(
        AttributeChange(
            name=str(name),
            num_queries=len(rows),
            champion_map=None if rows["champions"].isna().any() else _percent(rows["champions"]),
            challenger_map=_percent(rows["average_precision"]),
        )
        for name, rows in queries.groupby("attribute", sort=False)
    )


def _drop(change: AttributeChange) -> float:
    """Returns how many percent points the attribute loses, negative where it gains."""
    assert change.champion_map is not None
    return change.champion_map - change.challenger_map


def _percent(scores: "pd.Series[float]") -> float:
    return 100 * float(scores.mean())
