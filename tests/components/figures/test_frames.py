"""One code for agree and differ: lines, signs and colours that everybody can tell apart."""

from itertools import combinations

import numpy as np
import pytest
from PIL import ImageColor

from components.figures.frames import FRAMES, frames_css

# what deuteranopes and protanopes see of linear RGB. Source: Machado et al., A
# Physiologically-based Model for Simulation of Color Vision Deficiency, 2009, severity 1
DEFICIENCIES = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "none": np.eye(3),
}


def linear(colour: str) -> np.ndarray:
    """Returns a colour in linear light (IEC 61966-2-1)."""
    rgb = np.array(ImageColor.getrgb(colour)) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours by WCAG 2: from 1 to 21."""
    light, dark = sorted(
        (float(linear(x) @ [0.2126, 0.7152, 0.0722]) for x in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


def test_without_colours_frames_differ_in_their_line_and_sign() -> None:
    for one, other in combinations(FRAMES.values(), 2):
        assert one.line != other.line
        assert one.sign != other.sign


@pytest.mark.parametrize("kind", FRAMES)
def test_signs_can_be_read_on_white_and_on_black(kind) -> None:
    frame = FRAMES[kind]
    assert contrast(frame.colour, "#ffffff") >= 4.5  # WCAG 2, text
    assert contrast(frame.colour_on_black, "#16181c") >= 4.5


@pytest.mark.parametrize("seen", DEFICIENCIES)
def test_agree_and_differ_are_told_apart_by_colour_blind_people(seen: str) -> None:
    for ours, theirs in (
        (FRAMES["agrees"].colour, FRAMES["differs"].colour),
        (FRAMES["agrees"].colour_on_black, FRAMES["differs"].colour_on_black),
    ):
        one, other = (np.array(DEFICIENCIES[seen]) @ linear(x) for x in (ours, theirs))
        # black and red, as in the paper, are 0.06 apart for protanopes
        assert np.linalg.norm(one - other) > 0.3


def test_the_style_sheet_has_every_frame() -> None:
    css = frames_css()
    for kind, frame in FRAMES.items():
        assert f".frame.{kind} {{ border-style: {frame.line};" in css
        assert f"--{kind}: {frame.colour};" in css
        assert f"--{kind}: {frame.colour_on_black};" in css
