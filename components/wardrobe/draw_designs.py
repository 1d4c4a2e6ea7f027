"""Paints what designs are told by: tops with their necklines, collars, high necks and lapels."""

import numpy as np

from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    both_sides,
    ellipse,
    frill,
    mirrored,
    points,
    stretch,
    strip,
)
from components.wardrobe.draw_lengths import COAT_NECK, coat_hem_y
from components.wardrobe.figure import WAIST_Y, Body, torso_side
from components.wardrobe.paint import Paint, plain, shaded
from components.wardrobe.style import Style

FLOUNCE_START = 0.1
"""Where an off-shoulder top begins, as a share of the arm from shoulder to wrist."""

_ARMPIT_Y = 26.0
_ARMHOLE = bend((9.9, _ARMPIT_Y), (8.4, 22.5), (9.8, 19.5))
_BARE_TOP_Y = 25.0
_SHOULDERS = points((-9.0, 18.4), (9.0, 18.4))


def draw_top(canvas: Canvas, style: Style, *, neckline: str) -> None:
    """Draws a top with one of the necklines, or "closed" under a collar or a high neck.

    Marks `neckline_design`, unless the neckline is "closed": the top's upper border and the
    shoulders, since bare shoulders decide it too.
    """
    edge = _upper_edge(neckline)
    is_dress = style.bottom == style.top
    bottom_y = WAIST_Y + 1.0 if style.tucked or is_dress else style.top_hem_y
    right = torso_side(_ARMPIT_Y, bottom_y, ease=style.top_ease)
    outline = np.concatenate([edge, right, mirrored(right)[::-1]])
    canvas.fill(outline, style.top)
    canvas.line(edge, style.top.outline, width=0.6)
    if style.buttoned:
        _draw_buttons(canvas, style, from_y=float(edge[np.abs(edge[:, 0]).argmin(), 1]) + 2.0)
    canvas.pin("collar", _neck_corners(edge, neckline))
    if not is_dress:
        canvas.pin("hem", np.stack([mirrored(right)[-1], right[-1]]))
    if neckline != "closed":
        canvas.mark("neckline_design", np.concatenate([edge, _SHOULDERS]))


def draw_flounce(canvas: Canvas, style: Style, *, body: Body) -> None:
    """Draws the band of an off-shoulder top that runs around both upper arms."""
    for arm in body.arms:
        canvas.fill(strip(stretch(arm, FLOUNCE_START, 0.28), (3.3, 3.9)), style.top)
    band = np.concatenate(
        [bend((11.4, 23.4), (6.0, 25.0), (0.0, 24.6)), bend((0.0, 29.4), (6.0, 30.0), (11.4, 28.6))]
    )
    canvas.fill(np.concatenate([band, mirrored(band)[::-1]]), style.top)


def _upper_edge(neckline: str) -> Points:
    """Returns the top's upper border from the left armpit over the shoulders to the right."""
    if neckline == "one_shoulder":
        across = bend((-3.6, 18.0), (1.0, 24.0), (10.0, _ARMPIT_Y))
        return np.concatenate([mirrored(_ARMHOLE), across])
    bare = {
        "strapless": points((10.1, _BARE_TOP_Y), (0.0, _BARE_TOP_Y + 0.3)),
        "off_shoulder": points((10.6, 24.0), (0.0, 24.6)),
        "sweetheart": np.concatenate(
            [points((10.1, _ARMPIT_Y)), bend((9.2, 24.0), (3.4, 17.0), (0.0, 28.0))]
        ),
    }
    if neckline in bare:
        return both_sides(bare[neckline])
    opening = {
        "deep_v": points((4.6, 17.9), (0.0, 34.5)),
        "v": points((4.6, 17.9), (0.0, 25.0)),
        "straight": points((8.4, 19.1), (0.0, 19.6)),
        "square": points((6.2, 18.3), (6.0, 25.0), (0.0, 25.0)),
        "round": bend((5.2, 17.9), (5.0, 23.6), (0.0, 23.6)),
        "closed": bend((3.3, 17.3), (2.4, 18.8), (0.0, 18.8)),
    }
    return both_sides(np.concatenate([_ARMHOLE, opening[neckline]]))


def _neck_corners(edge: Points, neckline: str) -> Points:
    """Returns where the neckline meets the left and the right shoulder, or the sides below them."""
    start = len(_ARMHOLE)
    if neckline == "one_shoulder":
        return edge[[start, -1]]
    bare = neckline in ("strapless", "off_shoulder", "sweetheart")
    return edge[[0, -1]] if bare else edge[[start, -start - 1]]


def _draw_buttons(canvas: Canvas, style: Style, *, from_y: float) -> None:
    for y in np.arange(from_y, WAIST_Y - 1.0, 3.4):
        canvas.fill(ellipse((0.0, float(y)), (0.5, 0.5)), plain(style.top.outline), edged=False)


def draw_collar(canvas: Canvas, style: Style, *, design: str) -> None:
    """Draws one of the collar designs, and its mark."""
    if design == "rib":
        outline = _draw_rib(canvas, style.collar)
    else:
        outline = _LEAVES[design]
        canvas.fill(mirrored(outline), style.collar, shadow=1.0)
        canvas.fill(outline, style.collar, shadow=1.0)
    canvas.mark("collar_design", np.concatenate([outline, mirrored(outline)]))


def draw_neck(canvas: Canvas, style: Style, *, design: str) -> None:
    """Draws one of the high neck designs, and its mark."""
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
    """Draws a knitted band around the neck with its ribs, and returns its outline."""
    inner = bend((3.3, 16.4), (2.6, 18.6), (0.0, 18.6))
    outer = bend((6.2, 17.6), (5.4, 22.8), (0.0, 22.8))
    ring = np.concatenate([both_sides(inner), both_sides(outer)[::-1]])
    canvas.fill(ring, cloth)
    for start, end in zip(both_sides(inner), both_sides(outer), strict=True):
        canvas.line(np.stack([start, end]), cloth.outline, width=0.4)
    return ring


def _draw_turtle(canvas: Canvas, style: Style) -> Points:
    """Draws a high tube with its upper half folded over, and returns its outline."""
    tube = _band(top_y=13.6, bottom_y=20.0, half_width=4.0)
    fold = _band(top_y=12.4, bottom_y=17.4, half_width=4.8)
    canvas.fill(tube, style.top)
    canvas.fill(fold, style.top, shadow=0.7)
    return np.concatenate([tube, fold])


def _draw_low_turtle(canvas: Canvas, style: Style) -> Points:
    """Draws a low plain band that leaves most of the neck bare, and returns its outline."""
    band = _band(top_y=15.9, bottom_y=20.0, half_width=3.9)
    canvas.fill(band, style.top)
    return band


def _draw_ruffle(canvas: Canvas, style: Style) -> Points:
    """Draws a frilled rim around the neck over a second frill, and returns their outlines."""
    lower = _frilled(rim=bend((5.2, 17.6), (6.4, 22.8), (0.0, 23.2)), seam_y=18.0)
    upper = _frilled(rim=bend((6.0, 14.2), (4.0, 15.4), (0.0, 15.4)), seam_y=19.0)
    for piece in (lower, upper):
        canvas.fill(piece, style.top)
    for x in np.linspace(-1.0, 1.0, 9):
        canvas.line(points((x * 3.4, 18.4), (x * 5.2, 15.6)), style.top.outline)
        canvas.line(points((x * 3.4, 19.0), (x * 4.8, 21.8 - 2.0 * abs(x))), style.top.outline)
    return np.concatenate([lower, upper])


def _draw_drape(canvas: Canvas, style: Style) -> Points:
    """Draws a cowl, a slack opening with folds from both shoulders, and returns its outline."""
    opening = both_sides(bend((4.6, 17.4), (4.2, 22.0), (0.0, 22.0)))
    canvas.fill(opening, plain(style.skin))
    folds = []
    for reach, depth in ((8.6, 33.0), (7.6, 29.6), (6.6, 26.2)):
        low = both_sides(bend((reach, 18.4), (reach * 0.8, depth), (0.0, depth)))
        folds.append(np.concatenate([low, opening[::-1]]))
        canvas.fill(folds[-1], style.top, shadow=0.9)
    return np.concatenate([opening, *folds])


def _band(*, top_y: float, bottom_y: float, half_width: float) -> Points:
    """Returns a tube around the neck, its rims curved as seen from the front."""
    top = bend((half_width, top_y), (half_width * 0.7, top_y + 1.3), (0.0, top_y + 1.3))
    bottom = bend((half_width + 0.8, bottom_y - 1.4), (half_width, bottom_y), (0.0, bottom_y))
    return np.concatenate([both_sides(top), both_sides(bottom)[::-1]])


def _frilled(*, rim: Points, seam_y: float) -> Points:
    """Returns cloth between a waved rim and the neck's seam."""
    waved = frill(both_sides(rim), depth=0.7, num_waves=7)
    return np.concatenate(
        [waved, stretch(points((3.6, seam_y - 0.8), (-3.6, seam_y - 0.8)), 0.0, 1.0)]
    )


def draw_lapels(canvas: Canvas, style: Style, *, design: str, length: str) -> None:
    """Draws the lapels along the coat's opening, and the mark of the opening they lie on."""
    break_y = min(style.break_y, coat_hem_y(style, length))
    pieces = _lapel_pieces(design, (1.0, break_y))
    cloth = _lapel_cloth(style)
    for piece in pieces:
        for half in (piece, mirrored(piece)):
            canvas.fill(half, cloth, shadow=0.8)
    if not pieces:
        edge = points(COAT_NECK, (1.0, break_y))
        for line in (edge, mirrored(edge)):
            canvas.line(line, cloth.outline, width=0.9)
    extent = np.concatenate([points(COAT_NECK, (1.0, break_y)), *pieces])
    canvas.mark("lapel_design", np.concatenate([extent, mirrored(extent)]))


def _lapel_pieces(design: str, end: tuple[float, float]) -> list[Points]:
    """Returns the right lapel's pieces, from the neck to where the fronts meet."""
    x, y = end
    if design == "notched":
        collar = points(COAT_NECK, (3.2, 14.8), (6.4, 16.8), (9.4, 20.6), (6.2, 23.2), (3.0, 20.6))
        lapel = points((2.9, 20.8), (5.6, 23.2), (10.9, 24.8), (8.4, 28.6), (x, y))
        return [collar, lapel]
    if design == "shawl":
        outer = bend((5.8, 16.4), (8.6, 25.0), (x, y))
        return [np.concatenate([points(COAT_NECK, (3.2, 14.8)), outer])]
    if design == "plus_size_shawl":
        shoulder = bend((6.0, 15.8), (13.8, 17.8), (13.6, 23.0))
        outer = bend((13.6, 23.0), (13.2, 29.0), (x, y))
        return [np.concatenate([points(COAT_NECK, (3.0, 13.8)), shoulder, outer])]
    return []


def _lapel_cloth(style: Style) -> Paint:
    """Returns the coat's own cloth, or a plain darker facing where the style's collar contrasts."""
    if style.collar == style.top:
        return style.coat
    return plain(shaded(style.coat.colour, 0.7))
