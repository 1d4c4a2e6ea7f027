"""Images in parts, of which a run makes only the changed ones.

Part i covers the image numbers [i * images_per_part, (i + 1) * images_per_part). Its key is a hash
of everything that it is made from: its images, and how they are processed. A part that lies on
disk under its key is complete, so a run that was killed resumes where it stopped. A part whose key
changed takes over the images that its predecessors hold, so only new and changed images are
processed. Shards of the image store and parts of embeddings are made this way.
"""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa


def parts_by_number(images: pa.Table, *, images_per_part: int) -> list[tuple[int, pa.Table]]:
    """Returns index and rows of every part that has images; their column `image` ascends."""
    part_of = images["image"].to_numpy() // images_per_part
    parts, starts, sizes = np.unique(part_of, return_index=True, return_counts=True)
    rows = [images.slice(*part) for part in zip(starts, sizes, strict=True)]
    return list(zip(parts.tolist(), rows, strict=True))


def content_key(content: Iterable[str]) -> str:
    """Returns the SHA-256, in hexadecimal, of everything that a part is made from."""
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def remove_unnamed(folder: Path, pattern: str, *, named: Collection[Path]) -> None:
    """Removes a folder's files of that pattern unless named, and leftovers of killed writers."""
    for path in [*folder.glob(pattern), *folder.glob(".*.tmp")]:
        if path not in named:
            path.unlink()
