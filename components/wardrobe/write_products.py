"""Writes photographs of products to disk as a wide table, with boxes, landmarks and the truth."""

import csv
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from components import files
from components.datasets.fashionai import FASHIONAI_VALUES, TRUTH_FILE, TRUTH_SCHEMA
from components.wardrobe.folder import (
    DATASET,
    JPEG_QUALITY,
    check_at_least,
    check_drawing,
    draw_all,
    replacing,
)
from components.wardrobe.outfit import INVISIBLE
from components.wardrobe.photo import sample_photo
from components.wardrobe.product import sample_product
from components.wardrobe.take_photo import LANDMARKS, Photo, take_photo

LABELLED = ("category", "colour", "pattern", *FASHIONAI_VALUES)
"""The columns of attributes."""

_EDGES = ("left", "top", "right", "bottom")
_MIN_PHOTOS_PER_ITEM = 2  # one in the shop, one in the street


@dataclass(frozen=True, kw_only=True)
class _Written:
    """A photograph that lies on disk: its row of the table, and its rows of the truth."""

    row: dict[str, str]
    truths: list[dict[str, object]]


def write_products(
    out: Path,
    *,
    num_items: int,
    photos_per_item: int,
    image_size_px: int,
    seed: int,
    num_processes: int,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Draws photographs of products into the folder `out`, replacing a wardrobe that is there.

    The same arguments give the same bytes for any number of processes. Photograph k of product i
    of a seed depends on neither `num_items` nor `photos_per_item`.

    Args:
        out: receives `images/<name>.jpg`, `truth.parquet`, and `labels.csv` (data.format table)
            with a row per photograph: its item, domain, attributes, and the garment's box and
            landmarks in pixels; cells of what there is not are empty. Nothing appears there before
            everything is written.
        num_items: products.
        photos_per_item: at least 2; every other one is taken in the street, the first in the shop.
        image_size_px: side of the square images, at least 64.
        seed: not negative.
        num_processes: processes that draw; 1 draws in this one.
        on_progress: called with the number of images finished since its last call.

    Raises:
        HemlineError: an argument is out of range, or `out` holds something else.
    """
    check_at_least(
        num_items=(num_items, 1), photos_per_item=(photos_per_item, _MIN_PHOTOS_PER_ITEM)
    )
    check_drawing(image_size_px=image_size_px, seed=seed, num_processes=num_processes)
    with replacing(out) as root:
        (root / "images").mkdir()
        draw = partial(
            _draw_one,
            photos_per_item=photos_per_item,
            folder=root / "images",
            image_size_px=image_size_px,
            seed=seed,
        )
        images = draw_all(
            draw,
            num_items * photos_per_item,
            num_processes=num_processes,
            on_progress=on_progress,
        )
        _write_table(root / "labels.csv", images)
        truths = chain.from_iterable(image.truths for image in images)
        table = pa.Table.from_pylist(list(truths), schema=TRUTH_SCHEMA)
        files.write_table(table, root / TRUTH_FILE, schema=TRUTH_SCHEMA, about={"dataset": DATASET})


def _draw_one(
    index: int, *, photos_per_item: int, folder: Path, image_size_px: int, seed: int
) -> _Written:
    """Takes and saves a photograph; its name is a hash, so that it does not give the item away."""
    item, shot = divmod(index, photos_per_item)
    product = sample_product(seed, item)
    spec = sample_photo(product, seed=seed, item=item, shot=shot)
    photo = take_photo(spec, image_size_px)
    digest = hashlib.md5(f"{seed}/{item}/{shot}".encode(), usedforsecurity=False).hexdigest()
    name = f"{digest}.jpg"
    photo.image.save(folder / name, quality=JPEG_QUALITY)
    about = {"image": name, "item": f"product_{item:05d}", "domain": spec.domain}
    return _Written(
        row={**about, **product.labels, **_geometry_cells(photo)},
        truths=list(_truth_rows(f"images/{name}", product.shapes, photo)),
    )


def _geometry_cells(photo: Photo) -> dict[str, str]:
    edges = {f"box_{edge}": _text(x) for edge, x in zip(_EDGES, photo.box, strict=True)}
    for name, landmark in photo.landmarks.items():
        x, y, visibility = _landmark_columns(name)
        edges[visibility] = landmark.visibility
        if landmark.place is not None:
            edges[x], edges[y] = map(_text, landmark.place)
    return edges


def _landmark_columns(name: str) -> tuple[str, str, str]:
    prefix = f"landmark_{name.replace(' ', '_')}"
    return f"{prefix}_x", f"{prefix}_y", f"{prefix}_visibility"


def _text(pixels: float) -> str:
    """Returns hundredths, rounded down so that what lies within the picture still does."""
    return f"{math.floor(pixels * 100) / 100:.2f}"


def _write_table(file: Path, images: Sequence[_Written]) -> None:
    """Writes a row per photograph; paths are relative to the folder `images`."""
    columns = [
        *("image", "item", "domain", *LABELLED),
        *(f"box_{edge}" for edge in _EDGES),
        *chain.from_iterable(map(_landmark_columns, LANDMARKS)),
    ]
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(image.row for image in images)


def _truth_rows(path: str, shapes: dict[str, str], photo: Photo) -> Iterator[dict[str, object]]:
    """Yields what the photograph shows of each of the garment's shapes, all of them labelled."""
    for attribute, value in shapes.items():
        region = photo.regions[attribute]
        edges = region or (None, None, None, None)
        yield {
            "path": path,
            "attribute": attribute,
            "labelled": True,
            "value": value if region else INVISIBLE,
            **dict(zip(("x0", "y0", "x1", "y1"), edges, strict=True)),
        }
