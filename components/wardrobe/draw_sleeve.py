"""Paints sleeves, of tops and of coats."""

import numpy as np

from components.wardrobe.body import Body
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import stretch, strip
from components.wardrobe.paint import Paint
from components.wardrobe.style import Style

SLEEVE_END = {
    "sleeveless": 0.0,
    "cup": 0.13,
    "short": 0.3,
    "elbow": 0.49,
    "three_quarter": 0.68,
    "wrist": 0.85,
    "long": 1.03,
    "extra_long": 1.27,
}
"""Where a sleeve ends, as a share of the arm from shoulder to wrist; the hand ends at 1.23."""

_TOLERANCE = 0.02
_MARK_HALF_LENGTH = 0.1


def draw_sleeves(
    canvas: Canvas, style: Style, *, body: Body, length: str, cloth: Paint, start: float
) -> None:
    """Both sleeves, and the mark of the region in which they end.

    `start` is where they begin, on the scale of SLEEVE_END: 0 at the shoulder.
    """
    end = SLEEVE_END[length]
    if length != "sleeveless":
        end += _TOLERANCE * style.hem_shift
        half_width = 3.0 + 2.0 * style.sleeve_flare * end
        for arm in body.arms:
            path = stretch(arm, start, end)
            canvas.fill(strip(path, (2.9, 3.1, half_width), round_start=start == 0.0), cloth)
            if style.hemmed:
                cuff = strip(stretch(arm, end - 0.05, end, num_points=2), (half_width,))
                canvas.fill(cuff, cloth)
    around = [
        strip(stretch(arm, end - _MARK_HALF_LENGTH, end + _MARK_HALF_LENGTH), (3.5,))
        for arm in body.arms
    ]
    canvas.mark("sleeve_length", np.concatenate(around))
