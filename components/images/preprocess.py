"""The Ray Data job that decodes the catalog's images into the store.

One task makes one shard. A shard that is there with its key is not made again, so that a run that
was killed goes on where it stopped, and new images alone are decoded.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from components import tables
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.images.store import (
    Shard,
    read_shards,
    shard_file,
    shard_key,
    write_manifest,
    write_shard,
)

RECIPE = "1"  # raise it when decode.py gives other pixels: all shards are then made anew


def preprocess(
    images: pa.Table,
    root: Path,
    store: Path,
    *,
    image_size_px: int,
    images_per_shard: int,
    num_workers: int,
    on_progress: Callable[[int], None],
) -> pa.Table:
    """Decodes all images of a catalog into the store and returns the quarantine of this step.

    Args:
        images: the catalog's images.
        root: the data root that image paths are relative to.
        store: folder of the store; shards that it holds already are kept where they still fit.
        image_size_px: side of the stored squares.
        images_per_shard: image numbers that a shard covers.
        num_workers: tasks at a time, one CPU each.
        on_progress: called with the number of images done since its last call.
    """
    jobs = [
        _job(images.slice(first, images_per_shard), index, image_size_px=image_size_px)
        for index, first in enumerate(range(0, images.num_rows, images_per_shard))
    ]
    present = {shard.key: shard for shard in read_shards(store) if (store / shard.file).exists()}
    shards = {job["index"]: present[job["key"]] for job in jobs if job["key"] in present}
    on_progress(sum(len(jobs[index]["image"]) for index in shards))
    todo = [job for job in jobs if job["index"] not in shards]
    if todo:
        store.mkdir(parents=True, exist_ok=True)
        make = partial(
            _make_shard, root=root.absolute(), store=store.absolute(), image_size_px=image_size_px
        )
        results = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
            make, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=num_workers)
        )
        for row in results.iter_rows():
            shards[row["index"]] = Shard.from_dict(row["shard"])
            on_progress(len(jobs[row["index"]]["image"]))
    ordered = [shards[index] for index in sorted(shards)]
    write_manifest(store, ordered, image_size_px=image_size_px)
    return tables.quarantine_table(row for shard in ordered for row in shard.quarantined)


def check_quarantined_share(
    num_quarantined: int, num_images: int, *, allowed: float, where: Path
) -> None:
    """Raises a HemlineError when a larger share of the images than allowed was left out."""
    share = num_quarantined / max(num_images, 1)
    if share > allowed:
        raise HemlineError(
            f"{num_quarantined} of {num_images} images ({share:.1%}) cannot be used, allowed are "
            f"{allowed:.1%} (data.max_quarantined_share); {where} lists them with their reasons"
        )


def _job(images: pa.Table, index: int, *, image_size_px: int) -> dict[str, Any]:
    sha256s = images["sha256"].to_pylist()
    return {
        "index": index,
        "key": shard_key(sha256s, image_size_px=image_size_px, recipe=RECIPE),
        "image": images["image"].to_pylist(),
        "path": images["path"].to_pylist(),
    }


def _make_shard(
    job: dict[str, Any], *, root: Path, store: Path, image_size_px: int
) -> dict[str, Any]:
    images, pixels, quarantined = [], [], []
    for image, path in zip(job["image"], job["path"], strict=True):
        try:
            pixels.append(decode(read_bytes(root / path), image_size_px=image_size_px))
            images.append(image)
        except UnreadableImageError as error:
            quarantined.append((path, error.reason, error.detail))
    file = shard_file(job["index"])
    shape = (len(images), image_size_px, image_size_px, 3)
    stacked = np.concatenate(pixels).reshape(shape) if pixels else np.empty(shape, np.uint8)
    write_shard(store / file, np.array(images, np.int64), stacked)
    shard = {
        "file": file,
        "key": job["key"],
        "num_images": len(images),
        "quarantined": quarantined,
    }
    return {"index": job["index"], "shard": shard}
