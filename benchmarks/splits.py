"""Time of relations, split and leak report for up to 300,000 images: it must stay linear.

    python -m benchmarks.splits

Images have one label each, as in FashionAI; one in ten is a copy, a tenth belongs to groups, and a
tenth of the perceptual hashes are near another. Then 240,000 images of 34,000 items, of street and
shop, as in Consumer-to-shop.
"""

import argparse
import time

import numpy as np
import pyarrow as pa

from benchmarks.machine import machine
from components import tables
from components.params import SplitParams
from components.sampling.leaks import find_leaks
from components.sampling.relations import related_images
from components.sampling.splits import split_labels

COUNTS = (75_000, 150_000, 300_000)
NUM_IMAGES, NUM_ITEMS = 240_000, 34_000
PARAMS = SplitParams(
    method="random",
    near_duplicates="together",
    near_duplicate_distance=2,
    seed=0,
    train_share=0.8,
    valid_share=0.1,
    test_share=0.1,
    query_share=0.2,
)


def main() -> None:
    """Prints the seconds of each part, and how the whole grows from the first to the last."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(machine())
    seconds = [time_parts(*synthetic(num_images)) for num_images in COUNTS]
    print(" images  relations  split  report  (s)")
    for num_images, parts in zip(COUNTS, seconds, strict=True):
        print(f"{num_images:7}  {parts[0]:9.2f}  {parts[1]:5.2f}  {parts[2]:6.2f}")
    growth = sum(seconds[-1]) / sum(seconds[0])
    print(f"{COUNTS[-1] / COUNTS[0]:.0f} times the images take {growth:.1f} times as long")
    parts = time_parts(*items(NUM_IMAGES, num_items=NUM_ITEMS), identity=0)
    print(f"{NUM_IMAGES} images of {NUM_ITEMS} items")
    print(f"{NUM_IMAGES:7}  {parts[0]:9.2f}  {parts[1]:5.2f}  {parts[2]:6.2f}")


def time_parts(
    images: pa.Table, labels: pa.Table, hashes: pa.Table, *, identity: int | None = None
) -> tuple[float, float, float]:
    """Returns the seconds of finding related images, of splitting, and of the leak report."""
    start = time.perf_counter()
    related = related_images(images, hashes, near_duplicate_distance=PARAMS.near_duplicate_distance)
    found = time.perf_counter()
    assigned = split_labels(images, labels, related, params=PARAMS, identity=identity)
    split = time.perf_counter()
    find_leaks(assigned.splits, related, images)
    return found - start, split - found, time.perf_counter() - split


def synthetic(num_images: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Returns images, labels and perceptual hashes."""
    rng = np.random.default_rng(0)
    number = np.arange(num_images)
    content = np.where(
        rng.random(num_images) < 0.1, rng.integers(num_images, size=num_images), number
    )
    group = np.where(
        rng.random(num_images) < 0.1, rng.integers(num_images // 40, size=num_images), -1
    )
    images = pa.table(
        {
            "image": number,
            "path": [f"{image}.jpg" for image in number],
            "bytes": np.ones(num_images, np.int64),
            "sha256": [f"{file:064x}" for file in content],
            "width": np.full(num_images, 224, np.int32),
            "height": np.full(num_images, 224, np.int32),
            "group": [None if product < 0 else str(product) for product in group],
            "domain": pa.nulls(num_images, pa.string()),
        }
    ).cast(tables.IMAGES)
    nothing = pa.nulls(num_images, pa.string())
    attribute, value = rng.integers(8, size=num_images), rng.integers(6, size=num_images)
    labels = pa.table([pa.array(number), attribute, value, nothing, nothing], tables.LABELS.names)
    hashes = rng.integers(2**64, size=num_images, dtype=np.uint64)[content]
    near = rng.random(num_images) < 0.1
    hashes[near] ^= np.uint64(1) << rng.integers(64, size=near.sum(), dtype=np.uint64)
    return (
        images,
        labels.cast(tables.LABELS),
        pa.table([pa.array(number), hashes], tables.IMAGE_HASHES.names),
    )


def items(num_images: int, *, num_items: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Returns images of items, labels of item and category, and perceptual hashes."""
    rng = np.random.default_rng(0)
    images, _, hashes = synthetic(num_images)
    item = rng.integers(num_items, size=num_images)
    domain = np.where(rng.random(num_images) < 0.2, "shop", "street")
    columns = {name: images[name] for name in images.column_names}
    columns |= {"group": item.astype(str), "domain": domain}
    number, nothing = np.arange(num_images), pa.nulls(2 * num_images, pa.string())
    attribute, value = np.repeat([0, 1], num_images), np.concatenate([item, item % 20])
    labels = pa.table(
        [pa.array(np.tile(number, 2)), attribute, value, nothing, nothing], tables.LABELS.names
    )
    return pa.table(columns).cast(tables.IMAGES), labels.cast(tables.LABELS), hashes


if __name__ == "__main__":
    main()
