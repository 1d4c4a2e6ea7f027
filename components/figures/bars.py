"""A chart of scores with their intervals, one bar each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from components import files

_BAR_HEIGHT_IN = 0.32
_MARGINS_IN = 1.2


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A score in percent, and its interval where it has one."""

    label: str
    score: float
    low: float | None = None
    high: float | None = None


def write_bars(bars: Sequence[Bar], path: Path, *, title: str, axis: str) -> None:
    """Writes a PNG with a horizontal bar for each score, the first on top."""
    figure = Figure(figsize=(9, _BAR_HEIGHT_IN * len(bars) + _MARGINS_IN), layout="constrained")
    axes = figure.subplots()
    places = range(len(bars))
    axes.barh(places, [bar.score for bar in bars], color="#1f77b4")
    for place, bar in enumerate(bars):
        end = bar.score
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color="black", linewidth=1.2)
            end = max(end, bar.high)
        axes.annotate(
            f"{bar.score:.1f}", (end, place), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [bar.label for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 105)
    axes.set_xlabel(axis)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
