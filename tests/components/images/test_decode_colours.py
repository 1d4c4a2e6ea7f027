"""Colours: embedded profiles other than sRGB are converted, and nothing else is changed."""

import io

import numpy as np
import pytest
from builders import encoded, noise
from PIL import Image
from profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    SRGB_ITSELF,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_of_lab,
    srgb_of_rgb,
)

from components.images.decode import decode

SIZE = 16
COLOURS = [(200, 60, 60), (90, 120, 150), (30, 200, 40), (255, 255, 255), (0, 0, 0)]
PHOTOGRAPH = noise(12, 12).resize((64, 48), Image.Resampling.BICUBIC)
FORMATS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def one_colour(colour, file_format, mode="RGB", **options):
    """Returns what becomes of a picture of one colour [3]."""
    data = encoded(Image.new(mode, (40, 40), colour), file_format, **options)
    pixels = decode(data, image_size_px=SIZE)
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].astype(int)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("colorants", "gamma"), [(ADOBE_RGB, 563 / 256), (DISPLAY_P3, 2.2)], ids=["Adobe", "P3"]
)
def test_a_displays_colours(colorants, gamma, colour, file_format):
    profile = rgb_profile(colorants, gamma)
    found = one_colour(colour, file_format, icc_profile=profile, **FORMATS[file_format])

    # 3: JPEG and AVIF round a colour by a level, which grows by conversion
    tolerance = 3 if file_format in {"JPEG", "AVIF"} else 1
    assert np.abs(found - srgb_of_rgb(colour, colorants, gamma)).max() <= tolerance


@pytest.mark.parametrize(("mode", "level"), [("L", 100), ("LA", (100, 255))])
def test_grey(mode, level):
    found = one_colour(level, "PNG", mode, icc_profile=grey_profile(1.8))
    of_rgb = one_colour(level, "PNG", mode, icc_profile=rgb_profile(SRGB, 1.8))

    expected = srgb_of_rgb((100, 100, 100), SRGB, 1.8)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(of_rgb - expected).max() <= 1


def test_sixteen_bits_of_grey():
    data = encoded(Image.fromarray(np.full((9, 9), 100 * 256 + 7, np.uint16)), "PNG")
    profiled = encoded(Image.open(io.BytesIO(data)), "PNG", icc_profile=grey_profile(1.8))

    assert (decode(data, image_size_px=SIZE) == 100).all()
    assert (decode(profiled, image_size_px=SIZE) == 119).all()  # 255 * srgb((100 / 255) ** 1.8)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_inks_by_their_own_profile(file_format):
    """A cyan whose colour the profile says: without one it comes out as (0, 255, 255)."""
    lab = (60, -20, -30)
    profile = cmyk_profile(lab)
    found = one_colour((255, 0, 0, 0), file_format, "CMYK", icc_profile=profile)
    paper = one_colour((0, 0, 0, 0), file_format, "CMYK", icc_profile=profile)

    assert np.abs(found - srgb_of_lab(*lab)).max() <= 3
    assert np.abs(paper - 255).max() <= 3
    assert np.abs(one_colour((255, 0, 0, 0), file_format, "CMYK") - [0, 255, 255]).max() <= 3


def test_the_colours_of_a_palette_and_behind_transparency():
    profile = rgb_profile(ADOBE_RGB, 2.2)
    expected = srgb_of_rgb((200, 60, 60), ADOBE_RGB, 2.2)
    palette = Image.new("P", (9, 9))
    palette.putpalette([200, 60, 60])
    pixels = decode(encoded(palette, icc_profile=profile), image_size_px=SIZE)
    transparent = one_colour((200, 60, 60, 0), "PNG", "RGBA", icc_profile=profile)

    assert np.abs(pixels[0, 0] - expected).max() <= 1
    assert (transparent == 255).all()


def test_a_jpeg_that_is_decoded_at_a_scale():
    picture = noise(8, 8).resize((320, 320), Image.Resampling.BICUBIC)
    options = {"quality": 95, "icc_profile": rgb_profile(ADOBE_RGB, 2.2)}
    data = encoded(picture, "JPEG", **options)
    whole = encoded(Image.open(io.BytesIO(data)), "PNG", icc_profile=options["icc_profile"])

    difference = np.abs(
        decode(data, image_size_px=SIZE).astype(int) - decode(whole, image_size_px=SIZE)
    )
    assert difference.mean() <= 4


def srgb_by_another_name():
    """Returns sRGB as rounded colorants and a curve of a thousand points: the name is `test`."""
    levels = np.linspace(0, 1, 1024)
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return rgb_profile(SRGB, np.round(curve * 65535).astype(int))


UNCHANGED = {
    "none": None,
    "sRGB": SRGB_ITSELF,
    "sRGB by another name": srgb_by_another_name(),
    "damaged": rgb_profile(ADOBE_RGB, 2.2)[:150],
    "no profile at all": b"what a program wrote",
    "of inks": cmyk_profile((60, -20, -30)),
    "of grey": grey_profile(1.8),
}


@pytest.mark.parametrize("profile", UNCHANGED.values(), ids=UNCHANGED)
@pytest.mark.parametrize("file_format", FORMATS)
def test_pictures_that_keep_their_bytes(profile, file_format):
    plain = encoded(PHOTOGRAPH, file_format, **FORMATS[file_format])
    profiled = encoded(PHOTOGRAPH, file_format, icc_profile=profile, **FORMATS[file_format])

    assert profile is None or profiled != plain
    assert np.array_equal(decode(profiled, image_size_px=SIZE), decode(plain, image_size_px=SIZE))
