"""Dresses the figure: which piece of the clothes is drawn over which."""

from collections.abc import Mapping

from components.wardrobe.canvas import Canvas
from components.wardrobe.draw_designs import (
    FLOUNCE_START,
    draw_collar,
    draw_flounce,
    draw_lapels,
    draw_neck,
    draw_top,
)
from components.wardrobe.draw_lengths import (
    draw_coat_back,
    draw_coat_fronts,
    draw_pants,
    draw_skirt,
    draw_sleeves,
)
from components.wardrobe.figure import (
    Body,
    draw_arms,
    draw_hair_behind,
    draw_head,
    draw_legs,
    draw_torso,
)
from components.wardrobe.style import Style

Shapes = Mapping[str, str | None]
"""Attribute to the value that is drawn, None or missing where no garment has it."""


def draw_dressed_figure(canvas: Canvas, body: Body, style: Style, shapes: Shapes) -> None:
    """Draws figure and clothes from back to front; the arms lie over a coat's fronts."""
    coat = shapes["coat_length"]
    draw_hair_behind(canvas, style)
    if coat:
        draw_coat_back(canvas, style, length=coat)
    draw_legs(canvas, style, body=body)
    draw_torso(canvas, style)
    draw_lower(canvas, body, style, shapes)
    draw_arms(canvas, style, body=body)
    draw_upper(canvas, body, style, {**shapes, "sleeve_length": None} if coat else shapes)
    draw_head(canvas, style)
    draw_around_neck(canvas, style, shapes)
    if coat:
        draw_coat_fronts(canvas, style, length=coat)
        draw_arms(canvas, style, body=body)
        draw_coat_over_arms(canvas, body, style, shapes)


def draw_lower(canvas: Canvas, body: Body, style: Style, shapes: Shapes) -> None:
    """Draws the skirt, of a dress too, or the trousers."""
    if skirt := shapes.get("skirt_length"):
        draw_skirt(canvas, style, length=skirt)
    if pants := shapes.get("pant_length"):
        draw_pants(canvas, style, body=body, length=pants)


def draw_upper(canvas: Canvas, body: Body, style: Style, shapes: Shapes) -> None:
    """Draws the top with its sleeves."""
    neckline = shapes.get("neckline_design") or "closed"
    draw_top(canvas, style, neckline=neckline)
    if sleeve := shapes.get("sleeve_length"):
        start = FLOUNCE_START if neckline == "off_shoulder" else 0.0
        draw_sleeves(canvas, style, body=body, length=sleeve, cloth=style.top, start=start)
    if neckline == "off_shoulder":
        draw_flounce(canvas, style, body=body)


def draw_around_neck(canvas: Canvas, style: Style, shapes: Shapes) -> None:
    """Draws the top's collar or high neck, where it has one."""
    if collar := shapes.get("collar_design"):
        draw_collar(canvas, style, design=collar)
    if neck := shapes.get("neck_design"):
        draw_neck(canvas, style, design=neck)


def draw_coat_over_arms(canvas: Canvas, body: Body, style: Style, shapes: Shapes) -> None:
    """Draws a coat's sleeves and lapels."""
    length, sleeve, lapel = (
        str(shapes[attribute]) for attribute in ("coat_length", "sleeve_length", "lapel_design")
    )
    draw_sleeves(canvas, style, body=body, length=sleeve, cloth=style.coat, start=0.0)
    draw_lapels(canvas, style, design=lapel, length=length)
