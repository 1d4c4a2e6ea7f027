"""Paints what stands in front of an attribute's zone, so that its value cannot be seen."""

from collections.abc import Callable

import numpy as np

from components.wardrobe.camera import ZONES, Zone
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import (
    Points,
    bend,
    box,
    ellipse,
    frill,
    mirrored,
    points,
    strip,
)
from components.wardrobe.paint import Colour, plain, shaded, tinted
from components.wardrobe.style import Style

_WOOD: Colour = (150, 108, 70)
_LEAF: Colour = (64, 120, 62)
_BEYOND = 80.0


def draw_hiding(
    canvas: Canvas, style: Style, *, hiding: str, attribute: str, rng: np.random.Generator
) -> None:
    """Hides an attribute's zone in one of the ways of `outfit.HIDING`.

    "crop" paints nothing: there the camera leaves the zone out of the frame.
    """
    if hiding != "crop":
        _PAINTERS[hiding](canvas, style, ZONES[attribute], rng)


def _draw_counter(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws a counter across the whole picture that the figure stands behind."""
    top = zone.y0 - float(rng.uniform(1.0, 4.0))
    front = box(-_BEYOND, top, _BEYOND, top + _BEYOND)
    canvas.fill(front, style.cover if rng.random() < 0.5 else plain(_WOOD))
    canvas.fill(box(-_BEYOND, top - 1.4, _BEYOND, top + 1.4), plain(tinted(_WOOD, 0.3)))
    canvas.cover(front)


def _draw_plant(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws a dense bush or bouquet: leaves and blossoms all over the zone."""
    blossom = plain(style.cover.colour)
    canvas.fill(_outline(zone), plain(shaded(_LEAF, 0.5)))
    for x in np.arange(zone.x0, zone.x1 + 3.0, 4.0):
        for y in np.arange(zone.y0, zone.y1 + 3.0, 4.0):
            centre = np.array([x, y]) + rng.uniform(-1.6, 1.6, size=2)
            way = rng.normal(size=2)
            way *= 4.2 / np.linalg.norm(way)
            leaf = strip(np.linspace(centre - way, centre + way, 7), (0.2, 2.0, 2.3, 1.7, 0.2))
            canvas.fill(leaf, plain(shaded(_LEAF, float(rng.uniform(0.6, 1.3)))))
            if rng.random() < 0.22:
                canvas.fill(ellipse((centre[0], centre[1]), (1.7, 1.7)), blossom)
    canvas.cover(_outline(zone))


def _draw_parcel(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws a parcel, or a folder, held up in front, with two hands at its sides."""
    x0, y0, x1, y1 = zone.x0 - 1.0, zone.y0 - 1.0, zone.x1 + 1.0, zone.y1 + 2.0
    front = box(x0, y0, x1, y1)
    canvas.fill(front, plain(style.cover.colour), shadow=1.0)
    tape_x = float(rng.uniform(-3.0, 3.0))
    canvas.fill(box(tape_x - 1.2, y0, tape_x + 1.2, y1), plain(tinted(style.cover.colour, 0.45)))
    hand_y = float(rng.uniform(y0 + 6.0, y1 - 4.0))
    for x in (x0, x1):
        canvas.fill(ellipse((x, hand_y), (2.2, 2.8)), plain(style.skin))
    canvas.cover(front)


def _draw_hair(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws long hair that falls from the temples in front of both shoulders and crosses below."""
    hair = plain(style.hair)
    for sign, low in zip((-1, 1), rng.uniform(3.0, 9.0, size=2) + zone.y1, strict=True):
        wide = zone.x1 + 1.0
        outer = bend((3.0, 1.0), (wide * 0.9, 8.0), (wide, zone.y1 - 4.0))
        tip = bend((wide, zone.y1 - 4.0), (wide * 0.6, low), (1.5, low))
        inner = bend((-1.5, zone.y1), (-2.5, 12.8), (3.8, 10.8))
        lock = np.concatenate([outer, tip, inner, points((4.6, 5.0))]) * (sign, 1.0)
        canvas.fill(lock, hair)
        for share in np.linspace(0.1, 0.9, 6):
            strand = bend((3.8, 3.0), (1.0 + wide * share, 12.0), (wide * share, low - 3.0))
            canvas.line(strand * (sign, 1.0), hair.outline)
    canvas.cover(_outline(zone))


def _draw_scarf(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws a thick scarf wound around neck and chest, with fringed ends."""
    tail_x = float(rng.uniform(2.0, 5.0))
    tail = strip(points((tail_x - 2.0, zone.y1 - 6.0), (tail_x, zone.y1 + 14.0)), (3.0, 3.6))
    canvas.fill(tail, style.cover)
    for x in np.linspace(-3.0, 3.0, 7):
        canvas.line(
            points((tail_x + x, zone.y1 + 13.6), (tail_x + x, zone.y1 + 16.0)), style.cover.outline
        )
    for half, y in ((zone.x1, zone.y1 - 4.5), (zone.x1, zone.y1 - 9.0), (7.5, 15.4)):
        height = 6.4 if y > 16.0 else 3.6
        roll = frill(ellipse((0.0, y), (half, height)), depth=0.25, num_waves=5)
        canvas.fill(roll, style.cover, shadow=1.0)
    canvas.cover(_outline(zone))


def _draw_cape(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws a closed cape or blanket over shoulders and arms."""
    hem_y = zone.y1 + float(rng.uniform(3.0, 7.0))
    wide = max(zone.x1, 18.0) + 2.0
    shoulder = bend((4.4, 12.4), (4.6, 17.0), (12.0, 17.4))
    side = bend((12.0, 17.4), (wide - 2.5, 20.0), (wide, hem_y))
    right = np.concatenate([points((0.0, 13.6)), shoulder, side, points((0.0, hem_y + 2.0))])
    cape = np.concatenate([right, mirrored(right)[::-1]])
    canvas.fill(cape, style.cover)
    for share in (-0.66, -0.33, 0.0, 0.33, 0.66):
        canvas.line(points((share * 5.0, 18.0), (share * wide, hem_y)), style.cover.outline)
    canvas.cover(cape)


def _draw_curtains(canvas: Canvas, style: Style, zone: Zone, rng: np.random.Generator) -> None:
    """Draws curtains in front of both arms; the figure looks out between them."""
    for sign in (-1, 1):
        edge = sign * float(rng.uniform(5.0, 6.4))
        curtain = box(edge, -_BEYOND, sign * _BEYOND, zone.y1 + _BEYOND)
        canvas.fill(curtain, style.cover)
        for x in np.arange(2.0, 40.0, 4.0):
            fold = points((edge + sign * x, -_BEYOND), (edge + sign * x, _BEYOND))
            canvas.line(fold, style.cover.outline)
        canvas.cover(curtain)


def _outline(zone: Zone) -> Points:
    return box(zone.x0, zone.y0, zone.x1, zone.y1)


_Painter = Callable[[Canvas, Style, Zone, np.random.Generator], None]

_PAINTERS: dict[str, _Painter] = {
    "counter": _draw_counter,
    "plant": _draw_plant,
    "parcel": _draw_parcel,
    "hair": _draw_hair,
    "scarf": _draw_scarf,
    "cape": _draw_cape,
    "curtains": _draw_curtains,
}
