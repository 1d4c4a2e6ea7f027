"""Paints the figure itself: head, hair, torso, arms and legs."""

import numpy as np

from components.wardrobe.body import (
    ANKLE_Y,
    CHIN_Y,
    CROTCH_Y,
    HAND_LENGTH,
    KNEE_Y,
    NECK_HALF_WIDTH,
    Body,
    torso_side,
)
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    both_sides,
    box,
    ellipse,
    mirrored,
    points,
    stretch,
    strip,
)
from components.wardrobe.paint import plain, shaded
from components.wardrobe.style import Style

_HEAD_CENTRE = (0.0, 6.6)
_ARM_HALF_WIDTHS = (2.5, 2.3, 1.9, 2.0, 1.7, 1.3)
_CREASE_SHADE = 0.72


def draw_legs(canvas: Canvas, style: Style, *, body: Body) -> None:
    """Bare legs with a crease at the knee, and shoes."""
    for side, leg in zip((-1, 1), body.legs, strict=True):
        skin = plain(style.skin)
        canvas.fill(strip(stretch(leg, 0.0, 1.02), (5.3, 4.4, 3.1, 3.3, 2.5, 1.7)), skin)
        knee_x = float(leg[1, 0])
        crease = bend((knee_x - 1.8, KNEE_Y), (knee_x, KNEE_Y + 2.0), (knee_x + 1.8, KNEE_Y))
        canvas.line(crease, shaded(style.skin, _CREASE_SHADE), width=0.5)
        ankle_x = float(leg[2, 0])
        toe_x = ankle_x + side * 2.2
        shoe = points(
            (ankle_x - 1.9, ANKLE_Y + 1.6), (ankle_x + 1.9, ANKLE_Y + 1.6), (toe_x + 2.2, 99.6)
        )
        canvas.fill(np.concatenate([shoe, points((toe_x - 2.8, 99.6))]), plain(style.shoes))


def draw_torso(canvas: Canvas, style: Style) -> None:
    """Neck and torso down to the crotch."""
    side = torso_side(17.4, CROTCH_Y, ease=0.0)
    neck = points((NECK_HALF_WIDTH, CHIN_Y - 2.0))
    right = np.concatenate([neck, side, points((0.0, CROTCH_Y + 1.0))])
    canvas.fill(both_sides(right), plain(style.skin))
    collar_bone = bend((1.6, 19.6), (4.0, 18.8), (7.2, 19.4))
    for line in (collar_bone, mirrored(collar_bone)):
        canvas.line(line, shaded(style.skin, _CREASE_SHADE))


def draw_arms(canvas: Canvas, style: Style, *, body: Body) -> None:
    """Bare arms with a crease at the elbow, and hands."""
    skin = plain(style.skin)
    for arm in body.arms:
        canvas.fill(strip(stretch(arm, 0.0, 1.02), _ARM_HALF_WIDTHS, round_start=True), skin)
        canvas.fill(_hand(arm), skin)
        elbow = arm[1]
        canvas.line(points((elbow[0] - 1.1, elbow[1]), (elbow[0] + 1.1, elbow[1])), skin.outline)


def draw_head(canvas: Canvas, style: Style) -> None:
    """A face with plain features, and the hair in front of it."""
    canvas.shade(box(-NECK_HALF_WIDTH, CHIN_Y - 1, NECK_HALF_WIDTH, CHIN_Y + 1), 0.2)
    canvas.fill(ellipse(_HEAD_CENTRE, (4.9, 6.7)), plain(style.skin))
    dark = shaded(style.skin, 0.35)
    for x in (-1.9, 1.9):
        canvas.fill(ellipse((x, 6.4), (0.75, 0.5)), plain(dark), edged=False)
    canvas.line(bend((-1.5, 10.2), (0.0, 11.2), (1.5, 10.2)), dark)
    canvas.line(points((0.0, 7.0), (0.5, 8.5)), shaded(style.skin, _CREASE_SHADE))
    if style.hair_style != "none":
        fringe = np.concatenate(
            [bend((5.4, 6.2), (5.2, -1.6), (0.0, -1.0)), bend((0.0, 2.8), (3.0, 2.6), (5.4, 6.2))]
        )
        canvas.fill(fringe, plain(style.hair))
        canvas.fill(mirrored(fringe), plain(style.hair))


def draw_hair_behind(canvas: Canvas, style: Style) -> None:
    """The hair that hangs or sits behind the head and the shoulders."""
    shapes = {
        "bob": ellipse((0.0, 7.5), (7.0, 8.0)),
        "long": both_sides(
            np.concatenate([bend((6.6, 26.0), (8.0, 2.0), (3.0, -0.6)), points((0.0, -0.8))])
        ),
        "bun": ellipse((0.0, -1.6), (3.0, 2.6)),
    }
    if style.hair_style in shapes:
        canvas.fill(shapes[style.hair_style], plain(style.hair))


def _hand(arm: Points) -> Points:
    """A mitten that continues the forearm."""
    reach = 1.0 + HAND_LENGTH / float(np.linalg.norm(np.diff(arm, axis=0), axis=1).sum())
    return strip(stretch(arm, 1.0, reach), (1.3, 1.9, 2.1, 1.8, 0.8))
