"""The chart of learning curves: what it draws is looked at in its pixels."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from components.figures.variants import _COLOURS, write_curves


def rows_of_colour(path, colour: str) -> np.ndarray:
    """Returns the vertical places of the pixels of a colour right of its legend-free half."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    plot = pixels[:, : pixels.shape[1] // 2]
    near = np.abs(plot - 255 * np.array(to_rgb(colour))).sum(axis=2) < 40
    return np.flatnonzero(near.any(axis=1))


def test_a_better_run_lies_higher_and_runs_of_a_name_share_a_colour(tmp_path):
    path = tmp_path / "learning.png"
    write_curves(
        {"good": [[60, 70, 80], [62, 72, 82]], "poor": [[20, 25, 30]]}, path, title="", axis=""
    )
    good, poor = (rows_of_colour(path, colour) for colour in _COLOURS[:2])
    assert good.max() < poor.min(), "rows count from the top"
    assert not rows_of_colour(path, _COLOURS[2]).size, "two names, two colours"


def test_a_chart_of_many_variants_tells_all_apart(tmp_path):
    flat = {f"variant {number}": [[5 * number, 5 * number]] for number in range(1, 17)}
    write_curves(flat, tmp_path / "learning.png", title="", axis="")
    # one colour, two variants: a solid line and, eleven variants on, a dashed one
    rows = rows_of_colour(tmp_path / "learning.png", _COLOURS[0])
    assert np.diff(rows).max() > 50
    assert len(rows) == pytest.approx(2 * 3, abs=6)
