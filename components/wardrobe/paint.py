"""Colours and cloth patterns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.wardrobe.curves import Points

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

PATTERNS = ("plain", "stripes", "checks", "dots", "weave")
_PATTERN_SHARES = (0.5, 0.16, 0.12, 0.12, 0.1)
_MIN_DISTANCE = 90.0
_NUM_CANDIDATES = 24


@dataclass(frozen=True, kw_only=True)
class Paint:
    """What a piece of cloth looks like.

    Attributes:
        colour: the ground.
        second: the colour of the pattern on it.
        pattern: one of PATTERNS.
        period: distance between repeats, in percent of the figure's height.
        angle_deg: direction of the pattern.
    """

    colour: Colour
    second: Colour
    pattern: str
    period: float
    angle_deg: float

    @property
    def is_plain(self) -> bool:
        """Whether it is of one colour all over."""
        return self.pattern == "plain"

    @property
    def outline(self) -> Colour:
        """The colour of seams and edges: dark on light cloth, light on very dark cloth."""
        return shaded(self.colour, 0.55) if sum(self.colour) > 150 else tinted(self.colour, 0.35)

    def along(self, limb: Points) -> "Paint":
        """Returns the cloth as it lies on a sleeve around a limb."""
        return self


def plain(colour: Colour) -> Paint:
    """Returns cloth (or skin, or wood) of one colour."""
    return Paint(colour=colour, second=colour, pattern="plain", period=1.0, angle_deg=0.0)


def sample_paint(rng: np.random.Generator, *, unlike: list[Colour]) -> Paint:
    """Returns cloth whose ground stands out from the given colours, in a random pattern."""
    colour = sample_colour(rng, unlike=unlike)
    strength = float(rng.uniform(0.25, 0.5))
    return Paint(
        colour=colour,
        second=shaded(colour, 1 - strength) if rng.random() < 0.5 else tinted(colour, strength),
        pattern=str(rng.choice(PATTERNS, p=_PATTERN_SHARES)),
        period=float(rng.uniform(1.6, 4.5)),
        angle_deg=float(rng.choice([0.0, 90.0, 45.0]) + rng.uniform(-8.0, 8.0)),
    )


def sample_colour(
    rng: np.random.Generator, *, unlike: list[Colour], max_saturation: float = 0.65
) -> Colour:
    """Returns a random colour at least 90 (Euclidean, of 441) from the given ones.

    Where none of 24 samples is that far, the farthest of them is taken.
    """
    drawn = rng.uniform((0.0, 0.0, 0.22), (1.0, max_saturation, 1.0), size=(_NUM_CANDIDATES, 3))
    candidates = [_from_hsv(*row) for row in drawn.tolist()]
    if not unlike:
        return candidates[0]
    gaps = np.linalg.norm(
        np.array(candidates)[:, None] - np.array(unlike, dtype=np.float64)[None], axis=2
    ).min(axis=1)
    far_enough = np.flatnonzero(gaps >= _MIN_DISTANCE)
    return candidates[int(far_enough[0] if len(far_enough) else gaps.argmax())]


def shaded(colour: Colour, factor: float) -> Colour:
    """Returns the colour times a factor below 1: darker."""
    red, green, blue = (round(channel * factor) for channel in colour)
    return red, green, blue


def tinted(colour: Colour, share: float) -> Colour:
    """Returns the colour mixed with a share of white: lighter."""
    red, green, blue = (round(channel + (255 - channel) * share) for channel in colour)
    return red, green, blue


def texture(paint: Paint, size_px: int, *, unit_px: float) -> Image.Image:
    """Returns a square image of cloth; `unit_px` is a percent of the figure's height in pixels."""
    image = Image.new("RGB", (size_px, size_px), paint.colour)
    image.paste(paint.second, (0, 0), Image.fromarray(_pattern_mask(paint, size_px, unit_px)))
    return image


def _pattern_mask(paint: Paint, size_px: int, unit_px: float) -> npt.NDArray[np.uint8]:
    """Returns a mask, 255 where the pattern's second colour goes, shape (size_px, size_px)."""
    angle = np.deg2rad(paint.angle_deg)
    axis = np.arange(size_px, dtype=np.float32) / np.float32(paint.period * unit_px)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = _fraction(axis[None, :] * cos + axis[:, None] * sin)
    if paint.pattern == "stripes":
        return _as_mask(u < 0.4)
    v = _fraction(axis[:, None] * cos - axis[None, :] * sin)
    if paint.pattern == "dots":
        return _as_mask((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.07)
    if paint.pattern == "checks":
        return _as_mask((u < 0.5) ^ (v < 0.5))
    return _as_mask((u < 0.16) | (v < 0.16))


def _fraction(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the part after the decimal point; five times as fast as `% 1.0`."""
    values -= np.floor(values)
    return values


def _as_mask(where: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return where.astype(np.uint8) * np.uint8(255)


def _from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Returns a colour from hue, saturation and value in 0..1."""
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6.0) % 6.0
        channels.append(value - value * saturation * max(0.0, min(k, 4.0 - k, 1.0)))
    red, green, blue = (round(channel * 255) for channel in channels)
    return red, green, blue
