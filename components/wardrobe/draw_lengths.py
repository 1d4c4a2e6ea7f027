"""Paints the garments whose length is an attribute: skirts, trousers, sleeves and coats."""

from typing import NamedTuple

import numpy as np

from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    both_sides,
    box,
    mirrored,
    points,
    stretch,
    strip,
)
from components.wardrobe.figure import WAIST_Y, Body, torso_half_width, torso_side
from components.wardrobe.paint import Paint, plain, shaded
from components.wardrobe.style import Style

SKIRT_HEM_Y = {"short": 61.0, "knee": 72.5, "midi": 82.0, "ankle": 90.5, "floor": 99.0}
PANT_HEM_Y = {"short": 60.0, "mid": 70.0, "three_quarter": 79.5, "cropped": 88.0, "full": 97.0}
COAT_HEM_Y = {
    "high_waist": 36.5,
    "regular": 47.0,
    "long": 56.0,
    "micro": 64.5,
    "knee": 73.0,
    "midi": 82.5,
    "ankle_and_floor": 93.5,
}
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

COAT_NECK = (3.6, 16.2)
"""Where the coat's opening begins."""

_HEM_TOLERANCE = 1.2
_HEM_MARK_HALF_HEIGHT = 4.0
_SLEEVE_TOLERANCE = 0.02
_SLEEVE_MARK_HALF_LENGTH = 0.1
_LEG_TOP_Y = 49.5
_COAT_EASE = 1.6
_LINING_SHADE = 0.5


def draw_skirt(canvas: Canvas, style: Style, *, length: str) -> None:
    """Draws a skirt from the waist to the hem of its length, and the mark of its hem."""
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
    canvas.pin("waistline", _waist_ends(side))
    canvas.pin("hem", points((-hem_x, hem_y - 0.6), (hem_x, hem_y - 0.6)))
    canvas.mark("skirt_length", _around_hem(-hem_x, hem_x, hem_y))


def draw_pants(canvas: Canvas, style: Style, *, body: Body, length: str) -> None:
    """Draws trousers from the waist to the hem of their length, and the mark of their hems."""
    hem_y = PANT_HEM_Y[length] + _HEM_TOLERANCE * style.hem_shift
    hip = torso_side(WAIST_Y - 0.5, 50.0, ease=0.3)
    canvas.fill(both_sides(np.concatenate([hip, points((0.0, 55.0))])), style.bottom, edged=False)
    left, right = (_draw_pant_leg(canvas, style, leg, hem_y) for leg in body.legs)
    canvas.line(points((0.0, WAIST_Y), (0.0, 54.0)), style.bottom.outline)
    _draw_waistband(canvas, style)
    canvas.pin("waistline", _waist_ends(hip))
    canvas.pin("hem", np.stack([left.corners[0], right.corners[1]]))
    hem_x = np.concatenate([left.level_x, right.level_x])
    canvas.mark("pant_length", _around_hem(float(hem_x.min()), float(hem_x.max()), hem_y))


class _LegHem(NamedTuple):
    """Where one leg of trousers ends.

    `level_x` are x of its two ends, shape (2,), as if the leg hung straight; `corners` are the
    ends as drawn, left and right, shape (2, 2).
    """

    level_x: Points
    corners: Points


def _draw_pant_leg(canvas: Canvas, style: Style, leg: Points, hem_y: float) -> _LegHem:
    """Draws one leg's cloth, and returns its hem."""
    heights = np.linspace(_LEG_TOP_Y, hem_y, 10)
    path = np.stack([np.interp(heights, leg[:, 1], leg[:, 0]), heights], axis=1)
    half = np.interp(
        hem_y,
        (_LEG_TOP_Y, PANT_HEM_Y["full"]),
        (3.6 + 0.7 * style.pant_flare, 2.7 + 1.7 * style.pant_flare),
    )
    outline = strip(path, (5.2, (5.0 + half) / 2, half))
    canvas.fill(outline, style.bottom)
    ends: Points = path[-1, 0] + np.array([-half, half])
    if style.hemmed:
        border = np.stack([ends, np.full(2, hem_y - 1.4)], axis=1)
        canvas.line(border, style.bottom.outline)
    corners = outline[[len(path) - 1, len(path)]]  # `strip` goes down one side and up the other
    return _LegHem(ends, corners[corners[:, 0].argsort()])


def _draw_waistband(canvas: Canvas, style: Style) -> None:
    if style.bottom != style.top:
        half = torso_half_width(WAIST_Y) + 0.8
        canvas.fill(box(-half, WAIST_Y - 0.8, half, WAIST_Y + 1.2), style.bottom)


def _waist_ends(side: Points) -> Points:
    """Returns the left and the right end of a waist, given the garment's right side downwards."""
    return np.stack([mirrored(side)[0], side[0]])


def _around_hem(x0: float, x1: float, hem_y: float) -> Points:
    return box(x0, hem_y - _HEM_MARK_HALF_HEIGHT, x1, hem_y + _HEM_MARK_HALF_HEIGHT)


def draw_sleeves(
    canvas: Canvas, style: Style, *, body: Body, length: str, cloth: Paint, start: float
) -> None:
    """Draws both sleeves, and the mark of the region in which they end.

    `start` is where they begin, on the scale of SLEEVE_END: 0 at the shoulder.
    """
    end = SLEEVE_END[length]
    if length != "sleeveless":
        end, half_width = sleeve_cut(style, length)
        for arm in body.arms:
            path, sleeve = stretch(arm, start, end), cloth.along(arm)
            canvas.fill(strip(path, (2.9, 3.1, half_width), round_start=start == 0.0), sleeve)
            if style.hemmed:
                cuff = strip(stretch(arm, end - 0.05, end, num_points=2), (half_width,))
                canvas.fill(cuff, sleeve)
        canvas.pin("sleeve", np.stack([stretch(arm, 0.0, end)[-1] for arm in body.arms]))
    around = [
        strip(stretch(arm, end - _SLEEVE_MARK_HALF_LENGTH, end + _SLEEVE_MARK_HALF_LENGTH), (3.5,))
        for arm in body.arms
    ]
    canvas.mark("sleeve_length", np.concatenate(around))


def sleeve_cut(style: Style, length: str) -> tuple[float, float]:
    """Returns where a sleeve ends, on the scale of SLEEVE_END, and half its width there."""
    end = SLEEVE_END[length] + _SLEEVE_TOLERANCE * style.hem_shift
    return end, 3.0 + 2.0 * style.sleeve_flare * end


def draw_coat_back(canvas: Canvas, style: Style, *, length: str) -> None:
    """Draws the lining at the back, seen between the open fronts; comes before the figure."""
    hem_y = coat_hem_y(style, length)
    half = _side_x(style, hem_y)
    back = points((9.0, 20.5), (9.8, 26.0), (half - 1.0, hem_y - 0.6))
    canvas.fill(
        np.concatenate([back, mirrored(back)[::-1]]),
        plain(shaded(style.coat.colour, _LINING_SHADE)),
    )


def draw_coat_fronts(canvas: Canvas, style: Style, *, length: str) -> None:
    """Draws both open fronts down to the hem, and the mark of the hem."""
    hem_y = coat_hem_y(style, length)
    half = _side_x(style, hem_y)
    heights = np.linspace(26.0, hem_y, 12)
    side = np.stack([[_side_x(style, y) for y in heights.tolist()], heights], axis=1)
    gap = float(np.interp(hem_y, (style.break_y, 90.0), (1.2, style.coat_gap)))
    inner = points((gap, hem_y + 0.4), (1.0, min(style.break_y, hem_y)), COAT_NECK)
    front = np.concatenate([points((4.8, 16.8), (10.9, 19.9)), side, inner])
    for panel in (front, mirrored(front)):
        canvas.fill(panel, style.coat)
        canvas.cover(panel)
        canvas.line(panel[-3:], style.coat.outline, width=0.6)
    if style.hemmed:
        for sign in (-1, 1):
            border = points((sign * gap, hem_y - 1.2), (sign * half, hem_y - 1.6))
            canvas.line(border, style.coat.outline)
    canvas.pin("collar", points((-COAT_NECK[0], COAT_NECK[1]), COAT_NECK))
    canvas.pin("hem", np.stack([mirrored(side)[-1], side[-1]]))
    canvas.mark("coat_length", _around_hem(-half, half, hem_y))


def coat_hem_y(style: Style, length: str) -> float:
    """Returns the height of a coat's hem."""
    return COAT_HEM_Y[length] + _HEM_TOLERANCE * style.hem_shift


def _side_x(style: Style, y: float) -> float:
    """Returns the coat's half width at a height; it hangs straight or flares below the hip."""
    if y <= 49.0:
        return torso_half_width(y) + _COAT_EASE
    return torso_half_width(49.0) + _COAT_EASE + (y - 49.0) * 0.14 * style.coat_flare
