"""From an image's path to its file, and to the region of the file that the image is.

The path `photos/1.jpg#xywh=146,307,693,993` is one image: of the file `photos/1.jpg`, the region
that begins 146 pixels from the left and 307 from the top, and is 693 wide and 993 high (W3C, Media
Fragments URI 1.0). A file that has this very name is an image of its own.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components import files
from components.images.decode import Box, UnreadableImageError

_NUMBER = r"(\d+(?:\.\d+)?)"
_FRAGMENT = re.compile(rf"(?s:(.*))#xywh=(?:pixel:)?{','.join([_NUMBER] * 4)}")


def fragment_of(box: Box | None) -> str:
    """Returns what names a box at the end of a path; empty for None."""
    if box is None:
        return ""
    left, top, right, bottom = box
    numbers = (left, top, right - left, bottom - top)
    return "#xywh=" + ",".join(np.format_float_positional(x, trim="-") for x in numbers)


def without_fragment(path: str) -> tuple[str, Box | None]:
    """Returns what stands before a region at the end of a path, and the region; None for none."""
    found = _FRAGMENT.fullmatch(path)
    left, top, width, height = map(float, found.groups()[1:]) if found else (0, 0, 0, 0)
    if not found or not width or not height:
        return path, None
    return found[1], (left, top, left + width, top + height)


def region_of(path: Path) -> tuple[Path, Box | None]:
    """Returns the file that a path names, and the region of it; None: all of it.

    Neither need be there.
    """
    bare, box = without_fragment(str(path))
    return (path, None) if box is None or os.path.lexists(path) else (Path(bare), box)


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of an image's file.

    Raises:
        UnreadableImageError: missing or not_a_file.
    """
    file, _ = region_of(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
            raise UnreadableImageError("not_a_file", "not a regular file")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableImageError("missing", error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in it
        raise UnreadableImageError("missing", "no file can have this name") from error


def file_inside(root: Path, path: str) -> Path:
    """Returns an image's file; refuses paths and links that lead out of the folder `root`.

    Raises:
        UnreadableImageError: outside_root, missing or not_a_file.
    """
    if path.startswith("/"):
        raise UnreadableImageError("outside_root", "an absolute path")
    try:
        resolved = Path(os.path.realpath(region_of(root / path)[0]))
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


def speller(root: Path) -> Callable[[str], str]:
    """Returns `files.speller`, for the paths of images: regions stay as they are written."""
    spelled_file = files.speller(root)

    def spelled(path: str) -> str:
        bare, box = without_fragment(path)
        if box is None or os.path.lexists(root / path):
            return spelled_file(path)
        return spelled_file(bare) + path[len(bare) :]

    return spelled
