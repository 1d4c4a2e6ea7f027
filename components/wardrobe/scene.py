"""What surrounds the figure: the background, small things in front of it, and the light."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from components.wardrobe.camera import Zone
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import Points, ellipse, points
from components.wardrobe.paint import (
    Colour,
    Paint,
    plain,
    sample_colour,
    shaded,
    texture,
    tinted,
)

_BACKGROUNDS = ("plain", "gradient", "blobs", "shelves", "stripes")
_MAX_OCCLUDERS = 2
_NUM_PLACES_TRIED = 8


def draw_background(size_px: int, colour: Colour, rng: np.random.Generator) -> Image.Image:
    """Returns a square background in shades of one colour."""
    kind = str(rng.choice(_BACKGROUNDS))
    other = shaded(colour, 0.75) if rng.random() < 0.5 else tinted(colour, 0.3)
    if kind == "stripes":
        stripes = Paint(
            colour=colour,
            second=other,
            pattern="stripes",
            period=float(rng.uniform(0.06, 0.2)),
            angle_deg=float(rng.uniform(0.0, 180.0)),
        )
        return texture(stripes, size_px, unit_px=size_px)
    image = Image.new("RGB", (size_px, size_px), colour)
    if kind == "gradient":
        ramp = Image.linear_gradient("L").rotate(float(rng.choice([0.0, 90.0, 180.0, 270.0])))
        image.paste(other, (0, 0), ramp.resize((size_px, size_px)))
    elif kind == "blobs":
        _draw_blobs(image, other, rng)
    elif kind == "shelves":
        _draw_shelves(image, other, rng)
    return image


def draw_occluders(canvas: Canvas, zone: Zone, rng: np.random.Generator) -> None:
    """Draws up to two small things (balls, leaves, cards) that leave the zone free."""
    for _ in range(int(rng.integers(0, _MAX_OCCLUDERS + 1))):
        radius = canvas.camera.span * float(rng.uniform(0.04, 0.09))
        shape = occluder_outline(radius, rng)
        paint = plain(sample_colour(rng, unlike=[]))
        offsets = rng.uniform(-0.5, 0.5, size=(_NUM_PLACES_TRIED, 2)) * canvas.camera.span
        for place in offsets + np.array(canvas.camera.centre):
            if _is_clear(place, radius, zone):
                canvas.fill(shape + place, paint)
                canvas.cover(shape + place)
                break


def light(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Returns the picture in other light: brightness, contrast, tint, falloff, blur and grain."""
    size_px = image.width
    gain = rng.uniform(0.82, 1.15) * rng.uniform(0.94, 1.06, size=3)
    middle = float(rng.uniform(-18.0, 18.0)) + 128.0
    grain = float(rng.uniform(0.0, 7.0))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(size_px / 256 * float(rng.uniform(0.3, 0.8))))
    pixels = (np.asarray(image, dtype=np.float32) - 128.0) * gain.astype(np.float32) + middle
    pixels *= _falloff(size_px, rng)[..., None]
    pixels += grain * rng.standard_normal((size_px, size_px, 1), dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0.0, 255.0).astype(np.uint8))


def _falloff(size_px: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Returns brightness over the picture: a vignette and a slope, shape (size_px, size_px)."""
    vignette = np.float32(rng.uniform(0.0, 0.35))
    slope_x, slope_y = rng.uniform(-0.18, 0.18, size=2).astype(np.float32)
    axis = np.linspace(-1.0, 1.0, size_px, dtype=np.float32)
    across = slope_x * axis - vignette / 2 * axis**2
    down = slope_y * axis - vignette / 2 * axis**2
    return np.asarray(1.0 + across[None, :] + down[:, None])


def _draw_blobs(image: Image.Image, colour: Colour, rng: np.random.Generator) -> None:
    pen = ImageDraw.Draw(image)
    for x, y, radius in rng.uniform((0.0, 0.0, 0.05), (1.0, 1.0, 0.22), size=(7, 3)) * image.width:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_shelves(image: Image.Image, colour: Colour, rng: np.random.Generator) -> None:
    """Draws shelf boards with boxes standing on them."""
    pen = ImageDraw.Draw(image)
    size = image.width
    for board_y in np.arange(rng.uniform(0.15, 0.35), 1.1, 0.28) * size:
        pen.rectangle((0, board_y, size, board_y + 0.02 * size), fill=shaded(colour, 0.7))
        for x, width, height in rng.uniform((0.0, 0.03, 0.06), (1.0, 0.1, 0.2), size=(5, 3)) * size:
            pen.rectangle((x, board_y - height, x + width, board_y), fill=colour)


def _is_clear(place: Points, radius: float, zone: Zone) -> bool:
    nearest = np.clip(place, (zone.x0, zone.y0), (zone.x1, zone.y1))
    return float(np.linalg.norm(place - nearest)) > radius * 1.1


def occluder_outline(radius: float, rng: np.random.Generator) -> Points:
    """Returns a ball, a leaf or a card around the origin, turned by a random angle."""
    card = points((-0.8, -0.6), (0.8, -0.6), (0.8, 0.6), (-0.8, 0.6)) * radius
    ball, leaf = (ellipse((0.0, 0.0), (radius, share * radius)) for share in (1.0, 0.4))
    shape = (ball, leaf, card)[int(rng.integers(3))]
    angle = float(rng.uniform(0.0, np.pi))
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Points = shape @ np.array([[cos, sin], [-sin, cos]])
    return turned
