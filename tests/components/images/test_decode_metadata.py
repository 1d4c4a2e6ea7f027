"""Metadata that is odd, large or damaged never costs a picture that decodes."""

import io
import struct
import zlib

import numpy as np
import pytest
from builders import encoded, noise
from PIL import Image, TiffImagePlugin
from profiles import ADOBE_RGB, rgb_profile

from components.images.decode import decode, image_size

SIZE = 16
PICTURE = noise(40, 24).resize((60, 36), Image.Resampling.BICUBIC)
ODD = (  # big-endian TIFF: an orientation of 6, and a resolution that is a text
    b"MM\0*\0\0\0\x08\0\x02"
    + struct.pack(">HHIHxx", 0x0112, 3, 1, 6)
    + struct.pack(">HHI4s", 0x011A, 2, 3, b"72\0\0")
    + bytes(4)
)
TEXT = bytes(2**20 + 1)


def chunk(kind, content, *, is_whole=True):
    checksum = zlib.crc32(kind + content) ^ (not is_whole)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_with(chunk_, *, at_end=False, **options):
    """Returns a PNG file with another chunk behind its header, or behind its pixels."""
    data = encoded(PICTURE, "PNG", **options)
    place = len(data) - 12 if at_end else 33
    return data[:place] + chunk_ + data[place:]


def tiff():
    """Returns a turned file whose resolution is two texts, per centimetre."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 6
    tags.tagtype[0x011A] = tags.tagtype[0x011B] = 2
    tags[0x011A] = tags[0x011B] = "72"
    tags[0x0128] = 3
    return encoded(PICTURE, "TIFF", tiffinfo=tags)


def avif():
    """Returns a turned file whose EXIF has a resolution that is a text."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "ab"
    data = bytearray(encoded(PICTURE, "AVIF", quality=100, subsampling="4:4:4", exif=exif))
    tag = data.index(struct.pack(">HH", 0x010F, 2))
    data[tag : tag + 2] = struct.pack(">H", 0x011A)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encoded(PICTURE, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + ODD), 6),
        (encoded(PICTURE, "PNG", exif=ODD), 1),
        (encoded(PICTURE, "WEBP", lossless=True, exif=ODD), 1),
        (tiff(), 1),
        (avif(), 6),
    ],
    ids=["JPEG", "PNG", "WebP", "TIFF", "AVIF"],
)
def test_a_turned_picture_with_an_odd_tag(data, tolerance):
    upright = PICTURE.transpose(Image.Transpose.ROTATE_270)
    side = 24  # more than half of the picture: the JPEG is decoded in full
    expected = decode(encoded(upright), image_size_px=side)

    assert image_size(data) == upright.size
    assert np.abs(decode(data, image_size_px=side).astype(int) - expected).max() <= tolerance


PROFILE = rgb_profile(ADOBE_RGB, 2.2, padding=2**20)
PACKED = b"its name\0\0" + zlib.compress(PROFILE)


@pytest.mark.parametrize("at_end", [False, True], ids=["in front", "behind"])
@pytest.mark.parametrize(
    "added",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TEXT)),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT[:-1])) * 65,
        chunk(b"zTXt", b"Comment\0\7text"),
        chunk(b"tEXt", b"Comment\0text", is_whole=False),
        chunk(b"pHYs", b"short"),
        chunk(b"iCCP", b"name"),
    ],
    ids=["text", "XMP", "64 MB", "unknown packing", "damaged", "too short", "no profile"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pngs_metadata(added, at_end):
    data = png_with(added, at_end=at_end, exif=ODD)
    expected = decode(encoded(PICTURE, "PNG", exif=ODD), image_size_px=SIZE)

    assert image_size(data) == (36, 60)
    assert np.array_equal(decode(data, image_size_px=SIZE), expected)


def test_a_pngs_large_profile_counts():
    small = encoded(PICTURE, "PNG", icc_profile=rgb_profile(ADOBE_RGB, 2.2))
    large = png_with(chunk(b"iCCP", PACKED))
    plain = decode(encoded(PICTURE, "PNG"), image_size_px=SIZE)

    found = decode(large, image_size_px=SIZE)
    assert np.array_equal(found, decode(small, image_size_px=SIZE))
    assert not np.array_equal(found, plain)


def test_an_avifs_damaged_exif():
    data = encoded(PICTURE, "AVIF", quality=100, exif=Image.Exif())
    exif = Image.Exif()
    exif[0x010F] = "maker"
    with_exif = encoded(PICTURE, "AVIF", quality=100, exif=exif)
    start = with_exif.index(b"maker") - 26
    damaged = with_exif[:start] + b"?" * 4 + with_exif[start + 4 :]

    assert with_exif[start : start + 4] in {b"MM\0*", b"II*\0"}
    with pytest.raises(Exception, match=r"Invalid Exif|cannot identify"):
        Image.open(io.BytesIO(damaged)).load()
    assert np.array_equal(decode(damaged, image_size_px=SIZE), decode(data, image_size_px=SIZE))
    assert image_size(damaged) == PICTURE.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_tiff_is_that_of_the_upright_picture(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PICTURE, "TIFF", exif=exif)
    upright = (60, 36) if orientation < 5 else (36, 60)

    assert image_size(data) == upright
