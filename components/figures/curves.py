"""A chart of learning curves: what every run scored after each epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components import files

_COLOURS = matplotlib.color_sequences["petroff10"]  # told apart by colour-blind people
_DASHES = ("-", "--", ":")


def write_curves(
    curves: Mapping[str, Sequence[Sequence[float]]], path: Path, *, title: str, axis: str
) -> None:
    """Writes a PNG with a line for each run; runs of the same name look alike.

    Args:
        curves: for each name the scores in percent after epoch 1, 2, ... of each of its runs.
        path: of the PNG.
        title: above the chart.
        axis: what the scores are.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    looks = cycler(linestyle=_DASHES) * cycler(color=_COLOURS)
    for (name, runs), look in zip(curves.items(), looks(), strict=False):
        for number, scores in enumerate(runs):
            label = name if number == 0 else None
            epochs = range(1, len(scores) + 1)
            axes.plot(epochs, scores, label=label, marker=".", linewidth=1.4, **look)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(axis)
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
