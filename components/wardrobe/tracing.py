"""A canvas that knows which pixels are one garment, and where that garment's ends are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from components.wardrobe.canvas import OUTLINE_WIDTH, Box, Canvas, as_pairs
from components.wardrobe.curves import Points
from components.wardrobe.paint import Colour, Paint

_SIDES = ("left", "right")
_NEAR_SHARE = 0.02
_MIN_SHARE = 0.5


@dataclass
class TracingCanvas(Canvas):
    """A canvas with two masks, 255 where the garment is.

    Attributes:
        whole: the garment with what of it was painted over; not beyond the picture.
        shown: what of it still shows.
        ends: name of a landmark, such as `left hem`, to its pixel, which may lie outside.
    """

    whole: Image.Image = field(init=False)
    shown: Image.Image = field(init=False)
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins with empty masks."""
        super().__post_init__()
        self.whole, self.shown = (Image.new("L", self.image.size) for _ in range(2))
        self._whole_pen, self._shown_pen = map(ImageDraw.Draw, (self.whole, self.shown))
        self._is_garment = False

    @contextmanager
    def garment(self, is_garment: bool = True) -> Iterator[None]:
        """What is painted within is the garment's, unless told otherwise."""
        self._is_garment = is_garment
        try:
            yield
        finally:
            self._is_garment = False

    def fill(
        self, outline: Points, paint: Paint, *, edged: bool = True, shadow: float = 0.0
    ) -> None:
        """Paints as every canvas does; traces the inside of the outline."""
        super().fill(outline, paint, edged=edged, shadow=shadow)
        corners = as_pairs(self._pixels(outline))
        if self._is_garment:
            self._whole_pen.polygon(corners, fill=255)
        self._shown_pen.polygon(corners, fill=255 if self._is_garment else 0)

    def line(self, path: Points, colour: Colour, *, width: float = OUTLINE_WIDTH) -> None:
        """Draws as every canvas does; traces the line."""
        super().line(path, colour, width=width)
        corners, width_px = as_pairs(self._pixels(path)), max(1, round(width * self._unit_px))
        if self._is_garment:
            self._whole_pen.line(corners, fill=255, width=width_px)
        self._shown_pen.line(corners, fill=255 if self._is_garment else 0, width=width_px)

    def pin(self, end: str, path: Points) -> None:
        """Remembers the garment's left and right end; in a mirror they are each other."""
        if not self._is_garment:
            return
        pixels = as_pairs(self._pixels(path))
        sides = reversed(_SIDES) if self.camera.mirrored else _SIDES
        self.ends |= {f"{side} {end}": pixel for side, pixel in zip(sides, pixels, strict=True)}

    def mark(self, attribute: str, path: Points) -> None:
        """Remembers what decides an attribute of the garment; other clothes' are left out."""
        if self._is_garment:
            super().mark(attribute, path)

    def garment_box(self) -> Box:
        """Returns the box around all of the garment that lies in the picture."""
        box = self.whole.getbbox()
        assert box, "no camera leaves the garment out of the picture"
        x0, y0, x1, y1 = map(float, box)
        return x0, y0, x1, y1

    def end_is_shown(self, name: str) -> bool:
        """Whether half of the garment around one of its ends shows."""
        x, y = self.ends[name]
        near = _NEAR_SHARE * self.image.width
        return self._shows((x - near, y - near, x + near, y + near))

    def region(self, attribute: str) -> Box | None:
        """Returns what decides an attribute, within the picture; None unless half of it shows."""
        box = self.visible_box(attribute, min_share=_MIN_SHARE)
        return box if box and self._shows(box) else None

    def _shows(self, box: Box) -> bool:
        x0, y0, x1, y1 = map(round, box)
        whole, shown = (
            sum(mask.crop((x0, y0, x1 + 1, y1 + 1)).histogram()[1:])
            for mask in (self.whole, self.shown)
        )
        return shown >= _MIN_SHARE * whole
