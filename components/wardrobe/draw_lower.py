"""Paints skirts and trousers."""

import numpy as np

from components.wardrobe.body import WAIST_Y, Body, torso_half_width, torso_side
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import Points, bend, both_sides, box, points, strip
from components.wardrobe.style import Style

SKIRT_HEM_Y = {"short": 61.0, "knee": 72.5, "midi": 82.0, "ankle": 90.5, "floor": 99.0}
PANT_HEM_Y = {"short": 60.0, "mid": 70.0, "three_quarter": 79.5, "cropped": 88.0, "full": 97.0}
_HEM_TOLERANCE = 1.2
_HEM_MARK_HALF_HEIGHT = 4.0
_LEG_TOP_Y = 49.5


def draw_skirt(canvas: Canvas, style: Style, *, length: str) -> None:
    """A skirt from the waist to the hem of its length, and the mark of its hem."""
    hem_y = SKIRT_HEM_Y[length] + _HEM_TOLERANCE * style.hem_shift
    hem_x = torso_half_width(49.0) + (hem_y - 49.0) * (0.28 * style.skirt_flare - 0.03)
    hem = bend((hem_x, hem_y - 0.6), (hem_x / 2, hem_y + 0.8), (0.0, hem_y + 0.4))
    side = torso_side(WAIST_Y - 0.5, 49.0, ease=0.7)
    canvas.fill(both_sides(np.concatenate([side, hem])), style.bottom)
    for share in (-0.6, -0.15, 0.35, 0.7):
        fold = points((share * 8.5, 47.0 + 4.0 * abs(share)), (share * hem_x, hem_y - 0.8))
        canvas.line(fold, style.bottom.outline)
    if style.hemmed:
        canvas.line(both_sides(hem - (0.0, 1.3)), style.bottom.outline)
    _draw_waistband(canvas, style)
    canvas.mark("skirt_length", _around_hem(-hem_x, hem_x, hem_y))


def draw_pants(canvas: Canvas, style: Style, *, body: Body, length: str) -> None:
    """Trousers from the waist to the hem of their length, and the mark of their hems."""
    hem_y = PANT_HEM_Y[length] + _HEM_TOLERANCE * style.hem_shift
    hip = torso_side(WAIST_Y - 0.5, 50.0, ease=0.3)
    canvas.fill(both_sides(np.concatenate([hip, points((0.0, 55.0))])), style.bottom, edged=False)
    hems = np.concatenate([_draw_pant_leg(canvas, style, leg, hem_y) for leg in body.legs])
    canvas.line(points((0.0, WAIST_Y), (0.0, 54.0)), style.bottom.outline)
    _draw_waistband(canvas, style)
    canvas.mark("pant_length", _around_hem(float(hems.min()), float(hems.max()), hem_y))


def _draw_pant_leg(canvas: Canvas, style: Style, leg: Points, hem_y: float) -> Points:
    """Paint one leg's cloth; gives x of the hem's two ends, shape (2,)."""
    heights = np.linspace(_LEG_TOP_Y, hem_y, 10)
    path = np.stack([np.interp(heights, leg[:, 1], leg[:, 0]), heights], axis=1)
    half = np.interp(
        hem_y,
        (_LEG_TOP_Y, PANT_HEM_Y["full"]),
        (3.6 + 0.7 * style.pant_flare, 2.7 + 1.7 * style.pant_flare),
    )
    canvas.fill(strip(path, (5.2, (5.0 + half) / 2, half)), style.bottom)
    ends: Points = path[-1, 0] + np.array([-half, half])
    if style.hemmed:
        border = np.stack([ends, np.full(2, hem_y - 1.4)], axis=1)
        canvas.line(border, style.bottom.outline)
    return ends


def _draw_waistband(canvas: Canvas, style: Style) -> None:
    if style.bottom != style.top:
        half = torso_half_width(WAIST_Y) + 0.8
        canvas.fill(box(-half, WAIST_Y - 0.8, half, WAIST_Y + 1.2), style.bottom)


def _around_hem(x0: float, x1: float, hem_y: float) -> Points:
    return box(x0, hem_y - _HEM_MARK_HALF_HEIGHT, x1, hem_y + _HEM_MARK_HALF_HEIGHT)
