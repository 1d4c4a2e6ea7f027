"""Parts of embeddings: planned, made as far as they are missing, and named by the manifest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from components import files, tables
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
    WrittenPart,
    is_complete,
    read_part,
    record_path,
    remove_unnamed,
    take_prototypes,
)
from components.embedding.source import Source
from components.embedding.writing import PlannedPart, Work, Write
from components.errors import DamagedFileError, HemlineError
from components.images.keyed_parts import content_key, parts_by_number

OnProgress = Callable[[int], None]
"""Called with the number of images done since its last call."""


def plan_parts(
    source: Source, out: Path, *, recipe: Recipe, images_per_part: int
) -> list[PlannedPart]:
    """Returns all parts that the embeddings in `out` will have."""
    take_older_layout(out)
    names = tables.EMBEDDED_ITEMS.names
    items = source.items.select(names).append_column("address", source.addresses)
    parts = []
    for index, rows in parts_by_number(items, images_per_part=images_per_part):
        made_from = content_key([recipe.digest, *rows.select(names).columns])
        key = f"{index:05d}-{made_from[:16]}"
        is_done = is_complete(out, key, attributes=recipe.attributes)
        parts.append(PlannedPart(key=key, items=rows, is_done=is_done))
    return parts


def make_parts(
    source: Source,
    plans: Sequence[PlannedPart],
    out: Path,
    *,
    recipe: Recipe,
    write: Write,
    batch_size: int,
    on_progress: OnProgress,
    prototypes: Path | None = None,
    earlier: Sequence[Path] = (),
) -> Embeddings:
    """Makes what is left of `plans`, all parts of the embeddings; writes the manifest last.

    `prototypes` is the file of the model's prototypes; it is copied beside the items. `earlier` are
    folders of other embeddings: what these hold, or what `out` holds, is not embedded again.

    Raises:
        HemlineError: no image can be read, or a file that is taken over is damaged.
    """
    work = Work(
        out=out,
        recipe=recipe,
        reader=source.reader,
        batch_size=batch_size,
        earlier=find_earlier(recipe, out, earlier),
    )
    left = [plan for plan in plans if not plan.is_done]
    on_progress(sum(len(plan.items) for plan in plans if plan.is_done))
    written: dict[str, WrittenPart] = {}
    for done in write(left, work) if left else ():
        if done.num_images:
            on_progress(done.num_images)
        if done.part is not None:
            written[done.key] = done.part
    assert len(written) == len(left), "every part is written"
    written |= _kept([plan.key for plan in plans if plan.is_done], out)
    take_prototypes(prototypes, out)
    ordered = {plan.key: written[plan.key] for plan in plans}
    return _conclude(source, plans, ordered, out, recipe=recipe)


def _kept(keys: Sequence[str], out: Path) -> dict[str, WrittenPart]:
    """Returns parts that were complete before, with the checksums of the earlier manifest.

    A manifest that is damaged says nothing, and will be replaced.
    """
    crc32: dict[str, str] = {}
    if (out / MANIFEST).exists():
        with suppress(DamagedFileError):
            crc32 = files.read_json(out / MANIFEST).get("crc32", {})
    names = {key: record_path(out, key).relative_to(out).as_posix() for key in keys}
    return {key: read_part(out, key, record_crc32=crc32.get(names[key])) for key in keys}


def _conclude(
    source: Source,
    plans: Sequence[PlannedPart],
    written: Mapping[str, WrittenPart],
    out: Path,
    *,
    recipe: Recipe,
) -> Embeddings:
    """Writes items, quarantine and manifest, and removes what they do not name."""
    unread = pa.concat_tables(part.unread for part in written.values())
    if len(unread) == len(source.items):
        raise HemlineError(f"no image can be read; first: {unread.slice(0, 1).to_pylist()[0]}")
    embedded = pa.concat_tables(_embedded(source.items, plans, written))
    files.write_table(embedded, out / ITEMS, schema=source.items.schema)
    quarantined = zip(*(unread[name].to_pylist() for name in tables.QUARANTINE.names), strict=True)
    tables.write_quarantine(tables.quarantine_table(quarantined), out)
    parts = tuple(Part(key=key, num_images=part.num_images) for key, part in written.items())
    attributes = tuple(recipe.attributes)
    key = next(part.key for part in parts if part.num_images)
    crc32 = _checksums(written, out)
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
        digest=content_key(source.items[name] for name in ("path", "content")),
        num_quarantined=len(unread),
        parts=parts,
        crc32=crc32,
        storage=recipe.storage,
        layout=LAYOUT,
        ancestors=recipe.ancestors,
    )
    write_embeddings(embeddings)
    remove_unnamed(out, written, attributes=attributes)
    return embeddings


def _embedded(
    items: pa.Table, plans: Sequence[PlannedPart], written: Mapping[str, WrittenPart]
) -> Iterator[pa.Table]:
    """Yields the items that are embedded, part by part; without a copy where all of a part are."""
    start = 0
    for plan in plans:
        of_part = items.slice(start, len(plan.items))
        start += len(of_part)
        unread = written[plan.key].unread["image"]
        is_read = np.isin(of_part["image"], unread, invert=True)
        yield of_part.filter(is_read) if len(unread) else of_part


def _checksums(written: Mapping[str, WrittenPart], out: Path) -> dict[str, str]:
    """Returns the checksums of files by their paths in `out`, as they were when written."""
    whole = (ITEMS, tables.QUARANTINE_FILE, tables.PROTOTYPES_FILE)
    checksums = {name: files.checksum(out / name) for name in whole if (out / name).exists()}
    for key, part in written.items():
        crc32 = {part_path(out, name, key): crc32 for name, crc32 in part.crc32.items()}
        for path, value in {**crc32, record_path(out, key): part.record_crc32}.items():
            checksums[path.relative_to(out).as_posix()] = value
    return checksums
