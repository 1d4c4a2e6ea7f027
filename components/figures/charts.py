"""Charts as SVG that takes the colours of its page: scores with intervals, learning curves."""

import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Told apart by colour-blind people, and seen on white as on black: without yellow and black.

Source: Okabe and Ito, Color Universal Design, 2008.
"""

INK = "#010203"
"""Stands for the colour of the page's text: `to_svg` replaces it by `currentColor`."""

_LOOKS = (("-", "o"), ("--", "s"), (":", "^"))
_ROW_IN = 0.34
_MARGINS_IN = 1.1
_OTHERS = ((INK, "|"), (OKABE_ITO[1], "D"), (OKABE_ITO[5], "^"))
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "hemline",  # the same figure gives the same text
    "text.parse_math": False,  # a value may be named "$x$"
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
}


@contextmanager
def page_figure(width_in: float, height_in: float) -> Iterator[Figure]:
    """Gives a figure in the page's style, to be drawn and handed to `to_svg` inside the block."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")


def to_svg(figure: Figure, *, name: str, description: str) -> str:
    """Returns a figure as an `<svg>` element.

    Args:
        figure: drawn in the style of `page_figure`.
        name: goes before every id of the element, so that two on a page do not mix.
        description: what a reader who does not see it is told.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's own fonts draw it
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    element = text[text.index("<svg") :].replace(INK, "currentColor")
    # colours (`fill: #0072b2`) begin with the same sign as references do
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)
    described = f'<svg role="img" aria-label="{html.escape(description)}"'
    return element.replace("<svg", described, 1)


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


def learning_svg(
    epochs: Sequence[int],
    scores: Sequence[float],
    losses: Mapping[str, Sequence[float]],
    *,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` with the scores (percent) on the left, the losses on the right.

    Args:
        epochs: their numbers.
        scores: validation MAP after each.
        losses: mean of each epoch by their names, three at most.
        name: of the element on its page.
        description: what a reader who does not see it is told.
    """
    with page_figure(9, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(epochs, scores, color=OKABE_ITO[0], marker="o")
        left.set_ylabel("validation MAP, percent")
        for (loss, values), (line, marker), colour in zip(
            losses.items(), _LOOKS, OKABE_ITO, strict=False
        ):
            right.plot(epochs, values, color=colour, linestyle=line, marker=marker, label=loss)
        right.set_ylabel("loss")
        right.legend()
        for axes in (left, right):
            axes.axhline(0, alpha=0)  # so that the margin above is in proportion to the whole
            axes.set_ylim(bottom=0)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        return to_svg(figure, name=name, description=description)
