"""Files of a folder by the paths that data names, and never a file outside it."""

import os
from pathlib import Path

from components.images.decode import UnreadableImageError


def file_inside(root: Path, path: str) -> Path:
    """Returns the file at a path relative to a folder; refuses what leads out, links included.

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
