"""One picture from its outfit, looks, pose and camera, together with its truth."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.wardrobe.camera import ZONES, Camera, sample_camera
from components.wardrobe.canvas import Box, Canvas
from components.wardrobe.draw_designs import (
    FLOUNCE_START,
    draw_collar,
    draw_flounce,
    draw_lapels,
    draw_neck,
    draw_top,
)
from components.wardrobe.draw_hiding import draw_hiding
from components.wardrobe.draw_lengths import (
    draw_coat_back,
    draw_coat_fronts,
    draw_pants,
    draw_skirt,
    draw_sleeves,
)
from components.wardrobe.figure import (
    Body,
    Pose,
    draw_arms,
    draw_hair_behind,
    draw_head,
    draw_legs,
    draw_torso,
    pose_body,
    sample_pose,
)
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
    _draw_dressed_figure(canvas, pose_body(spec.pose), spec.style, outfit.shapes)
    draw_occluders(canvas, ZONES[outfit.labelled], occluder_rng)
    if outfit.hiding:
        draw_hiding(
            canvas, spec.style, hiding=outfit.hiding, attribute=outfit.labelled, rng=hiding_rng
        )
    image = light(canvas.image.reduce(_SUPERSAMPLING), light_rng)
    return image, {name: _truth(name, outfit, canvas, image_size_px) for name in outfit.shapes}


def _draw_dressed_figure(
    canvas: Canvas, body: Body, style: Style, shapes: dict[str, str | None]
) -> None:
    """Draws figure and clothes from back to front."""
    coat, sleeve = shapes["coat_length"], shapes["sleeve_length"]
    draw_hair_behind(canvas, style)
    if coat:
        draw_coat_back(canvas, style, length=coat)
    draw_legs(canvas, style, body=body)
    draw_torso(canvas, style)
    if skirt := shapes["skirt_length"]:
        draw_skirt(canvas, style, length=skirt)
    if pants := shapes["pant_length"]:
        draw_pants(canvas, style, body=body, length=pants)
    draw_arms(canvas, style, body=body)
    draw_top(canvas, style, neckline=shapes["neckline_design"] or "closed")
    if sleeve and not coat:
        start = FLOUNCE_START if shapes["neckline_design"] == "off_shoulder" else 0.0
        draw_sleeves(canvas, style, body=body, length=sleeve, cloth=style.top, start=start)
    if shapes["neckline_design"] == "off_shoulder":
        draw_flounce(canvas, style, body=body)
    draw_head(canvas, style)
    if collar := shapes["collar_design"]:
        draw_collar(canvas, style, design=collar)
    if neck := shapes["neck_design"]:
        draw_neck(canvas, style, design=neck)
    if coat and sleeve:
        _draw_coat(canvas, body, style, shapes)


def _draw_coat(canvas: Canvas, body: Body, style: Style, shapes: dict[str, str | None]) -> None:
    """Draws the coat over the figure; its fronts lie behind the arms."""
    length, sleeve, lapel = (
        str(shapes[attribute]) for attribute in ("coat_length", "sleeve_length", "lapel_design")
    )
    draw_coat_fronts(canvas, style, length=length)
    draw_arms(canvas, style, body=body)
    draw_sleeves(canvas, style, body=body, length=sleeve, cloth=style.coat, start=0.0)
    draw_lapels(canvas, style, design=lapel, length=length)


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
