"""CPU seconds of ingest and split for 240,000 images of 34,000 items, apart from hashing the files.

    python -m benchmarks.items

The table has an item, a domain, a box, eight landmarks and a category an image. Files are a picture
each of a few hundred bytes, with content of its own; hashing them is timed by itself, and taken
off. What is left runs on one core and should take less than 30 s.
"""

import argparse
import hashlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.machine import machine
from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.read import read_labels
from components.images.decode import image_size
from components.images.paths import file_inside, read_bytes
from components.params import SplitParams
from components.sampling.relations import related_images
from components.sampling.splits import split_labels

NUM_LANDMARKS = 8
SIDE_PX = 64


def main() -> None:
    """Prints the seconds of each step, and the size of the schema."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240_000)
    parser.add_argument("--items", type=int, default=34_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        paths = write_data_set(root, num_images=arguments.images, num_items=arguments.items)
        start = time.process_time()
        with ThreadPoolExecutor() as pool:
            list(pool.map(partial(look_at, root), paths))
        hashing = time.process_time() - start
        start = time.process_time()
        labelled = read_labels(root, data_format="table")
        reading = time.process_time() - start
        catalog = build_catalog(labelled, root, exclude_attributes=())
        building = time.process_time() - start - reading - hashing
        start = time.process_time()
        tables.write_catalog(catalog, root / "catalog")
        writing = time.process_time() - start
        schema_bytes = (root / "catalog" / tables.SCHEMA_FILE).stat().st_size
        splitting = time_split(catalog)
    print(machine())
    print(
        f"{arguments.images} images of {arguments.items} items, {catalog.landmarks.num_rows} points"
    )
    print(f"hashing and headers {hashing:6.1f} s")
    print(f"reading the table   {reading:6.1f} s")
    print(f"building            {building:6.1f} s beside hashing")
    print(f"writing             {writing:6.1f} s, schema.json {schema_bytes} bytes")
    print(f"split and roles     {splitting:6.1f} s")


def write_data_set(root: Path, *, num_images: int, num_items: int) -> list[str]:
    """Writes files and their table, and returns the paths."""
    picture = BytesIO()
    Image.new("RGB", (SIDE_PX, SIDE_PX)).save(picture, "PNG")
    paths = [f"{image % 1000}/{image}.png" for image in range(num_images)]
    for folder in range(min(1000, num_images)):
        (root / str(folder)).mkdir()
    for image, path in enumerate(paths):
        (root / path).write_bytes(picture.getvalue() + image.to_bytes(8))  # behind its end
    rng = np.random.default_rng(0)
    item = rng.integers(num_items, size=num_images)
    columns = {
        "image": paths,
        "item": [f"id_{number:08d}" for number in item],
        "domain": np.where(rng.random(num_images) < 0.2, "shop", "street"),
        "category": [f"category {number % 20}" for number in item],
    }
    low, high = (
        rng.integers(0, SIDE_PX // 2, (2, num_images)),
        rng.integers(33, 64, (2, num_images)),
    )
    edges = ("left", "top", "right", "bottom")
    columns |= dict(zip([f"box_{edge}" for edge in edges], (*low, *high), strict=True))
    for landmark in range(NUM_LANDMARKS):
        columns |= {
            f"landmark_{landmark}_x": rng.integers(SIDE_PX, size=num_images),
            f"landmark_{landmark}_y": rng.integers(SIDE_PX, size=num_images),
            f"landmark_{landmark}_visibility": rng.choice(tables.VISIBILITIES, num_images),
        }
    pq.write_table(pa.table(columns), root / "labels.parquet")
    return paths


def look_at(root: Path, path: str) -> tuple[str, tuple[int, int]]:
    """Returns hash and size of a picture, as cataloguing it does."""
    data = read_bytes(file_inside(root, path))
    return hashlib.sha256(data).hexdigest(), image_size(data)


def time_split(catalog: tables.Catalog) -> float:
    """Returns the seconds of finding related images and of splitting them with their roles."""
    hashes = pa.table(
        {
            "image": catalog.images["image"],
            "perceptual_hash": np.random.default_rng(1).integers(
                2**64, size=catalog.images.num_rows, dtype=np.uint64
            ),
        }
    )
    params = SplitParams()
    start = time.process_time()
    related = related_images(
        catalog.images, hashes, near_duplicate_distance=params.searched_distance
    )
    identity = catalog.schema.identity
    split_labels(catalog.images, catalog.labels, related, params=params, identity=identity)
    return time.process_time() - start


if __name__ == "__main__":
    main()
