"""Charts as SVG that takes the colours of its page: scores with intervals, learning curves."""

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Distinct for colour-blind people, and visible on white and black: without yellow and black.

Source: Okabe and Ito, Color Universal Design, 2008.
"""

INK = "#010203"
"""Stands for the colour of the page's text: `to_svg` replaces it by `currentColor`."""

Form = Literal["wide", "narrow"]
"""Of a chart: for screens, and for phones and paper; text is as large in both."""

_WIDTHS_IN: Mapping[Form, float] = {"wide": 12.6, "narrow": 3.8}
_LOOKS = (("-", "o"), ("--", "s"), (":", "^"))
_ROW_IN: Mapping[Form, float] = {"wide": 0.34, "narrow": 0.5}
_MARGINS_IN: Mapping[Form, float] = {"wide": 1.1, "narrow": 1.4}
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


CHARTS_CSS = """\
.chart svg { display: block; width: 100%; height: auto; }
.chart .narrow { display: none; max-width: 34rem; }
@media print, (max-width: 56rem) {
  .chart .wide { display: none; }
  .chart .narrow { display: block; }
}
"""
"""Rules of a page that shows the form that fits it."""


def in_both_forms(draw: Callable[[Form], str]) -> str:
    """Returns an element with a chart in both forms; `CHARTS_CSS` shows one of them."""
    forms = "".join(f'<div class="{form}">{draw(form)}</div>' for form in _WIDTHS_IN)
    return f"<div>{forms}</div>"


@contextmanager
def page_figure(form: Form, height_in: float) -> Iterator[Figure]:
    """Gives a figure in the page's style, to be drawn and handed to `to_svg` inside the block."""
    with matplotlib.rc_context(_STYLE):
        size = (_WIDTHS_IN[form], height_in)
        yield Figure(figsize=size, layout="constrained", facecolor="none")


def to_svg(figure: Figure, *, name: str, description: str) -> str:
    """Returns a figure as an `<svg>` element.

    Args:
        figure: figure in the style of `page_figure`.
        name: prefix of every id in the element, so that two on a page do not mix.
        description: text for readers who do not see it.
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


def quality_svg(
    rows: Mapping[str, Mapping[str, float]],
    others: Mapping[str, Mapping[str, float]],
    *,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` in both forms: a row of scores in percent per label, the first on top.

    Rows have `map`, `map_low` and `map_high` of this model; others are up to three other models by
    name, with their scores by label. Name and description are those of `to_svg`.
    """
    scores = [row["map"] for row in rows.values()]
    below = [row["map"] - row["map_low"] for row in rows.values()]
    above = [row["map_high"] - row["map"] for row in rows.values()]

    def draw(form: Form) -> str:
        with page_figure(form, _ROW_IN[form] * len(rows) + _MARGINS_IN[form]) as figure:
            axes = figure.subplots()
            for (other, by_label), (colour, marker) in zip(others.items(), _OTHERS, strict=False):
                known = [by_label[label] for label in rows if label in by_label]
                places = [place for place, label in enumerate(rows) if label in by_label]
                axes.scatter(known, places, color=colour, marker=marker, label=other, s=60)
            axes.errorbar(
                scores,
                range(len(rows)),
                xerr=[below, above],
                fmt="o",
                color=OKABE_ITO[0],
                capsize=3,
                label="this model, 95 % interval",
            )
            if form == "wide":
                axes.set_yticks(range(len(rows)), [*rows])
            else:  # names beside the rows would take half of the width
                axes.set_yticks([])
                for place, label in enumerate(rows):
                    axes.annotate(label, (0, place), xytext=(3, 8), textcoords="offset points")
            axes.set_ylim(len(rows) - 0.5, -0.8)
            axes.set_xlim(0, 100)
            axes.set_xlabel("MAP, percent")
            axes.grid(axis="x")
            figure.legend(loc="outside upper center", ncols=4 if form == "wide" else 1)
            return to_svg(figure, name=f"{name}-{form}", description=description)

    return in_both_forms(draw)


def learning_svg(
    epochs: Sequence[int],
    scores: Sequence[float],
    losses: Mapping[str, Sequence[float]],
    *,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` in both forms: validation MAP in percent, then the losses.

    Losses are up to three by name, the mean of each epoch. Name and description are those of
    `to_svg`.
    """

    def draw(form: Form) -> str:
        with page_figure(form, 3.6 if form == "wide" else 6) as figure:
            left, right = figure.subplots(*((1, 2) if form == "wide" else (2, 1)))
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
            return to_svg(figure, name=f"{name}-{form}", description=description)

    return in_both_forms(draw)


def curves_svg(
    places: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` in both forms: up to three lines by name, in percent, over their places.

    Name and description are those of `to_svg`.
    """

    def draw(form: Form) -> str:
        with page_figure(form, 3.6) as figure:
            axes = figure.subplots()
            for (label, values), (line, marker), colour in zip(
                lines.items(), _LOOKS, OKABE_ITO, strict=False
            ):
                axes.plot(places, values, color=colour, linestyle=line, marker=marker, label=label)
            axes.set_xlabel(x_label)
            axes.set_ylabel(y_label)
            axes.set_xticks(places)
            axes.set_ylim(0, 100)
            axes.grid()
            figure.legend(loc="outside upper center", ncols=3 if form == "wide" else 1)
            return to_svg(figure, name=f"{name}-{form}", description=description)

    return in_both_forms(draw)
