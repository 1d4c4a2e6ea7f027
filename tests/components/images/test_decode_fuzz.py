"""Whatever bytes there are: pixels, or a reason of the quarantine's vocabulary."""

import io
import warnings

import numpy as np
import pytest
from builders import encoded, heic, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from profiles import ADOBE_RGB, rgb_profile

from components.images.decode import FORMATS, UnreadableImageError, decode, image_size
from components.tables import QUARANTINE_REASONS

SIZE = 16
FILES = {name: encoded(noise(40, 24), name) for name in FORMATS}
FILES["TIFF, packed"] = encoded(noise(40, 24), "TIFF", compression="tiff_lzw")
FILES["PNG, palette"] = encoded(noise(40, 24).convert("P"), "PNG", transparency=3)
FILES["HEIC"] = heic(noise(40, 24))
FILES["PNG, profile"] = encoded(noise(40, 24), "PNG", icc_profile=rgb_profile(ADOBE_RGB, 2.2))
FILES["JPEG, profile"] = encoded(noise(40, 24), "JPEG", icc_profile=rgb_profile(ADOBE_RGB, 2.2))
FILES["JPEG, progressive, turned"] = encoded(
    noise(40, 24),
    "JPEG",
    progressive=True,
    exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0",
)


def look(data):
    """Decodes bytes, and checks that they give pixels or a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, about damaged metadata
        try:
            width, height = image_size(data)
            assert min(width, height) > 0
            pixels = decode(data, image_size_px=SIZE)
            assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)
        except UnreadableImageError as error:
            assert error.reason in QUARANTINE_REASONS  # noqa: PT017 - either outcome is right


@given(data=st.binary(max_size=300))
def test_any_bytes(data):
    look(data)


@given(data=st.binary(max_size=200), name=st.sampled_from(sorted(FILES)))
def test_any_bytes_after_the_beginning_of_a_file(data, name):
    look(FILES[name][:32] + data)


@st.composite
def damaged_files(draw):
    """A file with some bytes changed, a piece cut out or a piece repeated."""
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    # headers are short, and most of what can go wrong lies in them
    anywhere = st.one_of(st.integers(0, 120), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(anywhere) % len(data)] = draw(st.integers(0, 255))
    start, end = sorted((draw(anywhere), draw(anywhere)))
    piece = data[start:end]
    return bytes(draw(st.sampled_from([data, data[:start] + data[end:], data[:end] + piece])))


@settings(max_examples=400, deadline=5000)
@given(data=damaged_files())
def test_damaged_files(data):
    look(data)


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_files_are_readable_before_they_are_damaged(name):
    if name != "HEIC":
        assert Image.open(io.BytesIO(FILES[name])).size == (40, 24)
    assert decode(FILES[name], image_size_px=SIZE).shape == (SIZE, SIZE, 3)
