"""Tables of trained variants: their retrieval quality, speed and size side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

RANDOM = "random ranking"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of a variant trained with one seed.

    Attributes:
        variant: its name.
        seed: of its training.
        figures: its evaluation, as `evaluation.report` and `attention.add_attention` make it.
        trained_images_per_s: median over epochs; None where it was not logged.
        embedded_images_per_s: of the test split, all attributes; None where it was not logged.
    """

    variant: str
    seed: int
    figures: Mapping[str, Any]
    trained_images_per_s: float | None
    embedded_images_per_s: float | None


def tabulate(trained: Sequence[Measured]) -> pd.DataFrame:
    """Returns a row per variant and seed, best overall MAP first, a random ranking's last.

    MAP and attention in percent; `map_low` to `map_high` is the 95 % interval over queries; what is
    not known is left empty. Columns named after attributes hold their MAP, those with `_low` and
    `_high` its interval.
    """
    ranked = sorted(trained, key=lambda measured: -measured.figures["map"])
    last = {"variant": RANDOM, **_quality(ranked[0].figures, score="random_map")}
    table = pd.DataFrame([*map(_row, ranked), last])
    whole = dict.fromkeys(("seed", "num_parameters"), "Int64")  # though some may be missing
    return table.astype(whole)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per variant: mean overall MAP over its seeds, best first, random's last.

    `map_low` and `map_high` are the lowest and highest of the seeds; `standard_deviation` is that
    of a sample, empty for one seed.
    """
    is_random = table["variant"] == RANDOM
    scores = table[~is_random].groupby("variant")["map"]
    means = scores.agg(["mean", "min", "max", "std", "count"]).sort_values("mean", ascending=False)
    means.columns = pd.Index(["map", "map_low", "map_high", "standard_deviation", "num_seeds"])
    both = pd.concat([means.reset_index(), table.loc[is_random, ["variant", "map"]]])
    return both.astype({"num_seeds": "Int64"})


def as_markdown(table: pd.DataFrame) -> str:
    """Returns the table in Markdown, each interval in the cell of its MAP."""
    columns = [str(name) for name in table]
    ends = {f"{name}_{end}" for name in columns for end in ("low", "high")}
    columns = [name for name in columns if name not in ends]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    for _, row in table.iterrows():
        lines.append([_cell(row, name) for name in columns])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(measured: Measured) -> dict[str, Any]:
    figures = measured.figures
    return {
        "variant": measured.variant,
        "seed": measured.seed,
        **_quality(figures, score="map"),
        "attention_in_region": figures.get("attention_in_region"),
        "region_share": figures.get("region_share"),
        "trained_images_per_s": measured.trained_images_per_s,
        "embedded_images_per_s": measured.embedded_images_per_s,
        "num_parameters": figures.get("num_parameters"),
    }


def _quality(figures: Mapping[str, Any], *, score: str) -> dict[str, Any]:
    """Returns overall MAP and that of each attribute, with their intervals where there are some."""
    quality = {}
    for name, row in {"map": figures, **figures["attributes"]}.items():
        quality[name] = row[score]
        for end in ("low", "high"):
            quality[f"{name}_{end}"] = row.get(f"{score}_{end}")
    return quality


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
    if name.endswith("_per_s"):
        return f"{value:.0f}"
    low, high = (row.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or pd.isna(low) else f" ({low:.1f} to {high:.1f})"
    return f"{value:.2f}{interval}"
