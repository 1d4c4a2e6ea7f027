"""The Ray Data job that decodes the catalog's images into the store.

One task makes one shard. A shard that is there with its key is not made again, so that a run that
was killed goes on where it stopped. A shard that must be made again takes over the images that it
held already, so that new and changed images alone are decoded.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray

from components import tables
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.images.store import (
    Shard,
    read_reusable,
    read_shards,
    remove_unnamed,
    shard_file,
    shard_key,
    write_manifest,
    write_shard,
)

RECIPE = "2"  # raise it when decode.py gives other pixels: all shards are then made anew


class Preprocessed(NamedTuple):
    """What a run did: the images that could not be decoded, and how many it had to decode."""

    quarantine: pa.Table
    num_decoded: int


def preprocess(
    images: pa.Table,
    root: Path,
    store: Path,
    *,
    image_size_px: int,
    images_per_shard: int,
    num_workers: int,
    on_progress: Callable[[int], None],
) -> Preprocessed:
    """Brings all images of a catalog into the store.

    Args:
        images: the catalog's images.
        root: the data root that image paths are relative to.
        store: folder of the store; shards that it holds already are kept where they still fit.
        image_size_px: side of the stored squares.
        images_per_shard: image numbers that a shard covers.
        num_workers: tasks at a time, one CPU each.
        on_progress: called with the number of images done since its last call.
    """
    jobs = _jobs(images, images_per_shard=images_per_shard, image_size_px=image_size_px)
    shards = _present(store, jobs)
    on_progress(sum(len(job["image"]) for job in jobs if job["index"] in shards))
    # the manifest never names a shard that is being made: a killed run leaves no false key
    write_manifest(store, _ordered(shards), image_size_px=image_size_px)
    todo = [job for job in jobs if job["index"] not in shards]
    num_decoded = 0
    if todo:
        make = partial(
            _make_shard, root=root.absolute(), store=store.absolute(), image_size_px=image_size_px
        )
        tasks = ray.data.TaskPoolStrategy(size=min(num_workers, len(todo)))
        results = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
            make, num_cpus=1, compute=tasks
        )
        for row in results.iter_rows():
            shards[row["index"]] = Shard.from_dict(row["shard"])
            write_manifest(store, _ordered(shards), image_size_px=image_size_px)
            num_decoded += row["num_decoded"]
            on_progress(row["num_images"])
    ordered = _ordered(shards)
    remove_unnamed(store, ordered)
    quarantine = tables.quarantine_table(row for shard in ordered for row in shard.quarantined)
    return Preprocessed(quarantine, num_decoded)


def _present(store: Path, jobs: list[dict[str, Any]]) -> dict[int, Shard]:
    """Returns the shards that need not be made again, by index.

    The key must be that of the same index: it hashes contents, and image numbers go with the index.
    """
    listed = {shard.file: shard for shard in read_shards(store) if (store / shard.file).exists()}
    there = {job["index"]: listed.get(shard_file(job["index"])) for job in jobs}
    keys = {job["index"]: job["key"] for job in jobs}
    return {index: shard for index, shard in there.items() if shard and shard.key == keys[index]}


def _ordered(shards: dict[int, Shard]) -> list[Shard]:
    return [shards[index] for index in sorted(shards)]


def _jobs(images: pa.Table, *, images_per_shard: int, image_size_px: int) -> list[dict[str, Any]]:
    """Returns a job for every range of image numbers that holds images."""
    index = images["image"].to_numpy() // images_per_shard
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    ends = np.append(starts, len(index))[1:]
    return [
        _job(images.slice(start, end - start), int(index[start]), image_size_px=image_size_px)
        for start, end in zip(starts, ends, strict=True)
    ]


def _job(images: pa.Table, index: int, *, image_size_px: int) -> dict[str, Any]:
    columns = images.select(["image", "path", "sha256"]).to_pydict()
    key = shard_key(**columns, image_size_px=image_size_px, recipe=RECIPE)
    return {"index": index, "key": key, **columns}


def _make_shard(
    job: dict[str, Any], *, root: Path, store: Path, image_size_px: int
) -> dict[str, Any]:
    path = store / shard_file(job["index"])
    held = read_reusable(path, image_size_px=image_size_px, recipe=RECIPE)
    pixels = np.empty((len(job["image"]), image_size_px, image_size_px, 3), np.uint8)
    stored: list[tuple[int, str]] = []
    quarantined: list[tuple[str, str, str]] = []
    num_decoded = 0
    for image, file, sha256 in zip(job["image"], job["path"], job["sha256"], strict=True):
        known = held.get((image, sha256))
        num_decoded += known is None
        try:
            pixels[len(stored)] = (
                decode(read_bytes(root / file), image_size_px=image_size_px)
                if known is None
                else known
            )
            stored.append((image, sha256))
        except UnreadableImageError as error:
            quarantined.append((file, error.reason, error.detail))
    write_shard(
        path,
        np.array([image for image, _ in stored], np.int64),
        pixels[: len(stored)],
        sha256s=[sha256 for _, sha256 in stored],
        recipe=RECIPE,
    )
    shard = {
        "file": path.name,
        "key": job["key"],
        "num_images": len(stored),
        "quarantined": quarantined,
    }
    num_images = len(job["image"])
    return {
        "index": job["index"],
        "num_images": num_images,
        "num_decoded": num_decoded,
        "shard": shard,
    }
