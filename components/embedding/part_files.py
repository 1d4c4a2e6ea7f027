"""The files of a part of the embeddings, and what earlier parts hold of a new one.

Every part has a record of its images, `parts/part-<key>.parquet`, which is written last: a part
with a record is complete. Parts are keyed by content, see `images/keyed_parts.py`.

Shape letters: m images of a part that could be read; K attributes, D embedding.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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
    part_path,
    read_embeddings,
)
from components.errors import HemlineError
from components.images import keyed_parts
from components.params import Storage

_RECORDS = "parts"
_ASIDE = "writing-"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that an embedding is made from, besides its image; fields as in `Embeddings`.

    `attributes` has the number of each in the model's schema.
    """

    model_name: str
    model_version: int
    model_sha256: str
    image_size_px: int
    attributes: dict[str, int]
    precision: str
    storage: Storage = "float16"
    crop: str = "centre"

    @property
    def digest(self) -> str:
        """SHA-256 of all fields; another one than hemline 0.1's, whose bf16 lengths were not 1."""
        made_from = asdict(self)
        if self.storage == "float16":
            del made_from["storage"]  # what was stored before there was a choice stays
        if self.crop == "centre":
            del made_from["crop"]
        if self.precision == "bf16":
            made_from["lengths"] = "float32"
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def record_path(folder: Path, key: str) -> Path:
    """Returns the path of a part's record."""
    return folder / _RECORDS / f"part-{key}.parquet"


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


def write_part(
    folder: Path,
    key: str,
    record: pa.Table,
    embeddings_mKD: Numbers | None,
    *,
    recipe: Recipe,
) -> None:
    """Writes the files of a part, its record (`tables.EMBEDDING_RECORD`) last.

    `embeddings_mKD` has the images without a reason in the record, in its order; None for none.
    """
    about: dict[str, Any] = {"recipe": recipe.digest}
    if embeddings_mKD is not None:
        embedded = record.filter(pc.is_null(record["reason"])).select(["image", "path"])
        write = partial(_write_attribute, embedded, folder=folder, key=key, recipe=recipe)
        with ThreadPoolExecutor() as pool:  # compressing is most of it, and holds no lock
            done = pool.map(write, recipe.attributes, np.moveaxis(embeddings_mKD, 1, 0))
            about["crc32"] = dict(zip(recipe.attributes, done, strict=True))
    files.write_table(record, record_path(folder, key), schema=tables.EMBEDDING_RECORD, about=about)


def _write_attribute(
    embedded: pa.Table,
    attribute: str,
    embeddings_mD: Numbers,
    *,
    folder: Path,
    key: str,
    recipe: Recipe,
) -> str:
    """Writes a part of an attribute and returns the file's checksum.

    It is moved among the vectors when it is whole: a half-written file there, even a hidden one, is
    one that polars refuses the folder for.
    """
    num_images, embedding_dim = embeddings_mD.shape
    schema = tables.embeddings_schema(embedding_dim, storage=recipe.storage)
    flat = pa.array(np.ascontiguousarray(embeddings_mD).ravel())
    columns = [
        *embedded.columns,
        pa.repeat(attribute, num_images),
        pa.FixedSizeListArray.from_arrays(flat, embedding_dim),
        pa.repeat(recipe.model_name, num_images),
        pa.repeat(pa.scalar(recipe.model_version, pa.int32()), num_images),
    ]
    path = part_path(folder, attribute, key)
    aside = folder / _RECORDS / f"{_ASIDE}{path.name}"
    files.write_table(pa.table(columns, names=schema.names), aside, schema=schema)
    path.parent.mkdir(exist_ok=True)
    aside.replace(path)
    return files.checksum(path)


def held_earlier(
    items: pa.Table, folder: Path, key: str, *, recipe: Recipe
) -> dict[int, tuple[str, int]]:
    """Returns the images of a new part that earlier parts of the same numbers and recipe hold.

    Returns:
        Key of the earlier part, and row in it, by image number.
    """
    contents = dict(zip(items["image"].to_pylist(), items["content"].to_pylist(), strict=True))
    held = {}
    for path in sorted((folder / _RECORDS).glob(f"part-{key.partition('-')[0]}-*.parquet")):
        about = files.read_about(path, schema=tables.EMBEDDING_RECORD)
        if about.get("recipe") != recipe.digest:
            continue
        earlier = path.stem.removeprefix("part-")
        if not is_complete(folder, earlier, attributes=recipe.attributes):
            continue
        record = read_record(folder, earlier)
        embedded = record.filter(pc.is_null(record["reason"]))
        rows = zip(embedded["image"].to_pylist(), embedded["content"].to_pylist(), strict=True)
        for row, (image, content) in enumerate(rows):
            if contents.get(image) == content:
                held[image] = (earlier, row)
    return held


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


def take_older_layout(folder: Path) -> None:
    """Makes the vectors of an older hemline lie where they lie now; the bytes are the same.

    They stay where its manifest says, too, until `remove_unnamed` follows another manifest.
    """
    for older in sorted(folder.glob("attribute=*/part-*.parquet")):
        attribute = unquote(older.parent.name.partition("=")[2])
        path = part_path(folder, attribute, older.stem.removeprefix("part-"))
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        try:
            os.link(older, path)
        except OSError:  # a file system without hard links
            with files.replacing(path) as temporary:
                shutil.copyfile(older, temporary)


def copy_parts(embeddings: Embeddings, out: Path) -> None:
    """Copies the parts that `out` lacks; not the manifest, which the job writes.

    Each part's record is copied last, so that a run that was killed resumes where it stopped.

    Raises:
        HemlineError: a file is missing or damaged.
    """
    for part in embeddings.parts:
        if is_complete(out, part.key, attributes=embeddings.attributes):
            continue
        if part.num_images:
            for name in embeddings.attributes:
                path = embeddings.part_path(name, part.key)
                _copy(embeddings, path, part_path(out, name, part.key))
        _copy(embeddings, record_path(embeddings.folder, part.key), record_path(out, part.key))


def _copy(embeddings: Embeddings, source: Path, target: Path) -> None:
    embeddings.check(source)
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


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
