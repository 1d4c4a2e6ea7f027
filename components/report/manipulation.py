"""The part of a report about attribute manipulation: scores per attribute, and three changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation.examples import best_median_worst
from components.evaluation.manipulation_bounds import KS
from components.evaluation.manipulation_figures import SHOWN_K, Manipulation
from components.figures.charts import curves_svg
from components.report.content import (
    Figure,
    ManipulationPart,
    Measured,
    Sign,
    StoreTiles,
    Strip,
    Table,
)

_NUM_FIRST = 10
_NAMES = {"": "this model", "unchanged_": "the query as it is", "random_": "a random ranking"}


def manipulation_of(measured: Measured, pictures: StoreTiles) -> ManipulationPart:
    """Returns the part, which says why where nothing was measured."""
    figures = measured.figures["manipulation"]
    if "not_measured" in figures:
        reason = f"Not measured: {figures['not_measured']}."
        return ManipulationPart(summary=reason, scores=None, curves=None, examples=())
    return ManipulationPart(
        summary=_summary(figures, num_queries=len(measured.manipulation.queries)),
        scores=_scores(figures),
        curves=_curves(figures["macro"]),
        examples=_examples(measured, measured.manipulation, pictures),
    )


def _summary(figures: Mapping[str, Any], *, num_queries: int) -> str:
    left_out = [
        (figures["num_one_label"], "have labels of fewer than two attributes"),
        (figures["num_unanswered"], "have no change that an item of the gallery answers"),
    ]
    others = "; ".join(f"{number:,} {why}" for number, why in left_out if number)
    without = figures["num_without_prototype"]
    return (
        f"{figures['num_changes']:,} changes of {figures['num_queries']:,} of {num_queries:,} "
        f"queries, {figures['num_gallery']:,} items in the gallery."
        + (f" Of the other queries, {others}." if others else "")
        + (f" {without:,} more changes ask for a value without a prototype." if without else "")
    )


def _scores(figures: Mapping[str, Any]) -> Table:
    rows = [
        [name, f"{row['num_changes']:,}", *_cells(row)]
        for name, row in figures["attributes"].items()
    ]
    rows.append(["all changes", f"{figures['num_changes']:,}", *_cells(figures["micro"])])
    rows.append(["mean over attributes", "", *_cells(figures["macro"])])
    hit, ndcg = f"hit@{SHOWN_K}", f"nDCG@{SHOWN_K}"
    return Table(
        caption="Attribute manipulation on the test split, percent",
        header=[
            "changed",
            "changes",
            hit,
            "95 % interval",
            "query as it is",
            "random",
            ndcg,
            f"{ndcg}, query as it is",
            f"{ndcg}, random",
        ],
        rows=rows,
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    hit, ndcg = f"hit_{SHOWN_K}", f"ndcg_{SHOWN_K}"
    scores = [f"{row[f'{prefix}{name}']:.1f}" for name in (hit, ndcg) for prefix in _NAMES]
    return [scores[0], f"{row[f'{hit}_low']:.1f} to {row[f'{hit}_high']:.1f}", *scores[1:]]


def _curves(macro: Mapping[str, Any]) -> Figure:
    lines = {name: [macro[f"{prefix}hit_{k}"] for k in KS] for prefix, name in _NAMES.items()}
    svg = curves_svg(
        KS,
        lines,
        x_label="items looked at",
        y_label="hit, percent",
        name="manipulation",
        description="share of changes with an answer among the first items, by their number",
    )
    return Figure(
        svg=svg,
        caption="hit@k, mean over attributes: the share of changes for which one of the first k "
        "items has all values of the target.",
    )


def _examples(measured: Measured, found: Manipulation, pictures: StoreTiles) -> list[Strip]:
    """Returns the changes whose first answer stands first, in the middle, and last."""
    places = best_median_worst(-found.scores.above_C.astype(np.float64))
    titles = ("Best change", "Median change", "Worst change")
    return [
        _example(title, measured, found, pictures, change)
        for title, change in zip(titles, places, strict=True)
    ]


def _example(
    title: str, measured: Measured, found: Manipulation, pictures: StoreTiles, change: int
) -> Strip:
    """Returns the query of a change and its first items."""
    scores = found.scores
    query, changed = int(scores.query_C[change]), int(scores.attribute_C[change])
    attributes = measured.schema.attributes
    values = {
        attribute.name: ", ".join(attribute.values[v] for v in np.flatnonzero(labels[query]))
        for attribute, labels in zip(attributes, found.queries.labels, strict=True)
        if labels[query].any()
    }
    name = attributes[changed].name
    wanted = attributes[changed].values[scores.value_C[change]]
    first = found.first_items(change, num_items=_NUM_FIRST)
    tiles = [
        pictures.tile(
            int(found.queries.images_n[query]), lines=("query", *values.values()), sign="query"
        )
    ]
    for rank, (image, agreeing) in enumerate(
        zip(first.images_R.tolist(), first.agreeing_R.tolist(), strict=True), start=1
    ):
        sign: Sign = "agrees" if agreeing == len(values) else "differs"
        lines = (f"{rank}.", f"{agreeing} of {len(values)} values")
        tiles.append(pictures.tile(image, lines=lines, sign=sign))
    others = ", ".join(f"{other} {value}" for other, value in values.items() if other != name)
    note = (
        f"{name}: {wanted} instead of {values[name]}; the same: {others}. The first item that has "
        f"it all is number {scores.above_C[change] + 1}."
    )
    return Strip(title=title, note=note, tiles=tiles)
