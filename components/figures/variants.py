"""Trained variants side by side: tables, bars of their scores, and learning curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components import files

RANDOM = "random ranking"

_HIT = "hit_at_20"
_MANIPULATION = "manipulation_hit_20"

_BAR_HEIGHT_IN = 0.32
_MARGINS_IN = 1.2
_COLOURS = matplotlib.color_sequences["petroff10"]  # distinct for colour-blind people
_DASHES = ("-", "--", ":")


@dataclass(frozen=True, kw_only=True)
class MeasuredVariant:
    """The results of a variant trained with one seed.

    Figures are those of `evaluation.report` and `attention.add_attention`. Speeds are the median
    over epochs, and that on the test split for all attributes; None where not logged.
    """

    variant: str
    seed: int
    figures: Mapping[str, Any]
    trained_images_per_s: float | None
    embedded_images_per_s: float | None


def tabulate(trained: Sequence[MeasuredVariant]) -> pd.DataFrame:
    """Returns a row per variant and seed, best overall MAP first, a random ranking's last.

    MAP, gain and attention in percent; `_low` to `_high` are 95 % intervals over queries; unknown
    values are empty, as the gain is where an older version measured. An attribute's MAP is in the
    column `map/<attribute>`, its interval in `map_low/<attribute>` and `map_high/<attribute>`.
    The hit rate of items is there where there are some, and hit@20 of attribute manipulation, the
    mean over attributes, where it was measured.
    """
    ranked = sorted(trained, key=lambda measured: -measured.figures["map"])
    best = ranked[0].figures
    last = {
        "variant": RANDOM,
        **_quality(best, score="random_map"),
        **_items(best, "random_"),
        **_manipulation(best, "random_"),
    }
    table = pd.DataFrame([*map(_row, ranked), last])
    whole = dict.fromkeys(("seed", "num_parameters"), "Int64")  # though some may be missing
    return table.astype({**whole, "gain": float})


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per variant: means over its seeds, best MAP first.

    They are those of overall MAP and gain, of the hit rate of items where there are some, and of
    attribute manipulation where it was measured. A random ranking's is the last. `map_low` and
    `map_high` are the lowest and highest of the seeds; `standard_deviation` is that of a sample,
    empty for one seed.
    """
    is_random = table["variant"] == RANDOM
    shared = [name for name in ("map", _HIT, _MANIPULATION) if name in table]
    variants = table[~is_random].groupby("variant")
    means = variants.agg(
        map=("map", "mean"),
        map_low=("map", "min"),
        map_high=("map", "max"),
        gain=("gain", "mean"),
        standard_deviation=("map", "std"),
        num_seeds=("map", "count"),
        **{name: (name, "mean") for name in shared[1:]},
    ).sort_values("map", ascending=False)
    both = pd.concat([means.reset_index(), table.loc[is_random, ["variant", *shared]]])
    return both.astype({"num_seeds": "Int64"})


def as_markdown(table: pd.DataFrame) -> str:
    """Returns the table in Markdown, each interval in the cell of its MAP."""
    columns = [str(name) for name in table]
    ends = {_end(name, end) for name in columns for end in ("low", "high")}
    columns = [name for name in columns if name not in ends]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    lines += [[_cell(row, name) for name in columns] for _, row in table.iterrows()]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def write_bars(table: pd.DataFrame, path: Path, *, title: str, axis: str) -> None:
    """Writes a PNG with a horizontal bar for the MAP of each row, and a line for its interval."""
    figure = Figure(figsize=(9, _BAR_HEIGHT_IN * len(table) + _MARGINS_IN), layout="constrained")
    axes = figure.subplots()
    places = range(len(table))
    axes.barh(places, table["map"], color="#1f77b4")
    rows = table[["map", "map_low", "map_high"]].itertuples(index=False)
    for place, (score, low, high) in enumerate(rows):
        end = score
        if not pd.isna(low):
            axes.plot([low, high], [place, place], color="black", linewidth=1.2)
            end = max(end, high)
        axes.annotate(
            f"{score:.1f}", (end, place), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, table["variant"])
    axes.invert_yaxis()
    axes.set_xlim(0, 105)
    axes.set_xlabel(axis)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def write_curves(
    curves: Mapping[str, Sequence[Sequence[float]]], path: Path, *, title: str, axis: str
) -> None:
    """Writes a PNG with a line for each run; runs of the same name look alike.

    Each run is its scores in percent after epoch 1, 2, ...
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


def _row(measured: MeasuredVariant) -> dict[str, Any]:
    figures = measured.figures
    return {
        "variant": measured.variant,
        "seed": measured.seed,
        **_quality(figures, score="map"),
        "attention_in_region": figures.get("attention_in_region"),
        "region_share": figures.get("region_share"),
        **_items(figures, ""),
        **_manipulation(figures, ""),
        "trained_images_per_s": measured.trained_images_per_s,
        "embedded_images_per_s": measured.embedded_images_per_s,
        "num_parameters": figures.get("num_parameters"),
    }


def _quality(figures: Mapping[str, Any], *, score: str) -> dict[str, Any]:
    """Returns a score of all queries with their gain, and the score of each attribute.

    Each has its interval, where there is one; of a random ranking, no gain is shown.
    """
    gain = {} if score == "random_map" else figures
    quality = _with_interval("map", figures, score) | _with_interval("gain", gain, "gain")
    for name, row in figures["attributes"].items():
        quality |= _with_interval(f"map/{name}", row, score)
    return quality


def _items(figures: Mapping[str, Any], row: str) -> dict[str, Any]:
    """Returns the hit rate of items; nothing where there are none.

    `row` is the prefix of the ranking that is shown.
    """
    measured = [each for each in figures["attributes"].values() if _HIT in each]
    return _with_interval(_HIT, measured[0], f"{row}{_HIT}") if measured else {}


def _manipulation(figures: Mapping[str, Any], row: str) -> dict[str, Any]:
    """Returns hit@20 of attribute manipulation, mean over attributes; nothing where not measured.

    `row` is the prefix of the ranking that is shown.
    """
    macro = figures.get("manipulation", {}).get("macro")
    if macro is None:
        return {}
    return {
        _MANIPULATION: macro[f"{row}hit_20"],
        **{_end(_MANIPULATION, end): macro.get(f"{row}hit_20_{end}") for end in ("low", "high")},
    }


def _with_interval(name: str, row: Mapping[str, Any], score: str) -> dict[str, Any]:
    ends = {_end(name, end): row.get(f"{score}_{end}") for end in ("low", "high")}
    return {name: row.get(score), **ends}


def _end(name: str, end: str) -> str:
    """Returns the column of an end of the interval of `map`, or of `map/<attribute>`."""
    score, *attribute = name.split("/", 1)
    return "/".join([f"{score}_{end}", *attribute])


def _cell(row: "pd.Series[Any]", name: str) -> str:
    value = row[name]
    if pd.isna(value):
        return ""
    if isinstance(value, str):
        return value
    if name in ("seed", "num_seeds"):
        return str(value)
    if name == "num_parameters":
        return f"{value / 1e6:.2f} M"
    if name.endswith("_per_s") and "/" not in name:
        return f"{value:.0f}"
    low, high = (row.get(_end(name, end)) for end in ("low", "high"))
    interval = "" if low is None or pd.isna(low) else f" ({low:.1f} to {high:.1f})"
    return f"{value:.2f}{interval}"
