"""The Ray Data job that decodes the catalog's images into the store.

One task makes one shard. Shards are keyed by content, see `keyed_parts.py`: those that still fit
are kept, and one that is made again takes over the images that it held.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.images.decode import PIXELS_VERSION, Box, UnreadableImageError, decode
from components.images.geometry import boxes_by_image
from components.images.keyed_parts import parts_by_number, remove_unnamed
from components.images.paths import fragment_of, read_bytes, without_fragment
from components.images.store import (
    Shard,
    StoredImages,
    read_reusable,
    read_shards,
    shard_file,
    shard_key,
    write_manifest,
    write_shard,
)

_IMAGES_PER_BATCH = 64  # in memory while a shard is made


class Preprocessed(NamedTuple):
    """Result of a run: the images that could not be decoded, and how many it had to decode."""

    quarantine: pa.Table
    num_decoded: int


class _Job(TypedDict):
    """A shard to make: its index and key, and number, path, content and box of its images.

    A box is written as `paths.fragment_of` does, which passes through Ray; empty: the image has
    none. `earlier` is the shard that the manifest names under that index: what it holds is taken
    over.
    """

    index: int
    key: str
    earlier: Shard | None
    image: list[int]
    path: list[str]
    sha256: list[str]
    box: list[str]


class _Made(TypedDict):
    """A shard that was made: its index, its entry of the manifest, and how much was decoded."""

    index: int
    shard: dict[str, Any]
    num_decoded: int


def preprocess(
    images: pa.Table,
    root: Path,
    store: Path,
    *,
    image_size_px: int,
    crop: str = "centre",
    boxes: pa.Table | None = None,
    images_per_shard: int,
    num_workers: int,
    on_progress: Callable[[int], None],
) -> Preprocessed:
    """Brings all images of a catalog into the store.

    Args:
        images: `tables.IMAGES`.
        root: the data root that image paths are relative to.
        store: folder of the store; shards that it holds already are kept where they still fit.
        image_size_px: side of the stored squares.
        crop: what of an image they show: `preprocess.crop`.
        boxes: `tables.BOXES`, for crop `box`.
        images_per_shard: image numbers that a shard covers.
        num_workers: Ray tasks at a time, one CPU each; 0: this process makes the shards.
        on_progress: called with the number of images done since its last call.
    """
    listed = {shard.file: shard for shard in read_shards(store) if (store / shard.file).exists()}
    box_of = boxes_by_image(boxes) if crop == "box" and boxes is not None else {}
    jobs = _jobs(
        images,
        listed,
        images_per_shard=images_per_shard,
        image_size_px=image_size_px,
        recipe=_recipe(crop),
        box_of=box_of,
    )
    shards = _present(jobs, root=root, image_size_px=image_size_px)
    on_progress(sum(len(job["image"]) for job in jobs if job["index"] in shards))
    # the manifest never names a shard that is being made: a killed run leaves no false key
    ordered = list(shards.values())
    write_manifest(store, ordered, image_size_px=image_size_px, crop=crop)
    todo = [job for job in jobs if job["index"] not in shards]
    make = partial(
        _make_shard,
        root=root.absolute(),
        store=store.absolute(),
        image_size_px=image_size_px,
        crop=crop,
    )
    num_decoded = 0
    results = _map_on_ray(make, todo, num_workers) if num_workers and todo else map(make, todo)
    for made in results:
        shards[made["index"]] = shard = Shard.from_dict(made["shard"])
        ordered = [shards[index] for index in sorted(shards)]
        write_manifest(store, ordered, image_size_px=image_size_px, crop=crop)
        num_decoded += made["num_decoded"]
        on_progress(shard.num_images + len(shard.quarantined))
    remove_unnamed(store, "shard-*", named={store / shard.file for shard in ordered})
    quarantine = tables.quarantine_table(row for shard in ordered for row in shard.quarantined)
    return Preprocessed(quarantine, num_decoded)


def _present(jobs: list[_Job], *, root: Path, image_size_px: int) -> dict[int, Shard]:
    """Returns the shards that need not be made again, by index, in the order of the jobs.

    The key must be that of the same index: it hashes contents, and image numbers go with the index.
    What a shard has in quarantine must still be unreadable: a later decoder may read more.
    """
    return {
        job["index"]: shard
        for job in jobs
        if (shard := job["earlier"])
        and shard.key == job["key"]
        and not any(_can_be_read(root / path, image_size_px) for path, _, _ in shard.quarantined)
    }


def _can_be_read(path: Path, image_size_px: int) -> bool:
    try:
        decode(read_bytes(path), image_size_px=image_size_px)
    except UnreadableImageError:
        return False
    return True


def _jobs(
    images: pa.Table,
    listed: dict[str, Shard],
    *,
    images_per_shard: int,
    image_size_px: int,
    recipe: str,
    box_of: Mapping[int, Box],
) -> list[_Job]:
    """Returns a job for every range of image numbers that holds images."""
    boxes = [fragment_of(box_of.get(image)) for image in images["image"].to_pylist()]
    contents = [*map(_content, images["sha256"].to_pylist(), boxes)]
    column = images.schema.get_field_index("sha256")
    images = images.set_column(column, "sha256", pa.array(contents, pa.string()))
    images = images.append_column("box", pa.array(boxes, pa.string()))
    jobs = []
    for index, rows in parts_by_number(images, images_per_part=images_per_shard):
        image, path, sha256, box = (
            rows[name].to_pylist() for name in ("image", "path", "sha256", "box")
        )
        key = shard_key(
            image=image, path=path, sha256=sha256, image_size_px=image_size_px, recipe=recipe
        )
        jobs.append(
            _Job(
                index=index,
                key=key,
                earlier=listed.get(shard_file(index)),
                image=image,
                path=path,
                sha256=sha256,
                box=box,
            )
        )
    return jobs


def _recipe(crop: str) -> str:
    return str(PIXELS_VERSION) if crop == "centre" else f"{PIXELS_VERSION} {crop}"


def _content(sha256: str, box: str) -> str:
    """Returns what stands for an image in keys and shards: the SHA-256 of its file.

    Where it is cropped to a box, it is another one.
    """
    return hashlib.sha256(f"{sha256}{box}".encode()).hexdigest() if box else sha256


def _map_on_ray(
    make: Callable[[_Job], _Made], jobs: list[_Job], num_workers: int
) -> Iterator[_Made]:
    import ray.data  # noqa: PLC0415 - a second that a few images in this process need not wait

    tasks = ray.data.TaskPoolStrategy(size=min(num_workers, len(jobs)))
    data = ray.data.from_items(jobs, override_num_blocks=len(jobs))
    yield from data.map(make, num_cpus=1, compute=tasks).iter_rows()


def _make_shard(job: _Job, *, root: Path, store: Path, image_size_px: int, crop: str) -> _Made:
    path, recipe = store / shard_file(job["index"]), _recipe(crop)
    held = {}
    if earlier := job["earlier"]:  # of a shard that is not listed, nobody knows whether it is whole
        held = read_reusable(path, crc32=earlier.crc32, image_size_px=image_size_px, recipe=recipe)
    quarantined: list[tuple[str, str, str]] = []
    decoded = partial(decode, image_size_px=image_size_px, crop=crop)
    batches = _batches(
        job,
        root=root,
        held=held,
        decoded=decoded,
        image_size_px=image_size_px,
        quarantined=quarantined,
    )
    crc32 = write_shard(path, batches, image_size_px=image_size_px, recipe=recipe)
    shard = {
        "file": path.name,
        "key": job["key"],
        "num_images": len(job["image"]) - len(quarantined),
        "quarantined": quarantined,
        "crc32": crc32,
    }
    num_decoded = sum(x not in held for x in zip(job["image"], job["sha256"], strict=True))
    return _Made(index=job["index"], shard=shard, num_decoded=num_decoded)


def _batches(
    job: _Job,
    *,
    root: Path,
    held: dict[tuple[int, str], NDArray[np.uint8]],
    decoded: Callable[..., NDArray[np.uint8]],
    image_size_px: int,
    quarantined: list[tuple[str, str, str]],
) -> Iterator[StoredImages]:
    """Yields the images of a shard; the next batch overwrites the pixels of the last.

    `decoded` returns the pixels of a file's bytes and a box.
    Path, reason and detail of those that cannot be decoded are appended to `quarantined`.
    """
    pixels = np.empty((_IMAGES_PER_BATCH, image_size_px, image_size_px, 3), np.uint8)
    rows = zip(job["image"], job["path"], job["sha256"], job["box"], strict=True)
    while chunk := list(islice(rows, _IMAGES_PER_BATCH)):
        stored: list[tuple[int, str]] = []
        for image, path, sha256, box in chunk:
            try:
                pixels[len(stored)] = (
                    held[image, sha256]
                    if (image, sha256) in held
                    else decoded(read_bytes(root / path), box=without_fragment(box)[1])
                )
                stored.append((image, sha256))
            except UnreadableImageError as error:
                quarantined.append((path, error.reason, error.detail))
        images, sha256s = [image for image, _ in stored], [sha256 for _, sha256 in stored]
        yield StoredImages(images, sha256s, pixels[: len(stored)])
