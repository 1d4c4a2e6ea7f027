"""Writes the wardrobe to disk, with the truth beside it: FashionAI's layout, or a table of labels.

FashionAI labels each image for one attribute. The table has every label that the picture shows; an
attribute that the outfit does not have, or that is out of sight, has none.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

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
from components.wardrobe.picture import Truth, draw_picture, sample_spec

Labels = Literal["one", "all"]
"""What is labelled: one attribute an image, or all that it shows."""


@dataclass(frozen=True, kw_only=True)
class _Written:
    """An image that lies on disk: its path under the root, its labels, and what it shows."""

    path: str
    labels: dict[str, str]
    truths: dict[str, Truth]


def write_wardrobe(
    out: Path,
    *,
    num_images: int,
    image_size_px: int,
    seed: int,
    num_processes: int,
    labels: Labels = "one",
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Draws the demo data set into the folder `out`, replacing a wardrobe that is there.

    The same arguments give the same bytes for any number of processes. Image i of a seed
    does not depend on `num_images`, nor on `labels`.

    Args:
        out: receives `truth.parquet`, and with one label an image
            `Images/<attribute>_labels/<name>.jpg` and `Annotations/label.csv` (data.format
            fashionai), with all `images/<name>.jpg` and `labels.csv` (data.format table). Nothing
            appears there before everything is written.
        num_images: images in all, spread evenly over the eight attributes.
        image_size_px: side of the square images, at least 64.
        seed: not negative.
        num_processes: processes that draw; 1 draws in this one.
        labels: whether an image has the label that it was drawn for, or all that it shows.
        on_progress: called with the number of images finished since its last call.

    Raises:
        HemlineError: an argument is out of range, or `out` holds something else.
    """
    check_at_least(num_images=(num_images, 1))
    check_drawing(image_size_px=image_size_px, seed=seed, num_processes=num_processes)
    with replacing(out) as root:
        _make_folders(root, labels)
        draw = partial(_draw_one, root=root, image_size_px=image_size_px, seed=seed, labels=labels)
        images = draw_all(draw, num_images, num_processes=num_processes, on_progress=on_progress)
        if labels == "one":
            _write_letters(root / "Annotations" / "label.csv", images)
        else:
            _write_table(root / "labels.csv", images)
        _write_truth(root / TRUTH_FILE, images)


def _make_folders(root: Path, labels: Labels) -> None:
    if labels == "all":
        (root / "images").mkdir(parents=True)
        return
    (root / "Annotations").mkdir(parents=True)
    for attribute in FASHIONAI_VALUES:
        (root / "Images" / f"{attribute}_labels").mkdir(parents=True)


def _draw_one(index: int, *, root: Path, image_size_px: int, seed: int, labels: Labels) -> _Written:
    """Draws and saves an image; its name is a hash, so that it does not give the value away."""
    spec = sample_spec(seed, index)
    image, truths = draw_picture(spec, image_size_px)
    labelled = spec.outfit.labelled
    name = hashlib.md5(f"{seed}/{index}".encode(), usedforsecurity=False).hexdigest()
    path = f"Images/{labelled}_labels/{name}.jpg" if labels == "one" else f"images/{name}.jpg"
    image.save(root / path, quality=JPEG_QUALITY)
    said = {
        attribute: truth.value
        for attribute, truth in truths.items()
        if truth.value is not None
        and (attribute == labelled if labels == "one" else truth.value != INVISIBLE)
    }
    return _Written(path=path, labels=said, truths=truths)


def _write_letters(file: Path, images: list[_Written]) -> None:
    """Writes FashionAI's label file: path, folder and a y at the value's position."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for image in images:
            ((labelled, value),) = image.labels.items()
            positions = ("y" if name == value else "n" for name in FASHIONAI_VALUES[labelled])
            writer.writerow([image.path, f"{labelled}_labels", "".join(positions)])


def _write_table(file: Path, images: list[_Written]) -> None:
    """Writes a row per label; paths are relative to the folder `images`."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image", "attribute", "value"])
        for image in images:
            writer.writerows([Path(image.path).name, *label] for label in image.labels.items())


def _write_truth(file: Path, images: list[_Written]) -> None:
    rows = chain.from_iterable(_truth_rows(image) for image in images)
    table = pa.Table.from_pylist(list(rows), schema=TRUTH_SCHEMA)
    files.write_table(table, file, schema=TRUTH_SCHEMA, about={"dataset": DATASET})


def _truth_rows(image: _Written) -> Iterator[dict[str, object]]:
    for attribute, truth in image.truths.items():
        edges = truth.box or (None, None, None, None)
        yield {
            "path": image.path,
            "attribute": attribute,
            "labelled": attribute in image.labels,
            "value": truth.value,
            **dict(zip(("x0", "y0", "x1", "y1"), edges, strict=True)),
        }
