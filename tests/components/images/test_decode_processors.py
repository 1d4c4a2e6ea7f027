"""Every processor decodes to the same bytes, and a JPEG's short way is that of Pillow."""

import hashlib
import io
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from builders import PROJECT, encoded, noise
from PIL import ExifTags, Image, ImageCms

from components.images.decode import UnreadableImageError, decode

SIDES_PX = (9, 32, 224)
PICTURE = noise(40, 30).resize((333, 250), Image.Resampling.BICUBIC)
JPEGS = [
    encoded(PICTURE, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    for quality in (50, 95)
    for subsampling in (0, 1, 2)
    for progressive in (False, True)
]
OTHERS = [encoded(PICTURE), encoded(PICTURE.convert("CMYK"), "JPEG"), encoded(noise(64, 1))]


def squares(files):
    """Returns a hash of what files are decoded to, of either crop."""
    digest = hashlib.sha256()
    for data in files:
        for side in SIDES_PX:
            digest.update(decode(data, image_size_px=side))
            box = (10.3, 0.0, 200.9, 77.7)
            digest.update(decode(data, image_size_px=side, crop="box", box=box))
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    "instructions",
    [
        {"JSIMD_FORCENONE": "1"},  # libjpeg-turbo's, in either of the packages that bring it
        {"ATEN_CPU_CAPABILITY": "default"},  # torch's
        {"ATEN_CPU_CAPABILITY": "avx2"},
    ],
    ids=str,
)
def test_pixels_are_the_same_without_vector_instructions(instructions):
    program = "import test_decode_processors as t; print(t.squares([*t.JPEGS, *t.OTHERS]))"
    path = os.pathsep.join(
        map(str, (PROJECT, PROJECT / "tests", PROJECT / "tests/components/images"))
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, **instructions},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found.strip() == squares([*JPEGS, *OTHERS])


def by_pillow(data, *, side):
    """Returns a JPEG's square, which Pillow has decoded at one of its own scales."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (side, side))
    return decode(encoded(image), image_size_px=side)


@pytest.mark.parametrize("data", JPEGS)
def test_the_short_way_gives_the_pixels_of_pillow(data):
    even = encoded(Image.open(io.BytesIO(data)).crop((0, 0, 320, 240)), "JPEG")  # whole at 1/8

    for side in SIDES_PX[1:]:
        assert np.array_equal(decode(even, image_size_px=side), by_pillow(even, side=side))


@pytest.mark.parametrize("crop", ["centre", "box"])
def test_metadata_that_say_nothing_change_nothing(crop):
    """A JPEG without EXIF and profile is not opened by Pillow; with them it is."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "a camera"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for side in SIDES_PX:
        square = partial(decode, image_size_px=side, crop=crop, box=(10.3, 0.0, 200.9, 77.7))
        bare, described = (
            encoded(PICTURE, "JPEG", **metadata)
            for metadata in ({}, {"exif": exif, "icc_profile": srgb})
        )
        assert np.array_equal(square(bare), square(described))


@pytest.mark.parametrize("crop", ["centre", "box"])
@pytest.mark.parametrize("side", [9, 32, 100, 224])
def test_the_first_of_several_pictures_is_seen_as_if_alone(crop, side):
    """Telephones write JPEGs with a preview behind (MPO), which Pillow has another format for."""
    several = encoded(PICTURE, "MPO", save_all=True, append_images=[noise(160, 120)])
    with Image.open(io.BytesIO(several)) as image:
        assert image.format == "MPO"
    square = partial(decode, image_size_px=side, crop=crop, box=(10.3, 0.0, 200.9, 77.7))
    assert np.array_equal(square(several), square(encoded(PICTURE, "JPEG")))


def test_what_turns_a_jpeg_is_found_behind_a_picture_in_its_header():
    """Photoshop's segment holds a JPEG in small, whose scan is not that of the file."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = encoded(PICTURE, "JPEG", exif=exif)
    thumbnail = encoded(PICTURE.resize((20, 15)), "JPEG")
    segment = b"\xff\xed" + (2 + len(thumbnail)).to_bytes(2) + thumbnail
    hidden = turned[:2] + segment + turned[2:]
    assert np.array_equal(decode(hidden, image_size_px=32), decode(turned, image_size_px=32))
    assert not np.array_equal(
        decode(turned, image_size_px=32), decode(encoded(PICTURE, "JPEG"), image_size_px=32)
    )


def test_a_bare_jpeg_is_not_opened_by_pillow(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("opened")

    monkeypatch.setattr(Image, "open", refuse)
    for data in JPEGS:
        assert decode(data, image_size_px=32).shape == (32, 32, 3)


def test_what_is_only_odd_costs_nothing():
    """Bytes before the end that mean nothing: libjpeg-turbo warns, and Pillow reads on."""
    odd = JPEGS[0][:-2] + b"\0\0" + JPEGS[0][-2:]

    expected = decode(JPEGS[0], image_size_px=32)
    assert np.array_equal(decode(odd, image_size_px=32), expected)


def is_read(read, data):
    try:
        read(data)
    except (OSError, SyntaxError, ValueError, UnreadableImageError):
        return False
    return True


def test_damage_is_what_pillow_takes_for_it():
    rng = np.random.default_rng(0)
    whole = encoded(noise(20, 20).resize((120, 100)), "JPEG")
    found = []
    for number in range(300):
        data = bytearray(whole[: rng.integers(2, len(whole) + 1)] if number % 2 else whole)
        for place in rng.integers(0, len(data), 1 + number % 3):
            data[place] = rng.integers(256)
        ours = is_read(lambda data: decode(data, image_size_px=100), bytes(data))
        found.append(ours)
        pillow = is_read(
            lambda data: Image.open(io.BytesIO(data), formats=["JPEG"]).load(), bytes(data)
        )
        assert ours == pillow, f"file {number}"
    assert 50 < sum(found) < 250
