"""A picture to paint on in body units, which remembers where attributes are decided."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from components.wardrobe.camera import Camera
from components.wardrobe.cloth import Cloth, print_cloth
from components.wardrobe.curves import Points
from components.wardrobe.paint import Colour, Paint, texture

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture being painted."""

OUTLINE_WIDTH = 0.32
_SHADOW_STRENGTH = 0.24


@dataclass
class Canvas:
    """Paints body points through a camera onto a square image.

    Attributes:
        image: the picture, RGB.
        camera: turns body points into pixels.
        marks: attribute to the box of pixels that decides it, not cut at the borders.
        hidden: attribute to the area of its mark, in pixels, that was covered afterwards.
    """

    image: Image.Image
    camera: Camera
    marks: dict[str, Box] = field(default_factory=dict)
    hidden: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepares the pen and the store of cloth textures."""
        self._pen = ImageDraw.Draw(self.image)
        self._textures: dict[Paint, Image.Image] = {}
        self._unit_px = self.image.width / self.camera.span

    def fill(
        self, outline: Points, paint: Paint, *, edged: bool = True, shadow: float = 0.0
    ) -> None:
        """Paints the inside of an outline with cloth, and its edge with a seam.

        `shadow` is how far below itself the piece casts a shadow, in body units.
        """
        if shadow:
            self.shade(outline + np.array([0.0, shadow]), _SHADOW_STRENGTH)
        corners = self._pixels(outline)
        if paint.is_plain:
            self._pen.polygon(as_pairs(corners), fill=paint.colour)
        else:
            self._paste(corners, self._texture(paint), opacity=255)
        if edged:
            self.line(np.concatenate([outline, outline[:1]]), paint.outline)

    def line(self, path: Points, colour: Colour, *, width: float = OUTLINE_WIDTH) -> None:
        """Draws a line of a width in body units."""
        width_px = max(1, round(width * self._unit_px))
        self._pen.line(as_pairs(self._pixels(path)), fill=colour, width=width_px, joint="curve")

    def shade(self, outline: Points, strength: float) -> None:
        """Darkens the inside of an outline by a share of 0 to 1."""
        self._paste(self._pixels(outline), (0, 0, 0), opacity=round(strength * 255))

    def mark(self, attribute: str, path: Points) -> None:
        """Remembers that these body points enclose what decides an attribute."""
        self.marks[attribute] = _bounds(self._pixels(path))
        self.hidden[attribute] = 0.0

    def pin(self, end: str, path: Points) -> None:
        """Hears where a garment's ends are, left and right, shape (2, 2); see `TracingCanvas`."""

    def cover(self, path: Points) -> None:
        """Remembers that the box around these body points hides what is marked so far."""
        cover = _bounds(self._pixels(path))
        for attribute in self.marks:
            self.hidden[attribute] += _area(_overlap(self._in_frame(attribute), cover))

    def visible_box(self, attribute: str, *, min_share: float) -> Box | None:
        """Returns an attribute's mark within the picture; None where less than a share of it shows.

        The share is that of the mark's area; covers that overlap each other count twice.
        """
        inside = self._in_frame(attribute)
        shown = _area(inside) - self.hidden[attribute]
        return inside if shown >= min_share * _area(self.marks[attribute]) else None

    def _in_frame(self, attribute: str) -> Box:
        size = float(self.image.width)
        return _overlap(self.marks[attribute], (0.0, 0.0, size, size))

    def _pixels(self, path: Points) -> Points:
        return self.camera.to_pixels(path, self.image.width)

    def _texture(self, paint: Paint) -> Image.Image:
        if paint not in self._textures:
            size_px = self.image.width
            self._textures[paint] = (
                print_cloth(paint, self.camera, size_px)
                if isinstance(paint, Cloth)
                else texture(paint, size_px, unit_px=self._unit_px)
            )
        return self._textures[paint]

    def _paste(self, corners: Points, source: Image.Image | Colour, *, opacity: int) -> None:
        """Fills a polygon of pixels from an image of the canvas's size, or with a colour."""
        size = self.image.width
        x0, y0, x1, y1 = (int(np.clip(edge, 0, size)) for edge in _bounds(corners))
        area = (x0, y0, min(size, x1 + 1), min(size, y1 + 1))
        if area[2] <= x0 or area[3] <= y0:
            return
        mask = Image.new("L", (area[2] - x0, area[3] - y0))
        ImageDraw.Draw(mask).polygon(as_pairs(corners - (x0, y0)), fill=opacity)
        self.image.paste(
            source.crop(area) if isinstance(source, Image.Image) else source, area, mask
        )


def as_pairs(pixels: Points) -> list[tuple[float, float]]:
    """Returns points as Pillow takes them."""
    return [(x, y) for x, y in pixels.tolist()]


def _bounds(pixels: Points) -> Box:
    x0, y0 = pixels.min(axis=0).tolist()
    x1, y1 = pixels.max(axis=0).tolist()
    return x0, y0, x1, y1


def _overlap(box: Box, other: Box) -> Box:
    """Returns the box common to both; its area counts as 0 where they are apart."""
    return (
        max(box[0], other[0]),
        max(box[1], other[1]),
        min(box[2], other[2]),
        min(box[3], other[3]),
    )


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
