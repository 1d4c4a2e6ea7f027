"""Small data sets, tables and image files that tests of several folders build on."""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyarrow as pa
from PIL import Image

from components import tables
from components.attributes import AttributeSchema
from components.prototypes.prototypes import Prototypes, ValueVectors
from components.prototypes.tags import UNCALIBRATED

PROJECT = Path(__file__).parents[1]


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Returns an RGB image that differs everywhere."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """Returns the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    """Returns the bytes of a HEIC file, as telephones write them."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90, chroma=444, **options)
    return buffer.getvalue()


def png(seed: int) -> bytes:
    """Returns a small image file; another one for every seed."""
    return encoded(noise(8, 6, seed=seed))


def png_header(width: int, height: int) -> bytes:
    """Returns the beginning of a PNG file of that size (grey, 8 bits; PNG, section 11.2.2).

    It costs nothing to write where the picture itself would take a gigabyte.
    """
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + length + chunk + checksum + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


def write_files(root: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes files below a folder, given by their relative paths, and returns the folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def images_table(
    sha256s: Iterable[str],
    *,
    groups: Iterable[str | None] = (),
    domains: Iterable[str | None] = (),
) -> pa.Table:
    """Returns catalog rows of images with the given contents; groups and domains where given."""
    sha256s, groups, domains = list(sha256s), list(groups), list(domains)
    rows = [
        {
            "image": image,
            "path": f"{image}.png",
            "bytes": 1,
            "sha256": sha256,
            "width": 8,
            "height": 6,
            "group": groups[image] if groups else None,
            "domain": domains[image] if domains else None,
        }
        for image, sha256 in enumerate(sha256s)
    ]
    return pa.Table.from_pylist(rows, schema=tables.IMAGES)


def labels_table(rows: Iterable[tuple[int, int, int]]) -> pa.Table:
    """Returns (image, attribute, value) rows as a table."""
    names = tables.LABELS.names[:3]  # the data set says nothing of splits and roles
    records = [dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.LABELS)


def splits_table(rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Returns rows (image, attribute, value, split, role) as `tables.SPLITS`; roles decide."""
    records = [dict(zip(tables.LABELS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.SPLITS)


def flip_a_bit(path: Path, *, share: float = 0.5) -> None:
    """Changes one bit of a file, at that share of its length."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 4
    path.write_bytes(data)


def random_prototypes(schema: AttributeSchema, *, dim: int) -> Prototypes:
    """Returns a random unit vector for every value."""
    rng = np.random.default_rng(0)
    attributes = {}
    for attribute in schema.attributes:
        vectors_VD = rng.normal(size=(len(attribute.values), dim)).astype(np.float32)
        attributes[attribute.name] = ValueVectors(
            values=attribute.values,
            vectors_VD=vectors_VD / np.linalg.norm(vectors_VD, axis=1, keepdims=True),
            num_images_V=np.full(len(attribute.values), 9),
            spread_V=np.full(len(attribute.values), 0.25, np.float32),
        )
    return Prototypes(
        attributes=attributes,
        weights=dict.fromkeys(schema.names, 1.0),
        calibrations=dict.fromkeys(schema.names, UNCALIBRATED),
        model="m",
    )
