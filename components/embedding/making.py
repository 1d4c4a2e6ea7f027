"""Parts of embeddings while they are made, and the manifest when all of them are.

Shape letters: n images of a batch, S side in pixels, K attributes, D embedding.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    MANIFEST,
    Embeddings,
    Numbers,
    Part,
    part_path,
    read_vectors,
    write_embeddings,
)
from components.embedding.part_files import (
    Recipe,
    held_earlier,
    is_complete,
    read_record,
    record_path,
    remove_unnamed,
    take_older_layout,
    take_prototypes,
    write_part,
    written_checksums,
)
from components.embedding.source import Reader, Source
from components.errors import HemlineError
from components.images.keyed_parts import content_key, parts_by_number
from components.params import Storage

OnProgress = Callable[[int], None]
"""Called with the number of images done since its last call."""

TO_READ = pa.schema([("part", pa.string()), ("image", pa.int64()), ("address", pa.string())])
"""A batch on its way to a reader; all its images are of one part.

part is the part's key, address what the reader takes.
"""

_READ = pa.schema(
    {"part": pa.string(), "image": pa.int64(), "reason": pa.string(), "detail": pa.string()}
)


def read_schema(image_size_px: int) -> pa.Schema:
    """Returns the schema of a batch that was read, on its way to an actor.

    Images that could not be read have a reason and a detail, as in `tables.QUARANTINE`, and pixels
    of zeros; others have nulls.
    """
    pixels_type = pa.fixed_shape_tensor(pa.uint8(), (image_size_px, image_size_px, 3))
    return _READ.append(pa.field("pixels", pixels_type))


def embedded_schema(num_attributes: int, embedding_dim: int, *, storage: Storage) -> pa.Schema:
    """Returns the schema of a batch that was embedded: embeddings [K, D] in place of pixels."""
    shape = (num_attributes, embedding_dim)
    embedding_type = pa.fixed_shape_tensor(pa.from_numpy_dtype(storage), shape)
    return _READ.append(pa.field("embedding", embedding_type))


Embed = Callable[[list[pa.Table], Reader, Recipe], Iterator[pa.Table]]
"""Takes batches of `TO_READ`, yields them as `embedded_schema` in any order."""


@dataclass(frozen=True, kw_only=True)
class PlannedPart:
    """A part that the embeddings will have, and whether it is on disk already.

    `key` is the part's index and a hash of its images and of the recipe; `items` its images:
    `tables.EMBEDDED_ITEMS` and the `address` that the reader takes.
    """

    key: str
    items: pa.Table
    is_done: bool


def plan_parts(
    source: Source, out: Path, *, recipe: Recipe, images_per_part: int
) -> list[PlannedPart]:
    """Returns all parts that the embeddings in `out` will have."""
    take_older_layout(out)
    names = tables.EMBEDDED_ITEMS.names
    addresses = pa.array(source.addresses, pa.string())
    items = source.items.select(names).append_column("address", addresses)
    parts = []
    for index, rows in parts_by_number(items, images_per_part=images_per_part):
        columns = [json.dumps(rows[name].to_pylist()) for name in names]
        key = f"{index:05d}-{content_key([recipe.digest, *columns])[:16]}"
        is_done = is_complete(out, key, attributes=recipe.attributes)
        parts.append(PlannedPart(key=key, items=rows, is_done=is_done))
    return parts


def make_parts(
    source: Source,
    plans: Sequence[PlannedPart],
    out: Path,
    *,
    recipe: Recipe,
    embed: Embed,
    batch_size: int,
    on_progress: OnProgress,
    prototypes: Path | None = None,
) -> Embeddings:
    """Embeds what is left of `plans`, all parts of the embeddings; writes the manifest last.

    `prototypes` is the file of the model's prototypes; it is copied beside the items.

    Raises:
        HemlineError: no image can be read.
    """
    making = {plan.key: _PartInMaking(plan, out, recipe) for plan in plans if not plan.is_done}
    batches = [batch for part in making.values() for batch in part.batches(batch_size)]
    on_progress(sum(len(plan.items) for plan in plans) - sum(map(len, batches)))
    for key in [key for key, part in making.items() if part.is_complete]:
        making.pop(key).write()  # earlier parts hold all its images
    for batch in embed(batches, source.reader, recipe) if batches else ():
        key = batch["part"][0].as_py()
        making[key].add(batch)
        on_progress(len(batch))
        if making[key].is_complete:
            making.pop(key).write()
    assert not making, "every batch comes back"
    take_prototypes(prototypes, out)
    return _conclude(source, plans, out, recipe=recipe)


class _PartInMaking:
    """A part that takes batches in any order until it is complete."""

    def __init__(self, plan: PlannedPart, out: Path, recipe: Recipe) -> None:
        self._key, self._out, self._recipe = plan.key, out, recipe
        self._items = plan.items
        self._held = held_earlier(plan.items, out, plan.key, recipe=recipe)
        self._missing = {*plan.items["image"].to_pylist()} - self._held.keys()
        self._embeddings: dict[int, Numbers] = {}
        self._reasons: dict[int, tuple[str, str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether it can be written."""
        return not self._missing

    def batches(self, batch_size: int) -> Iterator[pa.Table]:
        """Yields what is to be embedded, as `TO_READ`."""
        missing = pa.array(sorted(self._missing), pa.int64())
        rows = self._items.filter(pc.is_in(self._items["image"], missing))
        columns = [pa.repeat(self._key, len(rows)), rows["image"], rows["address"]]
        table = pa.table(columns, schema=TO_READ)
        for start in range(0, len(table), batch_size):
            yield table.slice(start, batch_size)

    def add(self, batch: pa.Table) -> None:
        """Takes a batch of `embedded_schema`; idempotent."""
        # a copy: a view would keep the batch in Ray's object store until the part is written
        embeddings_nKD = batch["embedding"].combine_chunks().to_numpy_ndarray().copy()
        columns = [batch[name].to_pylist() for name in ("image", "reason", "detail")]
        for image, reason, detail, embedding_KD in zip(*columns, embeddings_nKD, strict=True):
            self._missing.discard(image)
            if reason:
                self._reasons[image] = (reason, detail)
            else:
                self._embeddings[image] = embedding_KD

    def write(self) -> None:
        """Writes the part."""
        for key in {key for key, _ in self._held.values()}:
            crc32 = written_checksums(self._out, key)
            parts = [
                read_vectors(part_path(self._out, name, key), crc32=crc32.get(name))
                for name in self._recipe.attributes
            ]
            vectors = np.stack([part.embeddings_nD for part in parts], axis=1)
            self._embeddings |= {
                image: vectors[row] for image, (part, row) in self._held.items() if part == key
            }
        images = self._items["image"].to_pylist()
        why = [self._reasons.get(image, (None, None)) for image in images]
        columns = [*self._items.drop_columns("address").columns, *zip(*why, strict=True)]
        record = pa.table(columns, schema=tables.EMBEDDING_RECORD)
        embedded = [self._embeddings[image] for image in images if image in self._embeddings]
        vectors_mKD = np.stack(embedded) if embedded else None
        write_part(self._out, self._key, record, vectors_mKD, recipe=self._recipe)


def _conclude(
    source: Source, plans: Sequence[PlannedPart], out: Path, *, recipe: Recipe
) -> Embeddings:
    """Writes items, quarantine and manifest, and removes what they do not name."""
    records = {plan.key: read_record(out, plan.key) for plan in plans}
    everything = pa.concat_tables(records.values())
    unread = everything.filter(pc.is_valid(everything["reason"]))
    if len(unread) == len(everything):
        raise HemlineError(f"no image can be read; first: {unread.slice(0, 1).to_pylist()[0]}")
    embedded = pc.is_null(everything["reason"])
    files.write_table(source.items.filter(embedded), out / ITEMS, schema=source.items.schema)
    quarantined = zip(*(unread[name].to_pylist() for name in tables.QUARANTINE.names), strict=True)
    tables.write_quarantine(tables.quarantine_table(quarantined), out)
    parts = tuple(
        Part(key=key, num_images=record["reason"].null_count) for key, record in records.items()
    )
    attributes = tuple(recipe.attributes)
    key = next(part.key for part in parts if part.num_images)
    crc32 = _checksums(records, out, kept={plan.key for plan in plans if plan.is_done})
    first_path = part_path(out, attributes[0], key)
    first = read_vectors(first_path, crc32=crc32.get(first_path.relative_to(out).as_posix()))
    embeddings = Embeddings(
        folder=out,
        model_name=recipe.model_name,
        model_version=recipe.model_version,
        model_sha256=recipe.model_sha256,
        precision=recipe.precision,
        attributes=attributes,
        embedding_dim=first.embeddings_nD.shape[1],
        root=source.root,
        digest=content_key(
            json.dumps(source.items[name].to_pylist()) for name in ("path", "content")
        ),
        num_quarantined=len(unread),
        parts=parts,
        crc32=crc32,
        storage=recipe.storage,
        layout=LAYOUT,
    )
    write_embeddings(embeddings)
    remove_unnamed(out, records, attributes=attributes)
    return embeddings


def _checksums(records: Iterable[str], out: Path, *, kept: Collection[str]) -> dict[str, str]:
    """Returns the checksums of files by their paths in `out`, as they were when written.

    Those of vectors are in the records of their parts, given by key; those of records that were
    kept are in the earlier manifest, if it was written by then.
    """
    earlier = {}
    if (out / MANIFEST).exists():
        earlier = files.read_json(out / MANIFEST).get("crc32", {})
    whole = (ITEMS, tables.QUARANTINE_FILE, tables.PROTOTYPES_FILE)
    checksums = {name: files.checksum(out / name) for name in whole if (out / name).exists()}
    for key in records:
        for attribute, crc32 in written_checksums(out, key).items():
            checksums[part_path(out, attribute, key).relative_to(out).as_posix()] = crc32
        record = record_path(out, key)
        name = record.relative_to(out).as_posix()
        is_known = key in kept and name in earlier
        checksums[name] = earlier[name] if is_known else files.checksum(record)
    return checksums
