"""The figure's body: where its joints are in a pose, and how wide its torso is.

Units as in `curves`. Joints keep their height in every pose, so that a hem at a given
height lies at the same place of the leg whatever the stance.
"""

from dataclasses import dataclass

import numpy as np

from components.wardrobe.curves import Points, points

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


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Angles and shifts of the limbs; pairs are (left, right) in the picture before mirroring.

    Attributes:
        arm_angles_deg: Upper arm's angle away from the body.
        elbow_bends_deg: Forearm's turn relative to the upper arm; negative is inwards.
        knee_shifts: Sideways shift of each knee, positive outwards.
        ankle_shifts: Sideways shift of each ankle, positive outwards.
    """

    arm_angles_deg: tuple[float, float]
    elbow_bends_deg: tuple[float, float]
    knee_shifts: tuple[float, float]
    ankle_shifts: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Body:
    """The joints of a pose.

    Attributes:
        arms: Left and right, each (3, 2): shoulder, elbow, wrist.
        legs: Left and right, each (3, 2): hip, knee, ankle.
    """

    arms: tuple[Points, Points]
    legs: tuple[Points, Points]


def sample_pose(rng: np.random.Generator) -> Pose:
    """A relaxed standing pose; arms stay beside the body."""

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
    """The joints of the body in a pose."""
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
    """Half the torso's width at a height between the neck (17) and the crotch (53)."""
    return float(np.interp(y, _TORSO_Y, _TORSO_HALF_WIDTH))


def torso_side(top_y: float, bottom_y: float, *, ease: float) -> Points:
    """The torso's right side from `top_y` down to `bottom_y`, `ease` outside the skin."""
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
