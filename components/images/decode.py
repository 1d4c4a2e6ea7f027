"""From image files to pixels, and which files are refused with which reason."""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import IO, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

PIXELS_VERSION = 4
"""Raise it when `decode` gives other pixels, or `perceptual_hashes` others: shards and embeddings
are then made again."""

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, twice its warning level

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
"""What is read; other formats of Pillow start outside programs or are no photographs.

HEIC is read besides, where the package pillow-heif is installed.
"""

_LONGEST = 4  # of a picture that is longer than so many of its short sides, the ends are not shown
_HEIC_SUFFIXES = (".heic", ".heif", ".hif")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # ISO/IEC 23008-12, annex B
_UNREAD = {  # how files of formats begin that are pictures all the same
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "Photoshop (PSD)",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"<svg": "SVG",
    b"FUJIFILM": "a camera's raw format",
    b"\0\0\0\x18ftypcrx ": "a camera's raw format",
}
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG, _JPEG_SCAN = b"\xff\xd8", 0xDA
_JPEG_METADATA = (0xE1, 0xE2)  # EXIF and XMP; profiles, and pictures behind the first
_JPEG_SCALES = (8, 4, 2, 1)
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
_LARGEST_PROFILE = 2**24  # bytes; those of printers have 0.5 to 3 MB
_SRGB_TOLERANCE = 3  # of 255, between profiles of sRGB by different makers

_TO_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the upright image."""

T = TypeVar("T")


def suffixes() -> frozenset[str]:
    """Returns the suffixes of the files that are read, in lower case."""
    named = Image.registered_extensions()
    return frozenset([*_HEIC_SUFFIXES, *(x for x, name in named.items() if name in FORMATS)])


class UnreadableImageError(Exception):
    """An image cannot be used.

    Attributes:
        reason: a word of `tables.QUARANTINE_REASONS`.
        detail: what was found, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def image_size(data: bytes) -> tuple[int, int]:
    """Returns width and height in pixels of the upright image, from the header alone.

    Raises:
        UnreadableImageError: empty_file, not_an_image, unread_format or too_large.
    """
    return _look(io.BytesIO(data), _upright_size)


def decode(
    data: bytes, *, image_size_px: int, crop: str = "centre", box: Box | None = None
) -> NDArray[np.uint8]:
    """Returns sRGB pixels [S, S, 3] of the upright image, resized bilinearly.

    With crop `centre`, the short side becomes S and the centre is cropped. With crop `box`, both
    sides of the box become S, or those of the image where the box is None or has no part in it.

    Pixels of an embedded colour profile other than sRGB are converted; without one they are taken
    to be sRGB. Metadata that cannot be read is left out of account.

    The first frame of an animation is taken; transparent pixels come out white. Where S is at most
    half of the sides of what is shown of a JPEG, it is decoded at the smallest of its own scales
    (1/2, 1/4, 1/8) that leaves S pixels. Compared with decoding in full, 400 photographs at half
    their size differ by 1.6 of 255 on average, the most detailed of them by 5.3, a pixel by 77 at
    most.

    JPEGs are decoded, and pictures resized, in whole numbers: equal files give equal pixels on
    every processor. Resizing is within 2 of 255 of Pillow's.

    Raises:
        UnreadableImageError: empty_file, not_an_image, unread_format, too_large or truncated.
    """
    if size := _bare_jpeg_size(data):
        part = _part(crop, box, size)
        scale = _jpeg_scale(size, _least_size(size, image_size_px, part))
        pixels = _jpeg_pixels(data, size, scale)
        if pixels is not None:
            return _square(pixels, size, scale, part, image_size_px)
    use = partial(_pixels, data=data, image_size_px=image_size_px, crop=crop, box=box)
    return _look(io.BytesIO(data), use)


def _bare_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Returns width and height of a JPEG in colour that brings nothing but its pixels.

    It is upright and in sRGB: opening it with Pillow would take half the time of decoding it, and
    tell nothing more. None for all other files.
    """
    if not data.startswith(_JPEG) or not _is_bare(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height) if colours == "YCbCr" and width * height <= MAX_PIXELS else None


def _is_bare(jpeg: bytes) -> bool:
    """Returns whether no metadata come before a JPEG's first scan, segment by segment.

    What segments hold may look like others: Photoshop's have a picture in small.
    """
    start = len(_JPEG)
    while jpeg[start : start + 1] == b"\xff" and len(jpeg) > start + 4:
        marker = jpeg[start + 1]
        if marker == _JPEG_SCAN or marker in _JPEG_METADATA:
            return marker == _JPEG_SCAN
        start += 2 + int.from_bytes(jpeg[start + 2 : start + 4])
    return False


def _look(file: IO[bytes], use: Callable[[Image.Image], T]) -> T:
    """Returns what is to be learned from an image; its metadata never costs it."""
    try:
        with _open(file) as image:
            return use(image)
    except UnreadableImageError as error:
        file.seek(0)
        bare, profile = _without_metadata(file.read())
        if not bare:
            raise
        try:
            with _open(io.BytesIO(bare)) as image:
                if profile:
                    image.info["icc_profile"] = profile
                return use(image)
        except UnreadableImageError:
            raise error from None


def _open(file: IO[bytes]) -> Image.Image:
    start = file.read(64)
    file.seek(0)
    if not start:
        raise UnreadableImageError("empty_file", "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = _open_heic(file) if _is_heic(start) else Image.open(file, formats=FORMATS)
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("too_large", first_line(error)) from error
    except UnidentifiedImageError as error:
        for signature, name in _UNREAD.items():
            if start.startswith(signature):
                remedy = "which is not read: convert it to JPEG or PNG"
                raise UnreadableImageError("unread_format", f"{name}, {remedy}") from error
        raise UnreadableImageError("not_an_image", f"starts with {start[:8]!r}") from error
    except Exception as error:  # a damaged header makes Pillow's plugins raise many kinds
        raise UnreadableImageError("not_an_image", first_line(error)) from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}x{image.height} pixels, allowed are {MAX_PIXELS}"
        raise UnreadableImageError("too_large", size)
    return image


def _is_heic(start: bytes) -> bool:
    """Returns whether a file's first box names HEIC among the kinds of file that it is."""
    brands = start[8 : int.from_bytes(start[:4])]
    named = {brands[at : at + 4] for at in range(0, len(brands), 4)}
    return start[4:8] == b"ftyp" and not named.isdisjoint(_HEIC_BRANDS)


def _open_heic(file: IO[bytes]) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # noqa: PLC0415 - an extra
    except ImportError as error:
        remedy = "HEIC, which takes another package: pip install pillow-heif"
        raise UnreadableImageError("unread_format", remedy) from error
    return HeifImageFile(file)


def _without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Returns a file without the metadata for which Pillow refuses it, and its colour profile.

    That is damage to a PNG's, or more than 1 MB in a text or a profile, an AVIF's EXIF, and a
    TIFF's resolution per centimetre. Empty for other formats, whose metadata costs nothing, and
    where the file has kept its profile.
    """
    if byte_order := {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4]):
        # the directory's entry, tag 296: 3 is centimetres, of which Pillow makes inches
        by_unit = {x: struct.pack(byte_order + "HHIHH", 296, 3, 1, x, 0) for x in (2, 3)}
        return data.replace(by_unit[3], by_unit[2]), b""
    if data[4:12] == b"ftypavif":
        return re.sub(rb"(infe.{8})Exif", rb"\1none", data, flags=re.DOTALL), b""
    if not data.startswith(_PNG):
        return b"", b""
    kept, profile, start = [_PNG], b"", len(_PNG)
    while chunk := data[start : start + 12 + int.from_bytes(data[start : start + 4])]:
        start += len(chunk)
        kind, content, checksum = chunk[4:8], chunk[8:-4], chunk[-4:]
        is_whole = zlib.crc32(kind + content).to_bytes(4) == checksum
        if kind[:1].isupper() or (kind in {b"tRNS", b"eXIf"} and is_whole):
            kept.append(chunk)
        elif kind == b"iCCP" and is_whole:
            packed = content.partition(b"\0")[2][1:]  # after its name and the method of packing
            with suppress(zlib.error):
                profile = zlib.decompressobj().decompress(packed, _LARGEST_PROFILE)
    return b"".join(kept), profile


def _pixels(
    image: Image.Image, *, data: bytes, image_size_px: int, crop: str, box: Box | None
) -> NDArray[np.uint8]:
    size = _upright_size(image)
    part = _part(crop, box, size)
    least = _least_size(size, image_size_px, part)
    try:
        pixels, scale = _read(image, data, least if size == image.size else least[::-1])
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged data
        raise UnreadableImageError("truncated", first_line(error)) from error
    square = _square(pixels, size, scale, part, image_size_px)
    conversion = _conversion(image)
    if conversion is None:
        return square
    coloured = Image.frombytes(conversion.input_mode, (image_size_px, image_size_px), square)
    return np.asarray(conversion.apply(coloured))


def _part(crop: str, box: Box | None, size: tuple[int, int]) -> Box | None:
    """Returns what of a picture becomes the square; None: its centre.

    That is what of a box is in the picture; the whole picture where there is nothing.
    """
    if crop == "centre":
        return None
    width, height = size
    left, top, right, bottom = box or (0, 0, width, height)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, width, height)


def _least_size(size: tuple[int, int], size_px: int, part: Box | None) -> tuple[int, int]:
    """Returns width and height of the smallest picture that leaves a part its pixels.

    Without a part, that is the square itself.
    """
    if part is None:
        return size_px, size_px
    left, top, right, bottom = part
    width, height = size
    return math.ceil(size_px * width / (right - left)), math.ceil(size_px * height / (bottom - top))


def _read(image: Image.Image, data: bytes, least: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
    """Returns a picture that is large enough, and how many pixels a side one of it stands for."""
    size = image.size
    image.draft("RGB", least)  # makes a JPEG smaller, also the first picture of several
    scale = math.ceil(size[0] / image.width)
    is_plain = image.format == "JPEG" and image.mode == "RGB"
    if is_plain and _orientation(image) not in _TO_UPRIGHT:
        pixels = _jpeg_pixels(data, size, scale)
        if pixels is not None:
            return pixels, scale
    image.load()
    conversion = _conversion(image)
    flat = _flatten(_upright(image), conversion.input_mode if conversion else "RGB")
    return np.array(flat), scale  # a copy, as torch warns of arrays that cannot be written to


def _jpeg_scale(size: tuple[int, int], least: tuple[int, int]) -> int:
    """Returns by what a JPEG's sides are to be divided, as Pillow's `draft` chooses it."""
    times = min(side // least_side for side, least_side in zip(size, least, strict=True))
    return next((scale for scale in _JPEG_SCALES if scale <= times), 1)


def _jpeg_pixels(data: bytes, size: tuple[int, int], scale: int) -> NDArray[np.uint8] | None:
    """Returns the pixels of a JPEG in colour [H, W, 3]; None: Pillow has to decode it.

    The same library without Pillow around it gives the same bytes in half the time. What it warns
    of is left to Pillow to judge.
    """
    width, height = (-(-side // scale) for side in size)
    least = {"min_height": height, "min_width": width} if scale > 1 else {}
    try:
        return simplejpeg.decode_jpeg(data, "RGB", **least)
    except ValueError:
        return None


def _orientation(image: Image.Image) -> int:
    """Returns how an image is to be turned: a key of `_TO_UPRIGHT`, or another number."""
    if image.format == "TIFF":
        return 1  # Pillow turns it itself
    try:
        # PngImageFile's own method would decode the image to look for EXIF behind its pixels
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF does not cost the image
        return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    lies_on_its_side = _orientation(image) in {5, 6, 7, 8}
    return (image.height, image.width) if lies_on_its_side else image.size


def _upright(image: Image.Image) -> Image.Image:
    """Returns an image turned as its EXIF says.

    `ImageOps.exif_transpose` writes the EXIF anew, and fails at a tag that it cannot write.
    """
    method = _TO_UPRIGHT.get(_orientation(image))
    return image if method is None else image.transpose(method)


def _conversion(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Returns what converts an image's colours to sRGB; None where they need none."""
    profile = image.info.get("icc_profile")
    conversion = _to_srgb(profile) if profile and isinstance(profile, bytes) else None
    if conversion is None or image.mode == "LAB":
        return None
    is_grey = image.mode in _GREY_MODES
    fits = {"RGB": image.mode != "CMYK", "CMYK": image.mode == "CMYK", "L": is_grey}
    return conversion if fits[conversion.input_mode] else None


@lru_cache(maxsize=16)  # the pictures of a shop have few profiles
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Returns the conversion from a profile to sRGB; None for sRGB, and for what is damaged."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}[source.profile.xcolor_space]
        conversion = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception:  # a damaged profile makes ImageCms raise many kinds
        return None
    # sRGB goes by many names, and its profiles round in many ways: what counts is what they do
    levels = np.linspace(0, 255, 16).round().astype(np.uint8)
    every = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), axis=-1)
    probe = Image.fromarray(every.reshape(-1, 16, len(mode)).squeeze(), mode)
    change = np.asarray(conversion.apply(probe), int) - np.asarray(probe.convert("RGB"))
    return None if np.abs(change).max() <= _SRGB_TOLERANCE else conversion


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image in the mode RGB, CMYK or L, what is transparent mixed with white."""
    if image.mode == "F":
        raise UnreadableImageError("not_an_image", "pixels are floats, which have no defined range")
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them to 8, not scale them
        scaled = (np.asarray(image) // 256).clip(0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert(mode)
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert(mode)


def _square(
    pixels: NDArray[np.uint8], size: tuple[int, int], scale: int, part: Box | None, size_px: int
) -> NDArray[np.uint8]:
    """Returns what is shown of a picture of that size [S, S, ...], decoded at a scale."""
    if part is None:
        width, height = size
        return _centre(pixels, (width / scale, height / scale), size_px)
    return _resized(_cut(pixels, part, scale=scale), size_px, size_px)


def _centre(
    pixels: NDArray[np.uint8], size: tuple[float, float], size_px: int
) -> NDArray[np.uint8]:
    """Returns the middle [S, S, ...] of a picture whose short side becomes S.

    `size` is its width and height: of what was decoded at a scale, the last pixels may be parts.
    """
    short = min(size)
    left, top = (int(max(0, side - _LONGEST * short) // 2) for side in size)
    pixels = pixels[top : len(pixels) - top, left : pixels.shape[1] - left]
    scale = size_px / short
    sides = size[0] - 2 * left, size[1] - 2 * top
    left, top = ((max(size_px, round(side * scale)) - size_px) // 2 for side in sides)
    resized = _resized(pixels, top + size_px, left + size_px, scale=scale)
    return np.ascontiguousarray(resized[top:, left:])


def _cut(pixels: NDArray[np.uint8], box: Box, *, scale: int) -> NDArray[np.uint8]:
    """Returns what is in a box of a picture, to whole pixels, one of which stands for several."""
    left, top, right, bottom = (math.floor(edge / scale + 0.5) for edge in box)
    left, top = min(left, pixels.shape[1] - 1), min(top, pixels.shape[0] - 1)
    return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]


def _resized(
    pixels: NDArray[np.uint8], height: int, width: int, *, scale: float | None = None
) -> NDArray[np.uint8]:
    resized = resize_bilinear(np.atleast_3d(pixels)[None], height, width, scale=scale)[0]
    return resized if pixels.ndim == 3 else resized[..., 0]


def resize_bilinear(
    pixels: NDArray[np.uint8], height: int, width: int, *, scale: float | None = None
) -> NDArray[np.uint8]:
    """Returns pictures [n, H, W, C] of another height and width, bilinearly and antialiased.

    With a scale, by which the sides are multiplied, they are the upper left of what it gives. torch
    calculates in whole numbers: every processor gives the same bytes.
    """
    import torch  # noqa: PLC0415 - seconds, which those who only look at files need not wait

    # `interpolate` with a place for what it makes, which it would give as planes
    resize = torch.ops.aten._upsample_bilinear2d_aa.out
    pixels_NHWC = torch.from_numpy(pixels)
    resized_NHWC = pixels_NHWC.new_empty(len(pixels), height, width, pixels.shape[-1])
    of_planes, place = pixels_NHWC.permute(0, 3, 1, 2), resized_NHWC.permute(0, 3, 1, 2)
    resize(of_planes, [height, width], False, scale, scale, out=place)  # align_corners: False
    resized: NDArray[np.uint8] = resized_NHWC.numpy()
    return resized


def first_line(error: Exception) -> str:
    """Returns what an error says, as a detail of the quarantine."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
