"""What an evaluation's figures say, for those who only read them.

Apart from the evaluation, which imports SciPy: `hemline summary` does not wait for it.
"""

from collections.abc import Mapping
from typing import Any


def not_above_random(figures: Mapping[str, Any]) -> list[str]:
    """Returns the attributes of a report whose gain may be 0: its interval reaches down to it.

    None in a report of an older version, which has no gain.
    """
    return [name for name, row in figures["attributes"].items() if row.get("gain_low", 1) <= 0]


def gain_text(row: Mapping[str, Any]) -> str:
    """Returns the gain of a report, or of an attribute in it; empty in one of an older version."""
    if "gain" not in row:
        return ""
    return f"{row['gain']:.1f} ({row['gain_low']:.1f} to {row['gain_high']:.1f})"


def item_row(figures: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the figures of items in a report; None where there are none."""
    rows = figures["attributes"].values()
    return next((row for row in rows if "hit_at_20" in row), None)


def hits_text(row: Mapping[str, Any]) -> str:
    """Returns the hit rate of items with its interval, beside a random ranking's."""
    return (
        f"hit@20 {row['hit_at_20']:.1f} ({row['hit_at_20_low']:.1f} to "
        f"{row['hit_at_20_high']:.1f}), random {row['random_hit_at_20']:.1f} %"
    )


def landmarks_text(landmarks: Mapping[str, float]) -> str:
    """Returns how far from where they are landmarks are found, beside their mean places."""
    return (
        f"{100 * landmarks['error']:.1f} % of the image's side from where they are; their mean "
        f"places are {100 * landmarks['mean_place_error']:.1f} %"
    )


def manipulation_text(figures: Mapping[str, Any]) -> str:
    """Returns what a report says of attribute manipulation; empty in one of an older version."""
    found = figures.get("manipulation", {})
    if "macro" not in found:
        return f"not measured: {found['not_measured']}" if found else ""
    macro = found["macro"]
    return (
        f"hit@20 {macro['hit_20']:.1f} ({macro['hit_20_low']:.1f} to {macro['hit_20_high']:.1f}), "
        f"query as it is {macro['unchanged_hit_20']:.1f}, random {macro['random_hit_20']:.1f} %"
    )
