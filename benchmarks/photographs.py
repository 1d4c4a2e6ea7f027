"""Pictures that compress as photographs do, as JPEG files with their rows of the catalog."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from components import tables


def write_photographs(
    folder: Path, *, num_images: int, num_pictures: int, side_px: int
) -> pa.Table:
    """Writes JPEG files and returns their `tables.IMAGES`.

    Args:
        folder: where the files go.
        num_images: files to write.
        num_pictures: different pictures among them; decoding costs the same for copies.
        side_px: of the square pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows, contents = [], []
    for number in range(num_images):
        path = folder / f"{number:06d}.jpg"
        if number < num_pictures:
            coarse = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
            fine = coarse.resize((side_px, side_px), Image.Resampling.BICUBIC)
            fine.save(path, quality=90)
            contents.append(path.read_bytes())
        data = contents[number % num_pictures]
        path.write_bytes(data)
        rows.append(
            {
                "image": number,
                "path": path.name,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "width": side_px,
                "height": side_px,
            }
        )
    return pa.Table.from_pylist(rows, schema=tables.IMAGES)
