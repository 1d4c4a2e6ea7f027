"""Paints coats and jackets: their fronts, hems and lapels."""

import numpy as np

from components.wardrobe.body import torso_half_width
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import Points, bend, box, mirrored, points
from components.wardrobe.paint import Paint, plain, shaded
from components.wardrobe.style import Style

COAT_HEM_Y = {
    "high_waist": 36.5,
    "regular": 47.0,
    "long": 56.0,
    "micro": 64.5,
    "knee": 73.0,
    "midi": 82.5,
    "ankle_and_floor": 93.5,
}
_HEM_TOLERANCE = 1.2
_EASE = 1.6
_HEM_MARK_HALF_HEIGHT = 4.0
_NECK = (3.6, 16.2)
_LINING_SHADE = 0.5


def draw_coat_back(canvas: Canvas, style: Style, *, length: str) -> None:
    """The lining at the back, seen between the open fronts; to be painted before the figure."""
    hem_y = _hem_y(style, length)
    half = _side_x(style, hem_y)
    back = points((9.0, 20.5), (9.8, 26.0), (half - 1.0, hem_y - 0.6))
    canvas.fill(
        np.concatenate([back, mirrored(back)[::-1]]),
        plain(shaded(style.coat.colour, _LINING_SHADE)),
    )


def draw_coat_fronts(canvas: Canvas, style: Style, *, length: str) -> None:
    """Both open fronts down to the hem, and the mark of the hem."""
    hem_y = _hem_y(style, length)
    half = _side_x(style, hem_y)
    heights = np.linspace(26.0, hem_y, 12)
    side = np.stack([[_side_x(style, y) for y in heights.tolist()], heights], axis=1)
    gap = float(np.interp(hem_y, (style.break_y, 90.0), (1.2, style.coat_gap)))
    inner = points((gap, hem_y + 0.4), (1.0, min(style.break_y, hem_y)), _NECK)
    front = np.concatenate([points((4.8, 16.8), (10.9, 19.9)), side, inner])
    for panel in (front, mirrored(front)):
        canvas.fill(panel, style.coat)
        canvas.cover(panel)
        canvas.line(panel[-3:], style.coat.outline, width=0.6)
    if style.hemmed:
        for sign in (-1, 1):
            border = points((sign * gap, hem_y - 1.2), (sign * half, hem_y - 1.6))
            canvas.line(border, style.coat.outline)
    around = box(-half, hem_y - _HEM_MARK_HALF_HEIGHT, half, hem_y + _HEM_MARK_HALF_HEIGHT)
    canvas.mark("coat_length", around)


def draw_lapels(canvas: Canvas, style: Style, *, design: str, length: str) -> None:
    """The lapels along the coat's opening, and the mark of the opening they lie on."""
    break_y = min(style.break_y, _hem_y(style, length))
    pieces = _lapel_pieces(design, (1.0, break_y))
    cloth = _lapel_cloth(style)
    for piece in pieces:
        for half in (piece, mirrored(piece)):
            canvas.fill(half, cloth, shadow=0.8)
    if not pieces:
        edge = points(_NECK, (1.0, break_y))
        for line in (edge, mirrored(edge)):
            canvas.line(line, cloth.outline, width=0.9)
    extent = np.concatenate([points(_NECK, (1.0, break_y)), *pieces])
    canvas.mark("lapel_design", np.concatenate([extent, mirrored(extent)]))


def _hem_y(style: Style, length: str) -> float:
    """Height of the hem of a coat."""
    return COAT_HEM_Y[length] + _HEM_TOLERANCE * style.hem_shift


def _lapel_pieces(design: str, end: tuple[float, float]) -> list[Points]:
    """The right lapel's pieces, from the neck to where the fronts meet."""
    x, y = end
    if design == "notched":
        collar = points(_NECK, (3.2, 14.8), (6.4, 16.8), (9.4, 20.6), (6.2, 23.2), (3.0, 20.6))
        lapel = points((2.9, 20.8), (5.6, 23.2), (10.9, 24.8), (8.4, 28.6), (x, y))
        return [collar, lapel]
    if design == "shawl":
        outer = bend((5.8, 16.4), (8.6, 25.0), (x, y))
        return [np.concatenate([points(_NECK, (3.2, 14.8)), outer])]
    if design == "plus_size_shawl":
        shoulder = bend((6.0, 15.8), (13.8, 17.8), (13.6, 23.0))
        outer = bend((13.6, 23.0), (13.2, 29.0), (x, y))
        return [np.concatenate([points(_NECK, (3.0, 13.8)), shoulder, outer])]
    return []


def _lapel_cloth(style: Style) -> Paint:
    """The coat's own cloth, or a plain darker facing where the style's collar contrasts."""
    if style.collar == style.top:
        return style.coat
    return plain(shaded(style.coat.colour, 0.7))


def _side_x(style: Style, y: float) -> float:
    """The coat's half width at a height; it hangs straight or flares below the hip."""
    if y <= 49.0:
        return torso_half_width(y) + _EASE
    return torso_half_width(49.0) + _EASE + (y - 49.0) * 0.14 * style.coat_flare
