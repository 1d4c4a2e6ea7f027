"""Paints what a closed top has at the neck: the collar designs and the high neck designs."""

import numpy as np

from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    both_sides,
    frill,
    mirrored,
    points,
    stretch,
)
from components.wardrobe.paint import Paint, plain
from components.wardrobe.style import Style


def draw_collar(canvas: Canvas, style: Style, *, design: str) -> None:
    """One of the collar designs, and its mark."""
    if design == "rib":
        outline = _draw_rib(canvas, style.collar)
    else:
        outline = _LEAVES[design]
        canvas.fill(mirrored(outline), style.collar, shadow=1.0)
        canvas.fill(outline, style.collar, shadow=1.0)
    canvas.mark("collar_design", np.concatenate([outline, mirrored(outline)]))


def draw_neck(canvas: Canvas, style: Style, *, design: str) -> None:
    """One of the high neck designs, and its mark."""
    painters = {
        "turtle": _draw_turtle,
        "low_turtle": _draw_low_turtle,
        "ruffle_semi_high": _draw_ruffle,
        "draped": _draw_drape,
    }
    canvas.mark("neck_design", painters[design](canvas, style))


_LEAVES = {
    "shirt": points((0.0, 19.4), (3.6, 14.6), (4.8, 16.6), (7.6, 20.4), (4.9, 25.6)),
    "peter_pan": np.concatenate(
        [
            points((0.0, 19.2), (3.3, 16.6), (4.6, 17.2)),
            bend((7.0, 18.2), (8.8, 21.4), (5.6, 23.6)),
            bend((5.6, 23.6), (1.2, 26.0), (0.0, 19.2)),
        ]
    ),
    "puritan": points(
        (0.0, 19.4), (3.3, 16.6), (4.6, 17.2), (11.9, 20.6), (11.0, 28.4), (1.6, 29.4)
    ),
}
"""The right half of each flat collar, from the middle of the throat outwards and back."""


def _draw_rib(canvas: Canvas, cloth: Paint) -> Points:
    """A knitted band around the neck with its ribs."""
    inner = bend((3.3, 16.4), (2.6, 18.6), (0.0, 18.6))
    outer = bend((6.2, 17.6), (5.4, 22.8), (0.0, 22.8))
    ring = np.concatenate([both_sides(inner), both_sides(outer)[::-1]])
    canvas.fill(ring, cloth)
    for start, end in zip(both_sides(inner), both_sides(outer), strict=True):
        canvas.line(np.stack([start, end]), cloth.outline, width=0.4)
    return ring


def _draw_turtle(canvas: Canvas, style: Style) -> Points:
    """A high tube with its upper half folded over."""
    tube = _band(top_y=13.6, bottom_y=20.0, half_width=4.0)
    fold = _band(top_y=12.4, bottom_y=17.4, half_width=4.8)
    canvas.fill(tube, style.top)
    canvas.fill(fold, style.top, shadow=0.7)
    return np.concatenate([tube, fold])


def _draw_low_turtle(canvas: Canvas, style: Style) -> Points:
    """A low plain band that leaves most of the neck bare."""
    band = _band(top_y=15.9, bottom_y=20.0, half_width=3.9)
    canvas.fill(band, style.top)
    return band


def _draw_ruffle(canvas: Canvas, style: Style) -> Points:
    """A frilled rim that stands up around the neck, over a second frill below it."""
    lower = _frilled(rim=bend((5.2, 17.6), (6.4, 22.8), (0.0, 23.2)), seam_y=18.0)
    upper = _frilled(rim=bend((6.0, 14.2), (4.0, 15.4), (0.0, 15.4)), seam_y=19.0)
    for piece in (lower, upper):
        canvas.fill(piece, style.top)
    for x in np.linspace(-1.0, 1.0, 9):
        canvas.line(points((x * 3.4, 18.4), (x * 5.2, 15.6)), style.top.outline)
        canvas.line(points((x * 3.4, 19.0), (x * 4.8, 21.8 - 2.0 * abs(x))), style.top.outline)
    return np.concatenate([lower, upper])


def _draw_drape(canvas: Canvas, style: Style) -> Points:
    """A cowl: a slack opening with folds that hang from both shoulders."""
    opening = both_sides(bend((4.6, 17.4), (4.2, 22.0), (0.0, 22.0)))
    canvas.fill(opening, plain(style.skin))
    folds = []
    for reach, depth in ((8.6, 33.0), (7.6, 29.6), (6.6, 26.2)):
        low = both_sides(bend((reach, 18.4), (reach * 0.8, depth), (0.0, depth)))
        folds.append(np.concatenate([low, opening[::-1]]))
        canvas.fill(folds[-1], style.top, shadow=0.9)
    return np.concatenate([opening, *folds])


def _band(*, top_y: float, bottom_y: float, half_width: float) -> Points:
    """A tube around the neck, its rims curved as seen from the front."""
    top = bend((half_width, top_y), (half_width * 0.7, top_y + 1.3), (0.0, top_y + 1.3))
    bottom = bend((half_width + 0.8, bottom_y - 1.4), (half_width, bottom_y), (0.0, bottom_y))
    return np.concatenate([both_sides(top), both_sides(bottom)[::-1]])


def _frilled(*, rim: Points, seam_y: float) -> Points:
    """Cloth between a waved rim and the neck's seam."""
    waved = frill(both_sides(rim), depth=0.7, num_waves=7)
    return np.concatenate(
        [waved, stretch(points((3.6, seam_y - 0.8), (-3.6, seam_y - 0.8)), 0.0, 1.0)]
    )
