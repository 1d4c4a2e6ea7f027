"""Paints tops: the cloth on the torso with its neckline."""

import numpy as np

from components.wardrobe.body import WAIST_Y, Body, torso_side
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    both_sides,
    ellipse,
    mirrored,
    points,
    stretch,
    strip,
)
from components.wardrobe.paint import plain
from components.wardrobe.style import Style

FLOUNCE_START = 0.1
"""Where an off-shoulder top begins, as a share of the arm from shoulder to wrist."""

_ARMPIT_Y = 26.0
_EASE = 0.5
_UNTUCKED_Y = 47.0
_ARMHOLE = bend((9.9, _ARMPIT_Y), (8.4, 22.5), (9.8, 19.5))
_BARE_TOP_Y = 25.0
_SHOULDERS = points((-9.0, 18.4), (9.0, 18.4))


def draw_top(canvas: Canvas, style: Style, *, neckline: str) -> None:
    """A top with one of the necklines, or "closed" under a collar or a high neck.

    Marks `neckline_design`, unless the neckline is "closed": the top's upper border and the
    shoulders, since bare shoulders decide it too.
    """
    edge = _upper_edge(neckline)
    bottom_y = WAIST_Y + 1.0 if style.tucked or style.bottom == style.top else _UNTUCKED_Y
    right = torso_side(_ARMPIT_Y, bottom_y, ease=_EASE)
    outline = np.concatenate([edge, right, mirrored(right)[::-1]])
    canvas.fill(outline, style.top)
    canvas.line(edge, style.top.outline, width=0.6)
    if style.buttoned:
        _draw_buttons(canvas, style, from_y=float(edge[np.abs(edge[:, 0]).argmin(), 1]) + 2.0)
    if neckline != "closed":
        canvas.mark("neckline_design", np.concatenate([edge, _SHOULDERS]))


def draw_flounce(canvas: Canvas, style: Style, *, body: Body) -> None:
    """The band of an off-shoulder top that runs around both upper arms."""
    for arm in body.arms:
        canvas.fill(strip(stretch(arm, FLOUNCE_START, 0.28), (3.3, 3.9)), style.top)
    band = np.concatenate(
        [bend((11.4, 23.4), (6.0, 25.0), (0.0, 24.6)), bend((0.0, 29.4), (6.0, 30.0), (11.4, 28.6))]
    )
    canvas.fill(np.concatenate([band, mirrored(band)[::-1]]), style.top)


def _upper_edge(neckline: str) -> Points:
    """The top's upper border from the left armpit over the shoulders to the right armpit."""
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


def _draw_buttons(canvas: Canvas, style: Style, *, from_y: float) -> None:
    for y in np.arange(from_y, WAIST_Y - 1.0, 3.4):
        canvas.fill(ellipse((0.0, float(y)), (0.5, 0.5)), plain(style.top.outline), edged=False)
