"""From image files to pixels, and which files are refused with which reason."""

import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, twice its warning level

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read; other formats of Pillow start outside programs or are no photographs."""


def suffixes() -> frozenset[str]:
    """Returns the suffixes of the files that are read, in lower case."""
    named = Image.registered_extensions()
    return frozenset(suffix for suffix, name in named.items() if name in FORMATS)


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
        UnreadableImageError: empty_file, not_an_image or too_large.
    """
    with _open(data) as image:
        return _upright_size(image)


def decode(data: bytes, *, image_size_px: int) -> NDArray[np.uint8]:
    """Returns RGB pixels [S, S, 3]: upright, short side resized to S (bilinear), centre cropped.

    The first frame of an animation is taken; transparent pixels come out white. Where S is at most
    half of a JPEG's short side, the JPEG is decoded at the smallest of its own scales (1/2, 1/4,
    1/8) that leaves S pixels. Compared with decoding in full, 400 photographs at half their size
    differ by 1.6 of 255 on average, the most detailed of them by 5.3, a pixel by 77 at most.

    Raises:
        UnreadableImageError: empty_file, not_an_image, too_large or truncated.
    """
    with _open(data) as image:
        width, height = _upright_size(image)
        stored_width = image.width
        try:
            image.draft("RGB", (image_size_px, image_size_px))
            scale = math.ceil(stored_width / image.width)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # a copy would cost as much as decoding
            rgb = _flatten(image)
        except UnreadableImageError:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds for damaged data
            raise UnreadableImageError("truncated", first_line(error)) from error
        extent = rgb.size if scale == 1 else (width / scale, height / scale)
        return np.asarray(_resize_and_crop(rgb, image_size_px, extent))


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of an image file.

    Raises:
        UnreadableImageError: missing.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError("missing", error.strerror or str(error)) from error


def file_inside(root: Path, path: str) -> Path:
    """Returns the file at a path relative to a folder; refuses paths and links that lead out of it.

    Raises:
        UnreadableImageError: outside_root, missing or not_a_file.
    """
    if path.startswith("/"):
        raise UnreadableImageError("outside_root", "an absolute path")
    try:
        resolved = Path(os.path.realpath(root / path))
        exists = resolved.exists()
    except (OSError, ValueError) as error:  # it is too long, or has a NUL in it
        raise UnreadableImageError("missing", "no file can have this name") from error
    if not resolved.is_relative_to(os.path.realpath(root)):
        raise UnreadableImageError("outside_root", "the path leads out of the data's folder")
    if not exists:
        raise UnreadableImageError("missing", "no such file")
    if not resolved.is_file():
        raise UnreadableImageError("not_a_file", "not a regular file")
    return resolved


def boxes_in_crop(
    boxes_N4: NDArray[np.floating], sizes_N2: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Returns boxes as shares of the square that `decode` crops [N, 4], in [0, 1].

    Args:
        boxes_N4: left, top, right and bottom in pixels of the upright image.
        sizes_N2: width and height of each box's image in pixels.
    """
    side_N1 = sizes_N2.min(axis=1, keepdims=True)
    corner_N2 = (sizes_N2 - side_N1) / 2
    inside_N4 = (boxes_N4 - np.tile(corner_N2, 2)) / side_N1
    return np.asarray(inside_N4.clip(0, 1))


def _open(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImageError("empty_file", "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("too_large", first_line(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not_an_image", f"starts with {data[:8]!r}") from error
    except Exception as error:  # a damaged header makes Pillow's plugins raise many kinds
        raise UnreadableImageError("not_an_image", first_line(error)) from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}x{image.height} pixels, allowed are {MAX_PIXELS}"
        raise UnreadableImageError("too_large", size)
    return image


def _upright_size(image: Image.Image) -> tuple[int, int]:
    try:
        # PngImageFile's own method would decode the image to look for EXIF behind its pixels
        lies_on_its_side = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in {5, 6, 7, 8}
    except Exception:  # damaged EXIF does not cost the image: decoding ignores it too
        lies_on_its_side = False
    return (image.height, image.width) if lies_on_its_side else image.size


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableImageError("not_an_image", "pixels are floats, which have no defined range")
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them to 8, not scale them
        scaled = (np.asarray(image) // 256).clip(0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _resize_and_crop(image: Image.Image, size_px: int, extent: tuple[float, float]) -> Image.Image:
    """Returns the square picture; `extent` is what of the image is picture.

    At a JPEG's own scales the last column and row may stand for a part of a pixel only.
    """
    scale = size_px / min(extent)
    width, height = (max(size_px, round(side * scale)) for side in extent)
    left, top = (width - size_px) // 2, (height - size_px) // 2
    # resizing only the part that the crop keeps bounds the work for extreme aspect ratios
    right, bottom = (left + size_px) / scale, (top + size_px) / scale
    box = (left / scale, top / scale, min(right, extent[0]), min(bottom, extent[1]))
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def first_line(error: Exception) -> str:
    """Returns what an error says, as a detail of the quarantine."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
