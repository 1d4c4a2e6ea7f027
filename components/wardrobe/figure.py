"""The figure: where its joints are in a pose, how wide its torso is, and how it is painted.

Units as in `curves`. Joints keep their height in every pose, so that a hem at a given height lies
at the same place of the leg whatever the stance.
"""

from dataclasses import dataclass

import numpy as np

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

CHIN_Y = 13.2
NECK_HALF_WIDTH = 3.0
WAIST_Y = 39.0
CROTCH_Y = 53.0
KNEE_Y = 73.0
ANKLE_Y = 94.0
UPPER_ARM_LENGTH = 16.0
FOREARM_LENGTH = 15.0
HAND_LENGTH = 7.0

_TORSO_Y = (17.0, 18.3, 19.3, 20.6, 23.0, 26.0, 30.0, 34.0, 39.0, 44.0, 49.0, 53.0)
_TORSO_HALF_WIDTH = (3.2, 5.0, 8.5, 10.6, 10.5, 9.6, 9.2, 8.0, 7.1, 8.6, 10.0, 10.2)
_HEAD_CENTRE = (0.0, 6.6)
_ARM_HALF_WIDTHS = (2.5, 2.3, 1.9, 2.0, 1.7, 1.3)
_CREASE_SHADE = 0.72


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Angles and shifts of the limbs; pairs are (left, right) in the picture before mirroring.

    Attributes:
        arm_angles_deg: upper arm's angle away from the body.
        elbow_bends_deg: forearm's turn relative to the upper arm; negative is inwards.
        knee_shifts: sideways shift of each knee, positive outwards.
        ankle_shifts: sideways shift of each ankle, positive outwards.
    """

    arm_angles_deg: tuple[float, float]
    elbow_bends_deg: tuple[float, float]
    knee_shifts: tuple[float, float]
    ankle_shifts: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Body:
    """The joints of a pose.

    Attributes:
        arms: left and right, each (3, 2): shoulder, elbow, wrist.
        legs: left and right, each (3, 2): hip, knee, ankle.
    """

    arms: tuple[Points, Points]
    legs: tuple[Points, Points]


def sample_pose(rng: np.random.Generator) -> Pose:
    """Returns a relaxed standing pose; arms stay beside the body."""

    def pair(low: float, high: float) -> tuple[float, float]:
        left, right = rng.uniform(low, high, size=2)
        return float(left), float(right)

    return Pose(
        arm_angles_deg=pair(11.0, 30.0),
        elbow_bends_deg=pair(-22.0, 8.0),
        knee_shifts=pair(-0.4, 1.2),
        ankle_shifts=pair(-1.2, 2.6),
    )


def pose_body(pose: Pose) -> Body:
    """Returns the joints of the body in a pose."""
    left, right = (
        _arm(side, angle, bend)
        for side, angle, bend in zip(
            (-1, 1), pose.arm_angles_deg, pose.elbow_bends_deg, strict=True
        )
    )
    left_leg, right_leg = (
        points((side * 4.9, 51.0), (side * (5.0 + knee), KNEE_Y), (side * (5.2 + ankle), ANKLE_Y))
        for side, knee, ankle in zip((-1, 1), pose.knee_shifts, pose.ankle_shifts, strict=True)
    )
    return Body(arms=(left, right), legs=(left_leg, right_leg))


def torso_half_width(y: float) -> float:
    """Returns half the torso's width at a height between the neck (17) and the crotch (53)."""
    return float(np.interp(y, _TORSO_Y, _TORSO_HALF_WIDTH))


def torso_side(top_y: float, bottom_y: float, *, ease: float) -> Points:
    """Returns the torso's right side from `top_y` down to `bottom_y`, `ease` outside the skin."""
    heights = np.linspace(top_y, bottom_y, 10)
    return np.stack([np.interp(heights, _TORSO_Y, _TORSO_HALF_WIDTH) + ease, heights], axis=1)


def _arm(side: int, angle_deg: float, bend_deg: float) -> Points:
    shoulder = np.array([side * 9.4, 21.2])
    elbow = shoulder + UPPER_ARM_LENGTH * _downwards(side, angle_deg)
    wrist = elbow + FOREARM_LENGTH * _downwards(side, angle_deg + bend_deg)
    return np.stack([shoulder, elbow, wrist])


def _downwards(side: int, angle_deg: float) -> Points:
    angle = np.deg2rad(angle_deg)
    return np.array([side * np.sin(angle), np.cos(angle)])


def draw_legs(canvas: Canvas, style: Style, *, body: Body) -> None:
    """Draws bare legs with a crease at the knee, and shoes."""
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
    """Draws neck and torso down to the crotch."""
    side = torso_side(17.4, CROTCH_Y, ease=0.0)
    neck = points((NECK_HALF_WIDTH, CHIN_Y - 2.0))
    right = np.concatenate([neck, side, points((0.0, CROTCH_Y + 1.0))])
    canvas.fill(both_sides(right), plain(style.skin))
    collar_bone = bend((1.6, 19.6), (4.0, 18.8), (7.2, 19.4))
    for line in (collar_bone, mirrored(collar_bone)):
        canvas.line(line, shaded(style.skin, _CREASE_SHADE))


def draw_arms(canvas: Canvas, style: Style, *, body: Body) -> None:
    """Draws bare arms with a crease at the elbow, and hands."""
    skin = plain(style.skin)
    for arm in body.arms:
        canvas.fill(strip(stretch(arm, 0.0, 1.02), _ARM_HALF_WIDTHS, round_start=True), skin)
        canvas.fill(_hand(arm), skin)
        elbow = arm[1]
        canvas.line(points((elbow[0] - 1.1, elbow[1]), (elbow[0] + 1.1, elbow[1])), skin.outline)


def draw_head(canvas: Canvas, style: Style) -> None:
    """Draws a face with plain features, and the hair in front of it."""
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
    """Draws the hair that hangs or sits behind the head and the shoulders."""
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
    """Returns a mitten that continues the forearm."""
    reach = 1.0 + HAND_LENGTH / float(np.linalg.norm(np.diff(arm, axis=0), axis=1).sum())
    return strip(stretch(arm, 1.0, reach), (1.3, 1.9, 2.1, 1.8, 0.8))
