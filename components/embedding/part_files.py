"""The files of a part of the embeddings.

Every part has a record of its images, `parts/part-<key>.parquet`, which is written last: a part
with a record is complete. Parts are keyed by content, see `images/keyed_parts.py`.

Shape letters: m images of a part that could be read; D embedding.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    MANIFEST,
    VECTORS,
    Embeddings,
    Numbers,
    check_file,
    part_path,
    read_embeddings,
)
from components.errors import HemlineError
from components.images import keyed_parts
from components.images.decode import PIXELS_VERSION
from components.params import Storage
from components.registry.package import Ancestor, Lineage

_RECORDS = "parts"
_ASIDE = "writing-"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that an embedding is made from, besides its image; fields as in `Embeddings`.

    `attributes` has the number of each in the model's schema. `ancestors` are no part of it: they
    say who makes the same.
    """

    model_name: str
    model_version: int
    model_sha256: str
    image_size_px: int
    attributes: dict[str, int]
    precision: str
    runtime: str = "torch"
    quantised: str | None = None
    storage: Storage = "float16"
    crop: str = "centre"
    ancestors: tuple[Ancestor, ...] = ()

    @property
    def lineage(self) -> Lineage:
        """The model, and whose embeddings it shares."""
        return Lineage(
            graph_sha256=self.model_sha256,
            attributes=tuple(self.attributes),
            ancestors=self.ancestors,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all but ancestors, and of how images become pixels."""
        made_from = asdict(self) | {"pixels": PIXELS_VERSION}
        del made_from["ancestors"]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def record_path(folder: Path, key: str) -> Path:
    """Returns the path of a part's record."""
    return folder / _RECORDS / f"part-{key}.parquet"


def new_scratch_path(folder: Path) -> Path:
    """Returns a path for what a run needs while it lasts; `remove_unnamed` removes leftovers."""
    (folder / _RECORDS).mkdir(parents=True, exist_ok=True)
    return folder / _RECORDS / f".{uuid4().hex}.tmp"


def read_record(folder: Path, key: str) -> pa.Table:
    """Returns `tables.EMBEDDING_RECORD` of a part."""
    return files.read_table(record_path(folder, key), schema=tables.EMBEDDING_RECORD)


def written_checksums(folder: Path, key: str) -> dict[str, str]:
    """Returns the checksums of a part's vectors by attribute; an older hemline wrote none."""
    about = files.read_about(record_path(folder, key), schema=tables.EMBEDDING_RECORD)
    checksums: dict[str, str] = about.get("crc32", {})
    return checksums


def is_complete(
    folder: Path, key: str, *, attributes: Collection[str], layout: int = LAYOUT
) -> bool:
    """Returns whether a part has all its files; one without readable images has a record only."""
    if not record_path(folder, key).exists():
        return False
    if all(part_path(folder, name, key, layout=layout).exists() for name in attributes):
        return True
    return read_record(folder, key)["reason"].null_count == 0


def numbered_images(folder: Path) -> pa.Table:
    """Returns the images that embeddings were made from, unreadable ones included.

    `tables.EMBEDDING_RECORD`; empty where there are no embeddings.
    """
    parts = read_embeddings(folder).parts if (folder / MANIFEST).exists() else ()
    records = [read_record(folder, part.key) for part in parts]
    return pa.concat_tables([tables.EMBEDDING_RECORD.empty_table(), *records])


@dataclass(frozen=True, kw_only=True)
class WrittenPart:
    """What the manifest says of a part that is complete.

    Attributes:
        num_images: how many are embedded.
        unread: the record's rows of the others.
        crc32: checksums of its vectors, by attribute; an older hemline wrote none.
        record_crc32: that of its record.
    """

    num_images: int
    unread: pa.Table
    crc32: Mapping[str, str]
    record_crc32: str


def read_part(folder: Path, key: str, *, record_crc32: str | None = None) -> WrittenPart:
    """Returns what is known of a part that is complete; None: its record's checksum is not."""
    record, path = read_record(folder, key), record_path(folder, key)
    return WrittenPart(
        num_images=record["reason"].null_count,
        unread=_unread(record),
        crc32=written_checksums(folder, key),
        record_crc32=record_crc32 or files.checksum(path),
    )


def _unread(record: pa.Table) -> pa.Table:
    return record.filter(pc.is_valid(record["reason"]))


@dataclass(frozen=True, kw_only=True)
class WholeFile:
    """A file of a part of an attribute, and its checksum when it was written; None: not known."""

    path: Path
    crc32: str | None


def write_part(
    folder: Path,
    key: str,
    record: pa.Table,
    vectors: Mapping[str, pa.Table | WholeFile],
    *,
    recipe: Recipe,
) -> WrittenPart:
    """Writes the files of a part, its record (`tables.EMBEDDING_RECORD`) last.

    `vectors` has the rows of each attribute (`tables.embeddings_schema`), one for every image
    without a reason in the record, in its order; or the file that holds just these. It is empty
    where no image could be read.

    Raises:
        HemlineError: such a file is missing or damaged.
    """
    about: dict[str, Any] = {"recipe": recipe.digest}
    checksums: dict[str, str] = {}
    if vectors:
        write = partial(_write_attribute, folder, key)
        with ThreadPoolExecutor() as pool:  # compressing is most of it, and holds no lock
            written = zip(vectors, pool.map(write, vectors, vectors.values()), strict=True)
            checksums = {name: crc32 for name, crc32 in written if crc32 is not None}
        about["crc32"] = checksums
    path = record_path(folder, key)
    files.write_table(record, path, schema=tables.EMBEDDING_RECORD, about=about)
    return WrittenPart(
        num_images=record["reason"].null_count,
        unread=_unread(record),
        crc32=checksums,
        record_crc32=files.checksum(path),
    )


def made_rows(
    images: pa.Table, attribute: str, embeddings_mD: Numbers, *, recipe: Recipe
) -> pa.Table:
    """Returns rows of an attribute as they are stored, of images and paths; just made."""
    num_images, embedding_dim = embeddings_mD.shape
    flat = pa.array(np.ascontiguousarray(embeddings_mD).ravel())
    columns = [
        *images.select(["image", "path"]).columns,
        pa.repeat(attribute, num_images),
        pa.FixedSizeListArray.from_arrays(flat, embedding_dim),
        pa.repeat(recipe.model_name, num_images),
        pa.repeat(pa.scalar(recipe.model_version, pa.int32()), num_images),
    ]
    schema = tables.embeddings_schema(embedding_dim, storage=recipe.storage)
    return pa.table(columns, names=schema.names).cast(schema)


def _write_attribute(
    folder: Path, key: str, attribute: str, vectors: pa.Table | WholeFile
) -> str | None:
    """Writes a part of an attribute and returns the file's checksum.

    It is moved among the vectors when it is whole: a half-written file there, even a hidden one, is
    one that polars refuses the folder for.
    """
    path = part_path(folder, attribute, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(vectors, WholeFile):
        check_file(vectors.path, vectors.crc32)
        link(vectors.path, path)
        return vectors.crc32
    aside = folder / _RECORDS / f"{_ASIDE}{path.name}"
    files.write_table(vectors, aside, schema=vectors.schema)
    aside.replace(path)
    return files.checksum(path)


def link(source: Path, target: Path) -> None:
    """Makes a file of embeddings lie in another place too, as the same file where that can be.

    Nobody writes into these files: who has others for a name writes them beside, and renames; DVC
    makes copies of what is linked before a stage may write. So no place is harmed by what happens
    to another one, and a file is gone when no place has it.
    """
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # not DVC's symbolic link, whose file DVC may remove
    except OSError:  # no hard links there, another file system, or a file of somebody else
        with files.replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_unnamed(folder: Path, keys: Collection[str], *, attributes: Collection[str]) -> None:
    """Removes all parts except those of the given keys, and leftovers of killed writers."""
    named = {record_path(folder, key) for key in keys}
    named |= {part_path(folder, name, key) for key in keys for name in attributes}
    for place in [*folder.glob("attribute=*"), folder / VECTORS, folder / _RECORDS]:
        keyed_parts.remove_unnamed(place, "*.parquet", named=named)
        if not any(place.iterdir()):
            place.rmdir()
    keyed_parts.remove_unnamed(folder, "part-*.parquet", named=())


def take_prototypes(prototypes: Path | None, folder: Path) -> None:
    """Makes a folder hold the prototypes of the model that embeds into it; None: it has none."""
    kept = folder / tables.PROTOTYPES_FILE
    if prototypes is None:
        kept.unlink(missing_ok=True)
        return
    with files.replacing(kept) as temporary:
        shutil.copyfile(prototypes, temporary)


def listed_files(embeddings: Embeddings) -> list[Path]:
    """Returns the files that embeddings consist of, besides the manifest."""
    folder = embeddings.folder
    vectors = [
        embeddings.part_path(name, part.key)
        for name in embeddings.attributes
        for part in embeddings.parts
        if part.num_images
    ]
    records = [record_path(folder, part.key) for part in embeddings.parts]
    described = [ITEMS, tables.QUARANTINE_FILE]
    described += [tables.PROTOTYPES_FILE] if embeddings.has_prototypes else []
    return [*(folder / name for name in described), *vectors, *records]


def read_complete(folder: Path) -> Embeddings:
    """Returns the embeddings in a folder, after checking that no file is missing.

    Raises:
        HemlineError: there are none, or a file that the manifest names is missing.
    """
    embeddings = read_embeddings(folder)
    for part in embeddings.parts:
        layout = embeddings.layout
        if not is_complete(folder, part.key, attributes=embeddings.attributes, layout=layout):
            raise HemlineError(f"{folder}: files of the part {part.key} are missing")
    return embeddings


def holds(folder: Path, *, model_name: str, model_version: int) -> bool:
    """Returns whether a folder holds the complete embeddings of a model version."""
    try:
        embeddings = read_complete(folder)
    except HemlineError:
        return False
    return (embeddings.model_name, embeddings.model_version) == (model_name, model_version)
