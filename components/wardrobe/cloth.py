"""Cloth whose print stays in place on the garment, whatever the camera and the pose."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.wardrobe.camera import Camera
from components.wardrobe.curves import Points
from components.wardrobe.paint import Colour, Paint, plain

PRINTS = ("plain", "stripes", "checks", "dots", "flowers", "blocks")

_Mask = npt.NDArray[np.bool_]
_CORE_SHARE = 0.3
_BLOCKS_TOP_Y, _BLOCKS_HEIGHT = 30.0, 22.0
_LINE_SHARE = 0.09


@dataclass(frozen=True, kw_only=True)
class Band:
    """A level band of another colour around the whole garment, from `top` to `bottom`."""

    top: float
    bottom: float
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Cloth(Paint):
    """The cloth of one product; `pattern` is one of PRINTS.

    Attributes:
        third: the colour of thin lines, borders and the flowers' cores; may be the ground's.
        weight: 0 (thin, small) to 1 (bold), of the pattern in `second`.
        phase: where the pattern begins, across and along, in repeats.
        petals: of a flower.
        staggered: whether every other row of dots or flowers is shifted by half a repeat.
        bands: on the body, none on the sleeves.
        sleeves: their colour, None where they are of the same cloth.
        origin: the body point that the pattern counts from.
    """

    third: Colour
    weight: float
    phase: tuple[float, float]
    petals: int
    staggered: bool
    bands: tuple[Band, ...]
    sleeves: Colour | None
    origin: tuple[float, float]

    @property
    def is_plain(self) -> bool:
        """Whether it is of one colour all over."""
        return self.pattern == "plain" and not self.bands

    def along(self, limb: Points) -> Paint:
        """Returns the cloth of a sleeve, whose print turns with the upper arm."""
        if self.sleeves is not None:
            return plain(self.sleeves)
        if self.pattern == "blocks":
            return plain(self.colour)
        down = limb[1] - limb[0]
        turn_deg = float(np.rad2deg(np.arctan2(-down[0], down[1])))
        x, y = limb[0].tolist()
        return replace(self, bands=(), origin=(x, y), angle_deg=self.angle_deg + turn_deg)


def print_cloth(cloth: Cloth, camera: Camera, size_px: int) -> Image.Image:
    """Returns a square picture of nothing but the cloth, as the camera sees it."""
    body = camera.to_body(size_px) - np.array(cloth.origin)
    angle = np.deg2rad(cloth.angle_deg)
    across = (body[..., 0] * np.cos(angle) + body[..., 1] * np.sin(angle)) / cloth.period
    along = (body[..., 1] * np.cos(angle) - body[..., 0] * np.sin(angle)) / cloth.period
    pixels = np.full((size_px, size_px, 3), cloth.colour, dtype=np.uint8)
    for mask, colour in _layers(cloth, across + cloth.phase[0], along + cloth.phase[1]):
        pixels[mask] = colour
    for band in cloth.bands:
        pixels[(body[..., 1] >= band.top) & (body[..., 1] < band.bottom)] = band.colour
    return Image.fromarray(pixels)


def _layers(cloth: Cloth, across: Points, along: Points) -> list[tuple[_Mask, Colour]]:
    """Returns what is printed over the ground, one on the other; coordinates in repeats."""
    if cloth.pattern == "stripes":
        share = 0.2 + 0.4 * cloth.weight
        return [(_fraction(across) < share, cloth.second), (_middle(across, share), cloth.third)]
    if cloth.pattern == "checks":
        return _check_layers(cloth, across, along)
    if cloth.pattern in ("dots", "flowers"):
        return _flower_layers(cloth, across, along)
    if cloth.pattern == "blocks":
        below = along * cloth.period - (_BLOCKS_TOP_Y + _BLOCKS_HEIGHT * cloth.weight)
        return [(below > 0, cloth.second), ((below > 0) & (below < 1.2), cloth.third)]
    return []


def _check_layers(cloth: Cloth, across: Points, along: Points) -> list[tuple[_Mask, Colour]]:
    share = 0.2 + 0.4 * cloth.weight
    columns, rows = _fraction(across) < share, _fraction(along) < share
    red, green, blue = ((a + b) // 2 for a, b in zip(cloth.colour, cloth.second, strict=True))
    return [
        (columns | rows, (red, green, blue)),
        (columns & rows, cloth.second),
        (_middle(across, share) | _middle(along, share), cloth.third),
    ]


def _flower_layers(cloth: Cloth, across: Points, along: Points) -> list[tuple[_Mask, Colour]]:
    shifted = along + 0.5 * (np.floor(across) % 2) if cloth.staggered else along
    x, y = _fraction(across) - 0.5, _fraction(shifted) - 0.5
    radius = np.full_like(x, 0.2 + 0.2 * cloth.weight)
    if cloth.pattern == "flowers":
        radius *= 1.0 + 0.4 * np.cos(cloth.petals * np.arctan2(y, x))
    distance = np.hypot(x, y)
    core = _CORE_SHARE * (0.2 + 0.2 * cloth.weight)
    return [(distance < radius, cloth.second), (distance < core, cloth.third)]


def _middle(repeats: Points, share: float) -> _Mask:
    """Returns where a thin line runs in the middle of what the stripes leave free."""
    return np.abs(_fraction(repeats) - (1 + share) / 2) < _LINE_SHARE


def _fraction(values: Points) -> Points:
    return values - np.floor(values)
