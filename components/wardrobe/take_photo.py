"""Draws a photograph of a product, with the garment's box and landmarks from the drawing itself."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.wardrobe.canvas import Box
from components.wardrobe.details import draw_belt, draw_cuffs, draw_details
from components.wardrobe.draw_lengths import draw_coat_back, draw_coat_fronts
from components.wardrobe.dress import (
    draw_around_neck,
    draw_coat_over_arms,
    draw_lower,
    draw_upper,
)
from components.wardrobe.figure import (
    WAIST_Y,
    Body,
    draw_arms,
    draw_hair_behind,
    draw_head,
    draw_legs,
    draw_torso,
    pose_body,
)
from components.wardrobe.photo import PhotoSpec
from components.wardrobe.product import Product
from components.wardrobe.settings import draw_in_front, draw_setting, expose
from components.wardrobe.style import Style
from components.wardrobe.tracing import TracingCanvas

LANDMARKS = tuple(
    f"{side} {end}"
    for end in ("collar", "sleeve", "waistline", "hem")
    for side in ("left", "right")
)
"""DeepFashion's eight, in its order. Left is the left of the picture, as in DeepFashion's files,
where the left collar has the smaller x: a wearer who faces us has the right arm in the left sleeve.
A picture that is mirrored has left and right swapped."""

_SUPERSAMPLING = 2


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """An end of the garment, and its pixel (x, y); None where absent.

    `visibility` is as DeepFashion means it: "visible"; "occluded" where something lies over it;
    "absent" where the picture cuts it off or the garment has none.
    """

    visibility: str
    place: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photograph and what is known of it, in its pixels.

    Attributes:
        image: RGB, square.
        box: around all of the garment within the picture, hidden parts too.
        landmarks: all of LANDMARKS.
        regions: for each of the product's shapes the box that decides its value, within the
            picture; None where less than half of it shows.
        garment: mask, 255 where the garment is, hidden parts too; twice as wide as the image.
    """

    image: Image.Image
    box: Box
    landmarks: dict[str, Landmark]
    regions: dict[str, Box | None]
    garment: Image.Image


def take_photo(spec: PhotoSpec, image_size_px: int) -> Photo:
    """Returns the photograph with what is known of it."""
    behind_rng, front_rng, light_rng = np.random.default_rng(spec.scene_seed).spawn(3)
    size_px = image_size_px * _SUPERSAMPLING
    canvas = TracingCanvas(
        image=draw_setting(size_px, spec.domain, spec.camera, spec.style, behind_rng),
        camera=spec.camera,
    )
    _draw_wearer(canvas, pose_body(spec.pose), spec)
    if spec.domain == "street":
        draw_in_front(canvas, extent_y=spec.product.extent_y, rng=front_rng)
    return Photo(
        image=expose(canvas.image.reduce(_SUPERSAMPLING), spec.domain, light_rng),
        box=_reduced(canvas.garment_box()),
        landmarks={name: _landmark(canvas, name) for name in LANDMARKS},
        regions={
            name: _reduced(region) if (region := canvas.region(name)) else None
            for name in spec.product.shapes
        },
        garment=canvas.whole,
    )


def _reduced(box: Box) -> Box:
    x0, y0, x1, y1 = (edge / _SUPERSAMPLING for edge in box)
    return x0, y0, x1, y1


def _landmark(canvas: TracingCanvas, name: str) -> Landmark:
    size = canvas.image.width
    place = canvas.ends.get(name)
    if place is None or not all(0 <= edge < size for edge in place):
        return Landmark(visibility="absent", place=None)
    visibility = "visible" if canvas.end_is_shown(name) else "occluded"
    return Landmark(
        visibility=visibility, place=(place[0] / _SUPERSAMPLING, place[1] / _SUPERSAMPLING)
    )


def _draw_wearer(canvas: TracingCanvas, body: Body, spec: PhotoSpec) -> None:
    """Draws the wearer from back to front; a top that is tucked in lies under skirt or trousers."""
    draw_hair_behind(canvas, spec.style)
    _draw_coat_back(canvas, spec)
    draw_legs(canvas, spec.style, body=body)
    draw_torso(canvas, spec.style)
    if spec.product.category in ("skirt", "trousers") and spec.style.tucked:
        draw_arms(canvas, spec.style, body=body)
        _draw_upper(canvas, body, spec)
        _draw_lower(canvas, body, spec)
    else:
        _draw_lower(canvas, body, spec)
        draw_arms(canvas, spec.style, body=body)
        _draw_upper(canvas, body, spec)
    draw_head(canvas, spec.style)
    _draw_around_neck(canvas, spec)
    _draw_coat_front(canvas, body, spec)


def _draw_lower(canvas: TracingCanvas, body: Body, spec: PhotoSpec) -> None:
    """Draws skirt or trousers; of a dress, its skirt with the details on it."""
    product = spec.product
    with canvas.garment(product.is_lower):
        draw_lower(canvas, body, _looks(spec, product.is_lower), spec.clothes)
        if product.is_lower:
            draw_details(canvas, [detail for detail in product.details if detail.y >= WAIST_Y])
            if product.has_belt:
                draw_belt(canvas, product.accent)


def _draw_upper(canvas: TracingCanvas, body: Body, spec: PhotoSpec) -> None:
    """Draws a top, or what of a dress is above its skirt and over the skirt's seam."""
    product = spec.product
    looks = _looks(spec, product.is_upper)
    with canvas.garment(product.is_upper):
        draw_upper(canvas, body, looks, spec.clothes)
        if not product.is_upper:
            return
        _draw_cuffs(canvas, body, looks, product)
        is_top = not product.is_lower
        draw_details(canvas, [x for x in product.details if is_top or x.y < WAIST_Y])
        if product.has_belt and product.is_lower:
            draw_belt(canvas, product.accent)


def _draw_around_neck(canvas: TracingCanvas, spec: PhotoSpec) -> None:
    with canvas.garment(spec.product.is_upper):
        draw_around_neck(canvas, _looks(spec, spec.product.is_upper), spec.clothes)


def _draw_coat_back(canvas: TracingCanvas, spec: PhotoSpec) -> None:
    if spec.coat:
        with canvas.garment(spec.product.is_coat):
            looks = _looks(spec, spec.product.is_coat)
            draw_coat_back(canvas, looks, length=spec.coat["coat_length"])


def _draw_coat_front(canvas: TracingCanvas, body: Body, spec: PhotoSpec) -> None:
    """Draws the coat over all else, the arms over its fronts."""
    if not spec.coat:
        return
    is_garment = spec.product.is_coat
    looks = _looks(spec, is_garment)
    with canvas.garment(is_garment):
        draw_coat_fronts(canvas, looks, length=spec.coat["coat_length"])
        if is_garment:
            draw_details(canvas, spec.product.details)
    draw_arms(canvas, spec.style, body=body)
    with canvas.garment(is_garment):
        draw_coat_over_arms(canvas, body, looks, spec.coat)
        if is_garment:
            _draw_cuffs(canvas, body, looks, spec.product)


def _draw_cuffs(canvas: TracingCanvas, body: Body, looks: Style, product: Product) -> None:
    length = product.shapes["sleeve_length"]
    if product.has_cuffs and length != "sleeveless":
        draw_cuffs(canvas, looks, body, length=length, colour=product.accent)


def _looks(spec: PhotoSpec, is_garment: bool) -> Style:
    """Returns the looks of the product, or of what else is worn."""
    return spec.product.worn_with(spec.style) if is_garment else spec.style
