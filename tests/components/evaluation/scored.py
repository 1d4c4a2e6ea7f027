"""Scores of queries by hand, for the gate, and what its verdict says of them."""

import dataclasses

import pyarrow as pa

from components import tables
from components.evaluation.query_scores import QueryScores
from components.evaluation.verdict import Verdict
from components.params import GateParams

LIMITS = GateParams(
    min_map_change=0.0,
    confidence=0.95,
    max_attribute_drop=5.0,
    norm_tolerance=0.01,
    max_mean_similarity=0.9,
    min_above_random=10.0,
)
NUM_QUERIES = 40


def scores(
    by_attribute: dict[str, list[float]], *, splits: str = "5" * 64, random: float = 0.2, **changes
) -> QueryScores:
    """Returns scores of queries; the images of an attribute count from 100 times its place."""
    rows = [
        (name, 100 * place + image, score, random, None)
        for place, (name, values) in enumerate(by_attribute.items())
        for image, score in enumerate(values)
    ]
    columns = dict(zip(tables.QUERY_SCORES.names, zip(*rows, strict=True), strict=True))
    found = QueryScores(
        queries=pa.table(columns).cast(tables.QUERY_SCORES),
        splits=splits,
        attributes=tuple(by_attribute),
        norm_ranges=dict.fromkeys(by_attribute, (1.0, 1.0)),
        mean_similarity=dict.fromkeys(by_attribute, 0.3),
    )
    return dataclasses.replace(found, **changes)


def even(first: float, second: float) -> dict[str, list[float]]:
    """Returns every query's score, the same for all of an attribute."""
    return {"sleeve": [first] * NUM_QUERIES, "skirt": [second] * NUM_QUERIES}


def broken(verdict: Verdict) -> list[str]:
    """Returns the names of the rules that are not kept."""
    return [rule.name for rule in verdict.rules if not rule.passed]
