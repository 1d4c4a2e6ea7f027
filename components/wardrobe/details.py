"""Small things on a garment: buttons, pockets, emblems, cuffs and a belt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import Points, box, ellipse, points, stretch, strip
from components.wardrobe.draw_lengths import sleeve_cut
from components.wardrobe.figure import Body, torso_half_width
from components.wardrobe.paint import Colour, plain
from components.wardrobe.style import Style

_STAR_ANGLES = np.linspace(0.0, 2 * np.pi, 10, endpoint=False)
_STAR = np.stack([np.sin(_STAR_ANGLES), -np.cos(_STAR_ANGLES)], axis=1)
SHAPES: dict[str, Points] = {
    "disc": ellipse((0.0, 0.0), (1.0, 1.0)),
    "diamond": points((0.0, -1.3), (1.0, 0.0), (0.0, 1.3), (-1.0, 0.0)),
    "star": _STAR * np.where(np.arange(10) % 2, 0.5, 1.3)[:, None],
    "bar": box(-1.4, -0.45, 1.4, 0.45),
    "pocket": points((-1.1, -1.1), (1.1, -1.1), (1.1, 0.7), (0.0, 1.3), (-1.1, 0.7)),
    "flap": points((-1.3, -0.6), (1.3, -0.6), (1.3, 0.3), (0.0, 0.8), (-1.3, 0.3)),
}
"""Outlines around the origin, about one in radius."""

_PLACES = {
    "top": ((4.4, 29.5), (0.0, 38.0), (4.6, 40.5), (4.6, 35.0)),
    "dress": ((4.4, 29.5), (5.4, 46.0), (0.0, 50.0), (6.4, 56.0), (0.0, 35.0)),
    "skirt": ((5.4, 45.0), (0.0, 49.0), (6.2, 55.0), (6.0, 66.0), (0.0, 60.0)),
    "trousers": ((5.2, 46.5), (5.4, 55.0), (5.4, 65.0), (5.4, 78.0)),
    "coat": ((6.6, 31.5), (6.6, 42.0), (7.0, 52.0), (7.0, 66.0)),
}
"""Where details sit on the right half of a garment; those off the middle have a left twin."""

_BUTTON_ROWS = {"top": 0.0, "dress": 0.0, "skirt": 0.0, "coat": 4.0}
_BUTTONS_TOP = {"top": 36.0, "dress": 36.0, "skirt": 43.0, "coat": 36.0}
_CUFF_HEIGHT = 0.1
BELT_Y = 40.0
_PAIR_SHARE = 0.35
_BUTTONS_SHARE = 0.4
_MARGIN_TO_HEM = 2.5


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A small flat thing of one colour at a body point; `shape` is a key of `SHAPES`."""

    shape: str
    x: float
    y: float
    size: float
    colour: Colour


def sample_details(
    rng: np.random.Generator, category: str, *, shape: str, colour: Colour, hem_y: float
) -> tuple[Detail, ...]:
    """Returns one to three details, some of them as pairs, and perhaps a row of buttons."""
    size = float(rng.uniform(1.2, 2.0))
    places = [place for place in _PLACES[category] if place[1] + size + _MARGIN_TO_HEM < hem_y]
    details = []
    for place in rng.permutation(len(places))[: int(rng.integers(1, 4))].tolist():
        x, y = places[place]
        sides = (-1, 1) if rng.random() < _PAIR_SHARE else (int(rng.choice([-1, 1])),)
        details += [
            Detail(shape=shape, x=side * x, y=y, size=size, colour=colour)
            for side in (sides if x else (1,))
        ]
    if category in _BUTTON_ROWS and rng.random() < _BUTTONS_SHARE:
        x = _BUTTON_ROWS[category] + float(rng.uniform(-1.5, 1.5))
        step = float(rng.uniform(2.8, 6.0))
        heights = np.arange(_BUTTONS_TOP[category], hem_y - _MARGIN_TO_HEM, step).tolist()
        details += [Detail(shape="disc", x=x, y=y, size=0.75, colour=colour) for y in heights]
    return tuple(details)


def draw_cuffs(canvas: Canvas, style: Style, body: Body, *, length: str, colour: Colour) -> None:
    """Draws a band around both sleeves above their ends."""
    end, half_width = sleeve_cut(style, length)
    for arm in body.arms:
        band = stretch(arm, max(0.0, end - _CUFF_HEIGHT), end, num_points=4)
        canvas.fill(strip(band, (half_width,)), plain(colour))


def draw_belt(canvas: Canvas, colour: Colour) -> None:
    """Draws a belt around the waist."""
    half = torso_half_width(BELT_Y) + 1.0
    canvas.fill(box(-half, BELT_Y - 1.2, half, BELT_Y + 1.2), plain(colour))


def draw_details(canvas: Canvas, details: Sequence[Detail]) -> None:
    """Draws all details; later ones lie over earlier ones."""
    for detail in details:
        outline = SHAPES[detail.shape] * detail.size + np.array([detail.x, detail.y])
        canvas.fill(outline, plain(detail.colour))
