"""From bytes to pixels: the geometry against torchvision's, colours, and what is refused."""

import io
import os
import resource
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import encoded, heic, noise, png_header
from PIL import Image, ImageDraw
from profiles import DISPLAY_P3, rgb_profile, srgb_of_rgb
from torchvision.transforms.v2 import InterpolationMode, functional

from components.images.decode import FORMATS, MAX_PIXELS, UnreadableImageError, decode, image_size
from components.images.paths import read_bytes as read_image_bytes

SIZE, PHOTOGRAPH_SIZE = 32, 112
REAL_DATA = os.environ.get("HEMLINE_REAL_DATA")
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def reason_of(call, *args, **options):
    with pytest.raises(UnreadableImageError) as error:
        call(*args, **options)
    return error.value.reason


def halves(width, height, *, mode="RGB"):
    """Returns an image that is red on its left and blue on its right."""
    image = Image.new("RGB", (width, height), RED)
    ImageDraw.Draw(image).rectangle((width // 2, 0, width, height), fill=BLUE)
    return image.convert(mode)


def smooth(width, height):
    """Returns an image with detail of several pixels' size, as photographs have."""
    return noise(max(width // 6, 2), max(height // 6, 2)).resize((width, height), Image.BICUBIC)


def by_torchvision(image):
    """Returns the pixels of an independent implementation: antialiased resize, centre crop."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    resized = functional.resize(pixels, [SIZE], InterpolationMode.BILINEAR, antialias=True)
    return functional.center_crop(resized, [SIZE, SIZE]).permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("width", "height", "tolerance"),
    [
        (32, 32, 0),
        (64, 32, 0),
        (32, 64, 0),
        (20, 16, 1),
        (96, 192, 1),
        (192, 96, 1),
        # from six times the size on, Pillow averages whole blocks before it resamples
        (320, 320, 8),
        (320, 640, 8),
        (640, 320, 8),
    ],
)
def test_resize_and_crop_match_torchvision(width, height, tolerance):
    """The sides divide evenly, so that both cut the same pixels: what remains is rounding."""
    image = smooth(width, height)
    ours, theirs = decode(encoded(image), image_size_px=SIZE), by_torchvision(image)

    assert np.abs(ours.astype(int) - theirs).max() <= tolerance


@pytest.mark.parametrize(("width", "height"), [(101, 67), (67, 101), (333, 250), (50, 49)])
def test_odd_sides_match_torchvision_to_half_a_pixel(width, height):
    """Where the long side is no whole number after scaling, rounding may shift the crop."""
    image = smooth(width, height)
    ours, theirs = decode(encoded(image), image_size_px=SIZE), by_torchvision(image)
    difference = np.abs(ours.astype(int) - theirs).mean()
    shifted = np.abs(np.roll(theirs, 1, axis=int(width > height)).astype(int) - theirs).mean()

    assert difference < shifted / 2


def test_an_image_of_the_right_size_is_not_changed():
    image = noise(SIZE, SIZE)

    assert np.array_equal(decode(encoded(image), image_size_px=SIZE), np.array(image))


@pytest.mark.parametrize(("width", "height"), [(96, 32), (32, 96)])
def test_the_centre_is_kept(width, height):
    image = noise(width, height)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    centre = image.crop((left, top, left + SIZE, top + SIZE))

    assert np.array_equal(decode(encoded(image), image_size_px=SIZE), np.array(centre))


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(63, 90, 1), (64, 64, 2), (64, 200, 2), (126, 140, 2), (128, 128, 4), (256, 999, 8)],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_leaves_enough(width, height, scale):
    data = encoded(smooth(width, height - height % scale), "JPEG", quality=95)
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (width // scale, height // scale))
    assert image.width == width / scale
    expected = decode(encoded(image), image_size_px=SIZE)

    assert np.array_equal(decode(data, image_size_px=SIZE), expected)


def differences(data):
    """Returns mean and largest difference of a JPEG's pixels to those of decoding it in full."""
    whole = encoded(Image.open(io.BytesIO(data)))
    pixels = [decode(x, image_size_px=PHOTOGRAPH_SIZE).astype(int) for x in (data, whole)]
    return np.abs(pixels[0] - pixels[1]).mean(), np.abs(pixels[0] - pixels[1]).max()


@pytest.mark.parametrize(("width", "height"), [(224, 224), (300, 500), (448, 448), (1600, 900)])
def test_decoding_at_a_scale_changes_little(width, height):
    coarse = noise(24, 24).resize((width, height), Image.Resampling.BICUBIC)
    mean, largest = differences(encoded(coarse, "JPEG", quality=95))

    assert mean <= 4
    assert largest <= 70


@pytest.mark.skipif(not REAL_DATA, reason="HEMLINE_REAL_DATA does not name the photographs' folder")
def test_decoding_photographs_at_a_scale_changes_little():
    paths = sorted((Path(REAL_DATA) / "fashion_products/images").glob("*.jpg"))[:400]
    found = np.array([differences(path.read_bytes()) for path in paths])

    assert found[:, 0].mean() <= 2
    assert found[:, 0].max() <= 6
    assert found[:, 1].max() <= 90


def test_floats_have_no_range_and_are_refused():
    data = encoded(Image.fromarray(np.full((40, 40), 0.5, np.float32)), "TIFF")

    assert reason_of(decode, data, image_size_px=SIZE) == "not_an_image"


def test_a_bomb_takes_no_memory():
    """A PNG of 178 million grey pixels, each of them there: 170 kB that would become 170 MB."""
    width = 20_000
    rows = zlib.compress((b"\0" + bytes(width)) * width, 9)
    bomb = png_header(width, width)[:33] + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert reason_of(decode, bomb, image_size_px=SIZE) == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def png_chunk(kind, content):
    length, checksum = struct.pack(">I", len(content)), zlib.crc32(kind + content)
    return length + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize("width", [1, 2, 60_000])
def test_extreme_sizes(width):
    pixels = decode(encoded(Image.new("RGB", (width, 1), RED)), image_size_px=SIZE)

    assert pixels.shape == (SIZE, SIZE, 3)
    assert (pixels == RED).all()


def test_the_crop_of_an_extreme_shape_is_its_middle():
    image = Image.new("RGB", (60_001, 1), RED)
    image.putpixel((30_000, 0), BLUE)

    blue = decode(encoded(image), image_size_px=SIZE)[0, :, 2]
    assert np.argsort(blue)[-2:].tolist() in ([15, 16], [16, 15])
    assert blue.max() > 230


@pytest.mark.parametrize("file_format", [*FORMATS, "HEIC"])
def test_formats(file_format):
    picture = halves(64, 64)
    data = heic(picture) if file_format == "HEIC" else encoded(picture, file_format)
    pixels = decode(data, image_size_px=SIZE)

    # 4: chroma is quantised and, beside the edge between the halves, subsampled
    assert image_size(data) == (64, 64)
    assert np.abs(pixels[:, 2].astype(int) - RED).max() <= 4
    assert np.abs(pixels[:, -3].astype(int) - BLUE).max() <= 4


def test_a_jpeg_2000_stream_without_its_box():
    data = encoded(halves(64, 64), "JPEG2000", no_jp2=True)

    assert data[:4] == b"\xff\x4f\xff\x51"
    assert (decode(data, image_size_px=SIZE)[:, 2] == RED).all()


def test_a_telephones_picture_is_upright_and_has_its_colours():
    exif = Image.Exif()
    exif[0x0112] = 6
    colour, profile = (200, 60, 60), rgb_profile(DISPLAY_P3, 2.2)
    data = heic(Image.new("RGB", (64, 48), colour), exif=exif.tobytes(), icc_profile=profile)
    found = decode(data, image_size_px=SIZE)[SIZE // 2, SIZE // 2].astype(int)

    assert image_size(data) == (48, 64)
    assert np.abs(found - srgb_of_rgb(colour, DISPLAY_P3, 2.2)).max() <= 3


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    for call, options in ((image_size, {}), (decode, {"image_size_px": SIZE})):
        with pytest.raises(UnreadableImageError, match=r"HEIC.*pip install pillow-heif") as error:
            call(heic(halves(64, 64)), **options)
        assert error.value.reason == "unread_format"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\x0a\xfa\x7f\x09", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera's raw format"),
    ],
)
def test_formats_that_are_not_read_are_named(start, name):
    with pytest.raises(UnreadableImageError, match=f"{name}.*convert it to JPEG") as error:
        image_size(start + bytes(100))
    assert error.value.reason == "unread_format"


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA"])
def test_modes_come_out_as_rgb(mode):
    image = halves(SIZE, SIZE).convert("LA" if mode == "LA" else "L").convert(mode)
    pixels = decode(encoded(image), image_size_px=SIZE)

    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.array(image.convert("RGB")))


def test_cmyk_jpeg():
    pixels = decode(encoded(halves(64, 64, mode="CMYK"), "JPEG", quality=95), image_size_px=SIZE)

    assert np.abs(pixels[:, 2].astype(int) - RED).max() <= 8  # ink values are quantised by JPEG
    assert np.abs(pixels[:, -3].astype(int) - BLUE).max() <= 8


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(file_format):
    ramp = np.repeat(np.linspace(0, 65535, SIZE).astype(np.uint16)[None], SIZE, axis=0)
    pixels = decode(encoded(Image.fromarray(ramp), file_format), image_size_px=SIZE)

    assert np.array_equal(pixels, np.repeat((ramp // 256)[:, :, None], 3, axis=2))


def test_half_transparent_pixels_are_mixed_with_white():
    image = Image.new("RGBA", (SIZE, SIZE), (0, 0, 255, 51))  # a fifth of blue
    pixels = decode(encoded(image), image_size_px=SIZE)

    assert (pixels == (204, 204, 255)).all()


def test_colour_below_full_transparency_does_not_show():
    image = noise(64, 64).convert("RGBA")
    image.putalpha(0)

    assert (decode(encoded(image), image_size_px=SIZE) == WHITE).all()


def test_a_transparent_entry_of_a_palette_is_white():
    image = Image.new("P", (SIZE, SIZE))
    image.putpalette([*RED, *BLUE])
    image.paste(1, (SIZE // 2, 0, SIZE, SIZE))
    pixels = decode(encoded(image, transparency=0), image_size_px=SIZE)

    assert (pixels[:, 0] == WHITE).all()
    assert (pixels[:, -1] == BLUE).all()


def test_a_transparent_colour_without_alpha_is_white():
    pixels = decode(encoded(halves(SIZE, SIZE), transparency=RED), image_size_px=SIZE)

    assert (pixels[:, 0] == WHITE).all()
    assert (pixels[:, -1] == BLUE).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    # EXIF 2.3, tag 0x0112: where row 0 and column 0 of the stored picture lie when it is upright
    upright = np.array(smooth(64, 96))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)

    expected = decode(encoded(Image.fromarray(upright)), image_size_px=SIZE)
    difference = np.abs(decode(turned, image_size_px=SIZE).astype(int) - expected)
    assert difference.max() <= 1  # the filter runs over rows and columns in another order
    assert image_size(turned) == (64, 96)


def test_damaged_exif_does_not_cost_the_image():
    data = encoded(halves(64, 64), "JPEG", exif=b"Exif\0\0no tags at all")

    assert decode(data, image_size_px=SIZE).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(("file_format", "options"), [("GIF", {}), ("WEBP", {"lossless": True})])
def test_the_first_frame_of_an_animation_is_taken(file_format, options):
    first, second = Image.new("RGB", (SIZE, SIZE), RED), Image.new("RGB", (SIZE, SIZE), BLUE)
    data = encoded(first, file_format, save_all=True, append_images=[second], **options)

    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert (decode(data, image_size_px=SIZE) == RED).all()


def test_decoding_twice_gives_the_same_pixels():
    data = encoded(smooth(333, 250), "JPEG")

    assert np.array_equal(decode(data, image_size_px=SIZE), decode(data, image_size_px=SIZE))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"this is a text that somebody called x.jpg", "not_an_image"),
        (b"<html><body>404 Not Found</body></html>", "not_an_image"),
        (b"\xff\xd8\xff\xe0", "not_an_image"),
        (png_header(20_000, 20_000), "too_large"),
        (png_header(MAX_PIXELS + 1, 1), "too_large"),
    ],
    ids=["empty", "text", "web page", "four bytes of JPEG", "bomb", "one pixel too many"],
)
def test_what_the_header_gives_away_is_refused_at_once(data, reason):
    assert reason_of(image_size, data) == reason
    assert reason_of(decode, data, image_size_px=SIZE) == reason


def test_the_largest_allowed_size_is_read_from_the_header():
    assert image_size(png_header(MAX_PIXELS, 1)) == (MAX_PIXELS, 1)


@pytest.mark.parametrize("file_format", [*FORMATS, "HEIC"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(file_format, share):
    picture = noise(200, 200)
    data = heic(picture) if file_format == "HEIC" else encoded(picture, file_format)
    cut = data[: int(len(data) * share)]

    # WebP and TIFF cannot be opened without their end
    assert reason_of(decode, cut, image_size_px=SIZE) in {"truncated", "not_an_image"}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_truncated_photograph_has_a_header_and_the_reason_truncated(file_format):
    cut = encoded(noise(200, 100), file_format)[:-2000]

    assert image_size(cut) == (200, 100)
    assert reason_of(decode, cut, image_size_px=SIZE) == "truncated"


def test_damage_within_a_png_is_found():
    data = bytearray(encoded(noise(200, 200)))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)

    assert reason_of(decode, bytes(data), image_size_px=SIZE) == "truncated"


def test_a_file_that_went_away_is_missing(tmp_path):
    assert reason_of(read_image_bytes, tmp_path / "x.jpg") == "missing"


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    assert reason_of(read_image_bytes, tmp_path / "x.jpg") == "not_a_file"
    assert reason_of(read_image_bytes, tmp_path) == "not_a_file"
    assert reason_of(read_image_bytes, tmp_path / "\0.jpg") == "missing"
