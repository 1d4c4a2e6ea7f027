"""Parts of embeddings: planned, made as far as they are missing, and named by the manifest."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.embedding.batches import Embed
from components.embedding.earlier import find_earlier, take_older_layout
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    MANIFEST,
    Embeddings,
    Part,
    part_path,
    read_vectors,
    write_embeddings,
)
from components.embedding.part_files import (
    Recipe,
    is_complete,
    read_record,
    record_path,
    remove_unnamed,
    take_prototypes,
    written_checksums,
)
from components.embedding.part_in_making import PartInMaking
from components.embedding.source import Source
from components.errors import HemlineError
from components.images.keyed_parts import content_key, parts_by_number

OnProgress = Callable[[int], None]
"""Called with the number of images done since its last call."""


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
    earlier: Sequence[Path] = (),
) -> Embeddings:
    """Embeds what is left of `plans`, all parts of the embeddings; writes the manifest last.

    `prototypes` is the file of the model's prototypes; it is copied beside the items. `earlier` are
    folders of other embeddings: what these hold, or what `out` holds, is not embedded again.

    Raises:
        HemlineError: no image can be read, or a file that is taken over is damaged.
    """
    where = find_earlier(recipe, out, earlier)
    making = {
        plan.key: PartInMaking(plan.key, plan.items, out, recipe=recipe, earlier=where)
        for plan in plans
        if not plan.is_done
    }
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
        runtime=recipe.runtime,
        quantised=recipe.quantised,
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
        ancestors=recipe.ancestors,
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
