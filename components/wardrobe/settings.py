"""Where products are photographed: in the shop's studio, and in the street.

The studio has a pale backdrop, even light and a figure that stands straight. The street has
passers-by, things in the way, any light, and pictures of people who move.
"""

from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from components.wardrobe.camera import Camera
from components.wardrobe.canvas import Canvas
from components.wardrobe.curves import ellipse, points, strip
from components.wardrobe.dress import draw_dressed_figure
from components.wardrobe.figure import Pose, pose_body, sample_pose
from components.wardrobe.outfit import sample_outfit
from components.wardrobe.paint import Colour, plain, sample_colour
from components.wardrobe.scene import draw_background, light, occluder_outline
from components.wardrobe.style import Style, sample_style

Domain = Literal["shop", "street"]

_MIN_SPAN = 46.0
_MIRRORED_SHARE = 0.3
_MAX_PASSERS_BY = 2
_BAG_SHARE = 0.35
_OCCLUDER_SHARE = 0.8


def sample_setting_pose(rng: np.random.Generator, domain: Domain) -> Pose:
    """Returns a straight stance in the studio; in the street, arms are raised and bent too."""
    if domain == "shop":
        return sample_pose(rng)
    arms, elbows = rng.uniform((8.0, -75.0), (58.0, 25.0), size=(2, 2)).T.tolist()
    knees, ankles = rng.uniform((-0.8, -2.5), (2.0, 4.5), size=(2, 2)).T.tolist()
    return Pose(
        arm_angles_deg=(arms[0], arms[1]),
        elbow_bends_deg=(elbows[0], elbows[1]),
        knee_shifts=(knees[0], knees[1]),
        ankle_shifts=(ankles[0], ankles[1]),
    )


def sample_setting_camera(
    rng: np.random.Generator, domain: Domain, *, extent_y: tuple[float, float]
) -> Camera:
    """Returns a view of the body between two heights; the street's may cut some of it off."""
    top_y, bottom_y = extent_y
    in_street = domain == "street"
    span = max(_MIN_SPAN, bottom_y - top_y) * float(rng.uniform(1.12, 2.2 if in_street else 1.3))
    shift = (0.2 if in_street else 0.03) * span
    tilt_deg = 14.0 if in_street else 2.0
    centre_y = (top_y + bottom_y) / 2
    return Camera(
        centre=(float(rng.uniform(-shift, shift)), centre_y + float(rng.uniform(-shift, shift))),
        span=span,
        stretch=float(rng.uniform(0.78, 1.12) if in_street else rng.uniform(0.95, 1.05)),
        rotation_deg=float(rng.uniform(-tilt_deg, tilt_deg)),
        mirrored=bool(in_street and rng.random() < _MIRRORED_SHARE),
    )


def draw_setting(
    size_px: int, domain: Domain, camera: Camera, style: Style, rng: np.random.Generator
) -> Image.Image:
    """Returns what lies behind the figure: a pale backdrop, or a street with passers-by."""
    if domain == "shop":
        pale = int(rng.integers(214, 250))
        return Image.new("RGB", (size_px, size_px), (pale, pale, pale))
    image = draw_background(size_px, style.backdrop, rng)
    for _ in range(int(rng.integers(0, _MAX_PASSERS_BY + 1))):
        _draw_passer_by(image, camera, rng)
    return image


def _draw_passer_by(image: Image.Image, camera: Camera, rng: np.random.Generator) -> None:
    """Draws a dressed figure beside the middle of the picture."""
    span = max(camera.span, 70.0) * float(rng.uniform(1.0, 1.5))
    beside = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.22, 0.45)) * span
    view = Camera(
        centre=(beside, float(rng.uniform(35.0, 60.0))),
        span=span,
        stretch=float(rng.uniform(0.85, 1.1)),
        rotation_deg=camera.rotation_deg,
        mirrored=False,
    )
    outfit = sample_outfit(rng, seed=0, index=int(rng.integers(8)))
    draw_dressed_figure(
        Canvas(image=image, camera=view),
        pose_body(sample_pose(rng)),
        sample_style(rng),
        outfit.shapes,
    )


def draw_in_front(
    canvas: Canvas, *, extent_y: tuple[float, float], rng: np.random.Generator
) -> None:
    """Draws what is between the street's camera and a garment: a bag, or a thing held up."""
    if rng.random() < _BAG_SHARE:
        _draw_bag(canvas, sample_colour(rng, unlike=[]), rng)
    if rng.random() < _OCCLUDER_SHARE:
        radius = canvas.camera.span * float(rng.uniform(0.06, 0.14))
        place = np.array([rng.uniform(-11.0, 11.0), rng.uniform(*extent_y)])
        canvas.fill(occluder_outline(radius, rng) + place, plain(sample_colour(rng, unlike=[])))


def _draw_bag(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Draws a bag at the hip, with its strap across the chest."""
    side = float(rng.choice([-1.0, 1.0]))
    hip_y = float(rng.uniform(44.0, 52.0))
    strap = points((-side * 6.0, 18.0), (side * 9.5, hip_y))
    canvas.fill(strip(strap, (0.7,)), plain(colour))
    bag = ellipse((side * 10.5, hip_y + 3.0), (float(rng.uniform(3.0, 5.0)), 4.5))
    canvas.fill(bag, plain(colour), shadow=0.8)


def expose(image: Image.Image, domain: Domain, rng: np.random.Generator) -> Image.Image:
    """Returns the picture as the camera takes it: evenly lit, or in the street's light."""
    if domain == "shop":
        gain = float(rng.uniform(0.95, 1.05))
        return image.point([min(255, round(value * gain)) for value in range(256)] * 3)
    cast = rng.uniform(0.65, 1.35, size=3)
    levels = [min(255, round(value * gain)) for gain in cast.tolist() for value in range(256)]
    radius = image.width / 256 * float(rng.uniform(0.0, 2.0))
    return light(image.point(levels).filter(ImageFilter.GaussianBlur(radius)), rng)
