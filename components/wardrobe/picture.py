"""One picture from its outfit, looks, pose and camera, together with its truth."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.wardrobe.camera import ZONES, Camera, sample_camera
from components.wardrobe.canvas import Box, Canvas
from components.wardrobe.draw_hiding import draw_hiding
from components.wardrobe.dress import draw_dressed_figure
from components.wardrobe.figure import Pose, pose_body, sample_pose
from components.wardrobe.outfit import INVISIBLE, Outfit, sample_outfit
from components.wardrobe.scene import draw_background, draw_occluders, light
from components.wardrobe.style import Style, sample_style

_SUPERSAMPLING = 2
_MIN_VISIBLE_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything that determines a picture.

    Attributes:
        outfit: the values, of which one is labelled.
        style: colours and cut.
        pose: the figure's stance.
        camera: the view.
        scene_seed: seeds the background, the occluders, the cover's details and the light.
    """

    outfit: Outfit
    style: Style
    pose: Pose
    camera: Camera
    scene_seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a picture shows of one attribute.

    Attributes:
        value: its value, "invisible" where hidden, None where no garment has the attribute.
        box: left, top, right and bottom in pixels of the region that decides the value, within
            the picture; None unless the value can be seen.
    """

    value: str | None
    box: Box | None


def sample_spec(seed: int, index: int) -> Spec:
    """Returns picture `index` of the data set of this seed, independent of all other pictures."""
    outfit_rng, style_rng, pose_rng, camera_rng = (
        np.random.default_rng([seed, index, stream]) for stream in range(4)
    )
    outfit = sample_outfit(outfit_rng, seed=seed, index=index)
    return Spec(
        outfit=outfit,
        style=sample_style(style_rng),
        pose=sample_pose(pose_rng),
        camera=sample_camera(camera_rng, outfit.labelled, cropped=outfit.hiding == "crop"),
        scene_seed=(seed, index, 4),
    )


def draw_picture(spec: Spec, image_size_px: int) -> tuple[Image.Image, dict[str, Truth]]:
    """Returns the picture, RGB and square, and the truth for each of the eight attributes."""
    backdrop_rng, hiding_rng, occluder_rng, light_rng = np.random.default_rng(
        spec.scene_seed
    ).spawn(4)
    size_px = image_size_px * _SUPERSAMPLING
    outfit = spec.outfit
    backdrop = draw_background(size_px, spec.style.backdrop, backdrop_rng)
    canvas = Canvas(image=backdrop, camera=spec.camera)
    draw_dressed_figure(canvas, pose_body(spec.pose), spec.style, outfit.shapes)
    draw_occluders(canvas, ZONES[outfit.labelled], occluder_rng)
    if outfit.hiding:
        draw_hiding(
            canvas, spec.style, hiding=outfit.hiding, attribute=outfit.labelled, rng=hiding_rng
        )
    image = light(canvas.image.reduce(_SUPERSAMPLING), light_rng)
    return image, {name: _truth(name, outfit, canvas, image_size_px) for name in outfit.shapes}


def _truth(attribute: str, outfit: Outfit, canvas: Canvas, image_size_px: int) -> Truth:
    """Returns the truth about an attribute, given what ended up in the frame and in front."""
    value = outfit.shapes[attribute]
    if value is None:
        return Truth(value=None, box=None)
    box = canvas.visible_box(attribute, min_share=_MIN_VISIBLE_SHARE)
    if box is None or (outfit.hiding and attribute == outfit.labelled):
        return Truth(value=INVISIBLE, box=None)
    scale = image_size_px / canvas.image.width
    x0, y0, x1, y1 = (edge * scale for edge in box)
    return Truth(value=value, box=(x0, y0, x1, y1))
