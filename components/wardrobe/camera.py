"""Where the picture is taken from: framing, tilt and mirroring; and the attributes' zones."""

from dataclasses import dataclass

import numpy as np

from components.wardrobe.curves import Points


@dataclass(frozen=True, kw_only=True)
class Zone:
    """An upright box on the body; units as in `curves`."""

    x0: float
    y0: float
    x1: float
    y1: float


ZONES = {
    "skirt_length": Zone(x0=-23, y0=54, x1=23, y1=101),
    "sleeve_length": Zone(x0=-27, y0=18, x1=27, y1=60),
    "coat_length": Zone(x0=-17, y0=33, x1=17, y1=97),
    "pant_length": Zone(x0=-13, y0=54, x1=13, y1=100),
    "collar_design": Zone(x0=-12, y0=13, x1=12, y1=29),
    "lapel_design": Zone(x0=-13, y0=15, x1=13, y1=38),
    "neckline_design": Zone(x0=-14, y0=16, x1=14, y1=35),
    "neck_design": Zone(x0=-9, y0=11, x1=9, y1=30),
}
"""The part of the body within which any value of the attribute is decided."""

_CENTRE_Y_AND_SPAN = {
    "skirt_length": (67.0, 76.0),
    "sleeve_length": (36.0, 62.0),
    "coat_length": (56.0, 95.0),
    "pant_length": (68.0, 74.0),
    "collar_design": (21.5, 40.0),
    "lapel_design": (27.0, 50.0),
    "neckline_design": (23.5, 44.0),
    "neck_design": (19.5, 38.0),
}
_MAX_SHIFT_SHARE = 0.045
_MAX_ROTATION_DEG = 8.0
_CROPPED_SPAN = (30.0, 48.0)
_CROP_MARGIN = (1.5, 4.0)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A square view of the figure.

    Attributes:
        centre: the body point in the middle of the picture.
        span: picture's side, in percent of the figure's height.
        stretch: width of the figure relative to its height; 1 is unchanged.
        rotation_deg: turn of the figure in the picture, clockwise.
        mirrored: whether left and right are swapped.
    """

    centre: tuple[float, float]
    span: float
    stretch: float
    rotation_deg: float
    mirrored: bool

    def to_pixels(self, path: Points, size_px: int) -> Points:
        """Returns body points (N, 2) as pixels (N, 2) of a picture of `size_px` by `size_px`."""
        offsets = (path - np.array(self.centre)) * self._scale
        pixels: Points = (offsets / self.span) @ self._turn * size_px + size_px / 2
        return pixels

    def to_body(self, size_px: int) -> Points:
        """Returns the body point in the middle of every pixel, shape (size_px, size_px, 2)."""
        across, down = np.meshgrid(*[np.arange(size_px) + 0.5] * 2)
        offsets = (np.stack([across, down], axis=2) / size_px - 0.5) * self.span @ self._turn.T
        body: Points = offsets / self._scale + np.array(self.centre)
        return body

    @property
    def _turn(self) -> Points:
        angle = np.deg2rad(self.rotation_deg)
        return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    @property
    def _scale(self) -> Points:
        return np.array([-self.stretch if self.mirrored else self.stretch, 1.0])


def sample_camera(rng: np.random.Generator, attribute: str, *, cropped: bool) -> Camera:
    """Returns a view that frames the attribute's zone, or one that ends just above it."""
    centre_y, span = _CENTRE_Y_AND_SPAN[attribute]
    span *= float(rng.uniform(0.92, 1.15))
    rotation_deg = float(rng.uniform(-_MAX_ROTATION_DEG, _MAX_ROTATION_DEG))
    shift_x, shift_y = rng.uniform(-_MAX_SHIFT_SHARE, _MAX_SHIFT_SHARE, size=2) * span
    if cropped:
        span = float(rng.uniform(*_CROPPED_SPAN))
        # A tilted picture's corners reach further down than the middle of its lower edge.
        reach = (
            span / 2 * (np.cos(np.deg2rad(rotation_deg)) + np.sin(np.deg2rad(abs(rotation_deg))))
        )
        centre_y = ZONES[attribute].y0 - float(rng.uniform(*_CROP_MARGIN)) - float(reach)
        shift_y = 0.0
    return Camera(
        centre=(float(shift_x), float(centre_y + shift_y)),
        span=span,
        stretch=float(rng.uniform(0.92, 1.1)),
        rotation_deg=rotation_deg,
        mirrored=bool(rng.random() < 0.5),
    )
