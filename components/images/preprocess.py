"""The Ray Data job that decodes the catalog's images into the store.

One task makes one shard. A shard that is there with its key is not made again, so that a run that
was killed goes on where it stopped. A shard that must be made again takes over the images that it
held already, so that new and changed images alone are decoded.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from components import tables
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.images.store import (
    Shard,
    StoredImages,
    read_reusable,
    read_shards,
    remove_unnamed,
    shard_file,
    shard_key,
    write_manifest,
    write_shard,
)

RECIPE = "2"  # raise it when decode.py gives other pixels: all shards are then made anew
_IMAGES_PER_BATCH = 64  # in memory while a shard is made


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
    making = _Making(
        root=root,
        held=read_reusable(path, image_size_px=image_size_px, recipe=RECIPE),
        image_size_px=image_size_px,
    )
    write_shard(path, making.batches(job), image_size_px=image_size_px, recipe=RECIPE)
    num_images = len(job["image"])
    shard = {
        "file": path.name,
        "key": job["key"],
        "num_images": num_images - len(making.quarantined),
        "quarantined": making.quarantined,
    }
    return {
        "index": job["index"],
        "num_images": num_images,
        "num_decoded": making.num_decoded,
        "shard": shard,
    }


class _Making:
    """Brings the images of a shard together, and counts on the way.

    Attributes:
        num_decoded: images that the shard did not hold before.
        quarantined: path, reason and detail of those that could not be decoded.
    """

    def __init__(
        self, *, root: Path, held: dict[tuple[int, str], NDArray[np.uint8]], image_size_px: int
    ) -> None:
        self._root = root
        self._held = held
        self._image_size_px = image_size_px
        self.num_decoded = 0
        self.quarantined: list[tuple[str, str, str]] = []

    def batches(self, job: dict[str, Any]) -> Iterator[StoredImages]:
        """Yields the images of a shard; the next batch overwrites the pixels of the last."""
        shape = (_IMAGES_PER_BATCH, self._image_size_px, self._image_size_px, 3)
        pixels = np.empty(shape, np.uint8)
        rows = zip(job["image"], job["path"], job["sha256"], strict=True)
        while chunk := list(islice(rows, _IMAGES_PER_BATCH)):
            stored: list[tuple[int, str]] = []
            for image, path, sha256 in chunk:
                try:
                    pixels[len(stored)] = self._pixels_of(image, path, sha256)
                    stored.append((image, sha256))
                except UnreadableImageError as error:
                    self.quarantined.append((path, error.reason, error.detail))
            images, sha256s = [image for image, _ in stored], [sha256 for _, sha256 in stored]
            yield StoredImages(images, sha256s, pixels[: len(stored)])

    def _pixels_of(self, image: int, path: str, sha256: str) -> NDArray[np.uint8]:
        if (image, sha256) in self._held:
            return self._held[image, sha256]
        self.num_decoded += 1
        return decode(read_bytes(self._root / path), image_size_px=self._image_size_px)
