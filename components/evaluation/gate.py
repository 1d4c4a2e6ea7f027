"""The gate: whether a challenger may take the champion's place, by numbers alone.

Both were measured on the same split. Differences are paired: of each query, the challenger's
average precision less the champion's. A challenger that was grown from the champion has the same
embeddings of all that both know: what is new to the champion decides alone.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import HemlineError
from components.evaluation.metrics import bootstrap_interval, gain
from components.evaluation.query_scores import QueryScores
from components.evaluation.verdict import AttributeChange, IntervalWidths, Rule, Verdict
from components.params import GateParams

_KEYS = ["attribute", "image"]
_FEWEST_QUERIES = 2  # of a new attribute: fewer have no interval
_GAIN_INTERVAL = "lower end of its gain's"


def judge(
    challenger: QueryScores,
    champion: QueryScores | None,
    *,
    challenger_version: int,
    champion_version: int | None,
    limits: GateParams,
    without: Collection[str] = (),
) -> Verdict:
    """Returns the verdict on a challenger; without a champion, only the sanity rules apply.

    `without` are attributes that the challenger need not know though the champion does.

    Raises:
        HemlineError: the two were measured on different splits, or share no query.
    """
    ours = challenger.queries.to_pandas()
    rules = [_above_random(ours, limits), *_sanity(challenger, [*challenger.norm_ranges], limits)]
    if champion is None:
        attributes = _attributes(ours.assign(champions=math.nan))
        of_all = ours.assign(measured=ours["average_precision"])
    else:
        queries = _beside(challenger, champion)
        of_all = queries.assign(measured=queries["average_precision"] - queries["champions"])
        attributes = _attributes(queries)
        kept = _nothing_lost(challenger, champion.attributes, without)
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
        without=tuple(without),
    )


def judge_grown(
    challenger: QueryScores,
    known: Sequence[str],
    *,
    challenger_version: int,
    champion_version: int,
    limits: GateParams,
    without: Collection[str] = (),
    new_values: Collection[str] = (),
) -> Verdict:
    """Returns the verdict on a challenger that was grown from the champion.

    Of all that both know the embeddings are the same bits, so that the champion is not measured:
    every attribute that is new must lie above a random ranking's. One that brings nothing new, no
    value either, and leaves out nothing that was to be left out is no reason to change.

    Args:
        challenger: its scores.
        known: attributes that the champion knows.
        challenger_version: number of the version.
        champion_version: number of the champion.
        limits: section `gate` of the params.
        without: attributes that the challenger need not know though the champion does.
        new_values: values that the champion does not know, of attributes that it does.
    """
    ours = challenger.queries.to_pandas()
    of_champion = ours["average_precision"].where(ours["attribute"].isin(known))
    attributes = _attributes(ours.assign(champions=of_champion))
    new = {
        name: ours[ours["attribute"] == name] for name in challenger.attributes if name not in known
    }
    rules = [_nothing_lost(challenger, known, without)]
    if not new and rules[0].passed:
        name = "attributes or values that are new, or attributes left out as was asked for"
        reasons = [*new_values, *without]
        rules.append(Rule(name, len(reasons), "at least", 1, ", ".join(reasons) or None))
    rules += [rule for name, queries in new.items() for rule in _of_new(name, queries, limits)]
    if measured := [name for name in new if name in challenger.norm_ranges]:
        rules += _sanity(challenger, measured, limits)
    intervals = [rule for rule in rules if rule.name.startswith(_GAIN_INTERVAL)]
    lowest = min(intervals, key=lambda rule: rule.measured, default=None)
    decides = None if lowest is None else lowest.attribute
    return Verdict(
        challenger=challenger_version,
        champion=champion_version,
        splits=challenger.splits,
        limits=asdict(limits),
        rules=tuple(rules),
        attributes=attributes,
        widths=None
        if decides is None
        else _widths(new[decides], "gain", limits, attribute=decides),
        unchanged=tuple(name for name in challenger.attributes if name in known),
        without=tuple(without),
    )


def _of_new(name: str, queries: pd.DataFrame, limits: GateParams) -> list[Rule]:
    """Returns the rules on an attribute that the champion does not know."""
    if len(queries) < _FEWEST_QUERIES:
        return [Rule("queries of a new attribute", len(queries), "at least", _FEWEST_QUERIES, name)]
    low, _ = bootstrap_interval(*_of_gain(queries), statistic=gain, confidence=limits.confidence)
    interval = f"{_GAIN_INTERVAL} {100 * limits.confidence:g} % interval"
    above = replace(_above_random(queries, limits), attribute=name)
    return [above, Rule(interval, 100 * low, "above", 0, name)]


def _widths(
    queries: pd.DataFrame,
    of: Literal["change of MAP", "MAP", "gain"],
    limits: GateParams,
    *,
    attribute: str | None = None,
) -> IntervalWidths | None:
    """Returns the widths of the interval of the gain, or else of the mean of `measured`.

    None where roles decide for all queries, or would have let none of them ask.
    """
    held_out = queries["is_held_out_query"]
    is_held_out = held_out.isna() | held_out.eq(other=True)
    if held_out.isna().all() or not is_held_out.any():
        return None
    widths = []
    for rows in (queries, queries[is_held_out]):
        low, high = (
            bootstrap_interval(*_of_gain(rows), statistic=gain, confidence=limits.confidence)
            if of == "gain"
            else bootstrap_interval(rows["measured"].to_numpy(), confidence=limits.confidence)
        )
        widths.append(100 * (high - low))
    return IntervalWidths(
        of=of,
        attribute=attribute,
        num_queries=len(queries),
        width=widths[0],
        num_held_out=int(is_held_out.sum()),
        width_held_out=widths[1],
    )


def _above_random(queries: pd.DataFrame, limits: GateParams) -> Rule:
    above = _percent(queries["average_precision"] - queries["random_average_precision"])
    return Rule("MAP above a random ranking's", above, "above", limits.min_above_random)


def _sanity(scores: QueryScores, names: Sequence[str], limits: GateParams) -> list[Rule]:
    """Returns the rules on the embeddings of some attributes alone."""
    lengths = [length for name in names for length in scores.norm_ranges[name]]
    deviation = float(np.abs(np.subtract(lengths, 1)).max())  # NaN, if one is
    closest = max(names, key=lambda name: scores.mean_similarity[name])
    similarity = scores.mean_similarity[closest]
    return [
        Rule("length of embeddings, from 1", deviation, "at most", limits.norm_tolerance),
        Rule("highest mean similarity", similarity, "at most", limits.max_mean_similarity, closest),
    ]


def _nothing_lost(challenger: QueryScores, known: Sequence[str], without: Collection[str]) -> Rule:
    """Returns the rule that what the champion knows stays, but for what need not."""
    lost = [name for name in known if name not in {*challenger.attributes, *without}]
    names = ", ".join(lost) or None
    return Rule("attributes that the challenger does not know", len(lost), "at most", 0, names)


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
    scores = _of_gain(rows)
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


def _of_gain(queries: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns what `gain` takes of queries."""
    return (
        queries["average_precision"].to_numpy(),
        queries["random_average_precision"].to_numpy(),
    )


def _drop(change: AttributeChange) -> float:
    """Returns how many percentage points the attribute loses, negative where it gains."""
    assert change.champion_map is not None
    return change.champion_map - change.challenger_map


def _percent(scores: "pd.Series[float]") -> float:
    return 100 * float(scores.mean())
