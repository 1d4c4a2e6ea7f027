"""A chart of a score per row: this model with its interval, beside others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.figures.inline import INK, OKABE_ITO, page_figure, to_svg

_ROW_IN = 0.34
_MARGINS_IN = 1.1
_OTHERS = ((INK, "|"), (OKABE_ITO[1], "D"), (OKABE_ITO[5], "^"))


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score in percent and its interval."""

    label: str
    score: float
    low: float
    high: float


def quality_svg(
    scores: Sequence[Score],
    others: Mapping[str, Mapping[str, float]],
    *,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` with a row per score, the first on top.

    Args:
        scores: of this model.
        others: what else is known, three at most by their names: scores by label.
        name: of the element on its page.
        description: what a reader who does not see it is told.
    """
    rows = range(len(scores))
    with page_figure(9, _ROW_IN * len(scores) + _MARGINS_IN) as figure:
        axes = figure.subplots()
        for (other, by_label), (colour, marker) in zip(others.items(), _OTHERS, strict=False):
            known = [row for row in rows if scores[row].label in by_label]
            places = [by_label[scores[row].label] for row in known]
            axes.scatter(places, known, color=colour, marker=marker, label=other, s=60)
        errors = [[x.score - x.low for x in scores], [x.high - x.score for x in scores]]
        axes.errorbar(
            [x.score for x in scores],
            rows,
            xerr=errors,
            fmt="o",
            color=OKABE_ITO[0],
            capsize=3,
            label="this model, 95 % interval",
        )
        axes.set_yticks(rows, [x.label for x in scores])
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("MAP, percent")
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=4)
        return to_svg(figure, name=name, description=description)
