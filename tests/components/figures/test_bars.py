"""The chart of scores: what it draws is looked at in its pixels."""

import numpy as np
import pytest
from PIL import Image

from components.figures.variants import Bar, write_bars

BLUE = (31, 119, 180)


def blue_lengths(path) -> list[int]:
    """Returns the length of each bar in pixels, from top to bottom."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    widths = (np.abs(pixels.astype(int) - BLUE).sum(axis=2) < 30).sum(axis=1)
    starts = np.flatnonzero((widths > 0) & (np.roll(widths, 1) == 0))
    ends = np.flatnonzero((widths > 0) & (np.roll(widths, -1) == 0))
    return [int(np.median(widths[s : e + 1])) for s, e in zip(starts, ends, strict=True)]


def test_bars_are_as_long_as_their_scores(tmp_path):
    bars = [Bar(label="ag_man", score=80), Bar(label="csn", score=40), Bar(label="none", score=20)]
    write_bars(bars, tmp_path / "bars.png", title="MAP", axis="percent")
    lengths = blue_lengths(tmp_path / "bars.png")
    assert len(lengths) == 3
    assert lengths[0] / lengths[2] == pytest.approx(4, rel=0.03)
    assert lengths[1] / lengths[2] == pytest.approx(2, rel=0.03)


def test_an_interval_is_a_line_across_the_end_of_its_bar(tmp_path):
    for name, low, high in (("without", None, None), ("with", 30.0, 70.0)):
        write_bars(
            [Bar(label="x", score=50, low=low, high=high)],
            tmp_path / f"{name}.png",
            title="",
            axis="",
        )
    without, with_line = (Image.open(tmp_path / f"{name}.png") for name in ("without", "with"))
    middle = np.asarray(with_line.convert("L")).astype(int) - np.asarray(without.convert("L"))
    assert (middle < -60).sum() > 0.2 * with_line.width, "a dark line a third of the axis long"
