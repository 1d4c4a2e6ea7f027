"""A design: what many products have in common, all that attributes say of them among it.

A seed has few designs, each in few colours, so that the values of the attributes and the colours
of a product never tell which of its like it is.
"""

from dataclasses import dataclass

import numpy as np

from components.wardrobe.cloth import PRINTS
from components.wardrobe.details import SHAPES
from components.wardrobe.outfit import UPPER, sleeves_that_fit, visible_values
from components.wardrobe.paint import Colour

CATEGORIES = ("top", "dress", "skirt", "trousers", "coat")
COLOURS: dict[str, Colour] = {
    "black": (44, 42, 48),
    "white": (232, 230, 224),
    "blue": (58, 84, 150),
    "red": (178, 48, 54),
}
"""The grounds."""

_OTHER_COLOURS: tuple[Colour, ...] = (
    (70, 112, 78),
    (204, 178, 140),
    (222, 184, 60),
    (128, 76, 140),
    (120, 176, 200),
)
_MIN_CONTRAST = 110.0
_NUM_DESIGNS = 20


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a design in one of COLOURS: the ground, and three that stand out from it."""

    name: str
    ground: Colour
    second: Colour
    third: Colour
    accent: Colour


@dataclass(frozen=True, kw_only=True)
class Design:
    """What products of a kind share.

    Attributes:
        category: one of CATEGORIES.
        shapes: the values of those of the eight attributes that it has.
        pattern: one of `cloth.PRINTS`.
        period, angle_deg: the print's scale and direction, from which products depart a little.
        petals, is_staggered: of flowers; of rows, where the print has some.
        has_lines: whether the print has thin lines, or cores, in a third colour.
        has_accent_collar, has_plain_sleeves: whether these are of another colour.
        detail: one of `details.SHAPES`, what its pockets and emblems look like.
    """

    category: str
    shapes: dict[str, str]
    pattern: str
    period: float
    angle_deg: float
    petals: int
    is_staggered: bool
    has_lines: bool
    has_accent_collar: bool
    has_plain_sleeves: bool
    detail: str


def sample_design(seed: int, rng: np.random.Generator) -> tuple[Design, Palette]:
    """Returns one of the designs of this seed, in one of its colours."""
    design = int(rng.integers(_NUM_DESIGNS))
    colour = int(rng.integers(len(COLOURS)))
    return (
        _design(np.random.default_rng([seed, design, 6]), CATEGORIES[design % len(CATEGORIES)]),
        _palette(np.random.default_rng([seed, design, 7, colour]), tuple(COLOURS)[colour]),
    )


def _design(rng: np.random.Generator, category: str) -> Design:
    attributes = {
        "top": (str(rng.choice(UPPER)),),
        "dress": (str(rng.choice(UPPER)), "skirt_length"),
        "skirt": ("skirt_length",),
        "trousers": ("pant_length",),
        "coat": ("coat_length", "lapel_design"),
    }[category]
    shapes = {name: str(rng.choice(visible_values(name))) for name in attributes}
    if category in ("top", "dress", "coat"):
        shapes["sleeve_length"] = str(rng.choice(sleeves_that_fit(shapes)))
    pattern = str(rng.choice(PRINTS))
    return Design(
        category=category,
        shapes=shapes,
        pattern=pattern,
        period=float(rng.uniform(4.0, 6.5)),
        angle_deg=float(rng.choice([0.0, 45.0, 90.0])) if pattern != "blocks" else 0.0,
        petals=int(rng.integers(3, 7)),
        is_staggered=bool(rng.random() < 0.5),
        has_lines=bool(rng.random() < 0.5),
        has_accent_collar=bool(rng.random() < 0.4),
        has_plain_sleeves=bool(rng.random() < 0.25),
        detail=str(rng.choice(tuple(SHAPES))),
    )


def _palette(rng: np.random.Generator, name: str) -> Palette:
    others = np.array([*COLOURS.values(), *_OTHER_COLOURS])
    gaps = np.linalg.norm(others - np.array(COLOURS[name]), axis=1)
    second, third, accent = (
        (red, green, blue)
        for red, green, blue in rng.permutation(others[gaps > _MIN_CONTRAST])[:3].tolist()
    )
    return Palette(name=name, ground=COLOURS[name], second=second, third=third, accent=accent)
