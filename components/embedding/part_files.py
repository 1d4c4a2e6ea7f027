"""The files of a part of an embedded catalogue, and what parts of before hold of a new one.

Every part has a record of its images, `parts/part-<key>.parquet`, which is written last: a part
with a record is whole.

Shape letters: n images of a part, of which m could be read and h are held already; K attributes,
D embedding.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import files, tables
from components.embedding.embeddings import (
    MANIFEST,
    Embeddings,
    part_path,
    read_embeddings,
    read_vectors,
)
from components.errors import HemlineError

_RECORDS = "parts"


class Held(NamedTuple):
    """What parts of before hold of a new one: their keys, and where it is in them.

    Attributes:
        keys_n: part of before that holds each image; empty where none does.
        rows_n: the image's row in it.
    """

    keys_n: NDArray[np.str_]
    rows_n: NDArray[np.int64]


def record_path(folder: Path, key: str) -> Path:
    """Returns where the record of a part lies."""
    return folder / _RECORDS / f"part-{key}.parquet"


def is_whole(folder: Path, key: str, *, attributes: Sequence[str]) -> bool:
    """Returns whether a part lies there with all its files; one of no images has a record only."""
    if not record_path(folder, key).exists():
        return False
    if all(part_path(folder, name, key).exists() for name in attributes):
        return True
    return read_record(folder, key)["reason"].null_count == 0


def read_record(folder: Path, key: str) -> pa.Table:
    """Returns `tables.EMBEDDING_RECORD` of a part."""
    return files.read_table(record_path(folder, key), schema=tables.EMBEDDING_RECORD)


def numbered_images(folder: Path) -> pa.Table:
    """Returns the images that a catalogue was made of, also those that could not be read.

    `tables.EMBEDDING_RECORD`; empty where there is no catalogue.
    """
    none = tables.EMBEDDING_RECORD.empty_table()
    if not (folder / MANIFEST).exists():
        return none
    keys = [part.key for part in read_embeddings(folder).parts]
    return pa.concat_tables([none, *(read_record(folder, key) for key in keys)])


def write_part(
    folder: Path,
    key: str,
    record: pa.Table,
    embeddings_mKD: NDArray[np.float16] | None,
    *,
    attributes: Sequence[str],
    model_name: str,
    model_version: int,
    recipe: str,
) -> None:
    """Writes the files of a part, its record last.

    Args:
        folder: of the embedded catalogue.
        key: of the part.
        record: `tables.EMBEDDING_RECORD`.
        embeddings_mKD: of the images that have no reason in the record, in their order; None
            where there is no such image.
        attributes: names of the K attributes.
        model_name: of the registry.
        model_version: of the registry.
        recipe: what they were embedded by.
    """
    if embeddings_mKD is not None:
        embedded = record.filter(pc.is_null(record["reason"])).select(["image", "path"])
        write = partial(
            _write_attribute, embedded, model_name=model_name, model_version=model_version
        )
        vectors = np.moveaxis(embeddings_mKD, 1, 0)
        paths = [part_path(folder, name, key) for name in attributes]
        with ThreadPoolExecutor() as pool:  # compressing is most of it, and holds no lock
            list(pool.map(write, attributes, vectors, paths))
    about = {"recipe": recipe}
    files.write_table(record, record_path(folder, key), schema=tables.EMBEDDING_RECORD, about=about)


def _write_attribute(
    embedded: pa.Table,
    attribute: str,
    embeddings_mD: NDArray[np.float16],
    path: Path,
    *,
    model_name: str,
    model_version: int,
) -> None:
    num_images, embedding_dim = embeddings_mD.shape
    schema = tables.embeddings_schema(embedding_dim)
    flat = pa.array(np.ascontiguousarray(embeddings_mD).ravel(), pa.float16())
    columns = [
        *embedded.columns,
        pa.repeat(attribute, num_images),
        pa.FixedSizeListArray.from_arrays(flat, embedding_dim),
        pa.repeat(model_name, num_images),
        pa.repeat(pa.scalar(model_version, pa.int32()), num_images),
    ]
    files.write_table(pa.table(columns, names=schema.names), path, schema=schema)


def held_before(
    items: pa.Table, folder: Path, key: str, *, attributes: Sequence[str], recipe: str
) -> Held:
    """Returns what parts of before, of the same place in the catalogue, hold of a new part.

    Args:
        items: `tables.EMBEDDED_ITEMS` of the new part.
        folder: of the embedded catalogue.
        key: of the new part.
        attributes: that a part of before must have the files of.
        recipe: what embeddings must have come from.
    """
    columns = [items[name].to_pylist() for name in ("image", "content")]
    place = {each: n for n, each in enumerate(zip(*columns, strict=True))}
    held = Held(np.full(len(items), "", "U64"), np.zeros(len(items), np.int64))
    for path in sorted((folder / _RECORDS).glob(f"part-{key.partition('-')[0]}-*.parquet")):
        if files.read_about(path, schema=tables.EMBEDDING_RECORD) != {"recipe": recipe}:
            continue
        before = path.stem.removeprefix("part-")
        if not is_whole(folder, before, attributes=attributes):
            continue
        record = read_record(folder, before)
        embedded = record.filter(pc.is_null(record["reason"]))
        columns = [embedded[name].to_pylist() for name in ("image", "content")]
        for row, each in enumerate(zip(*columns, strict=True)):
            if each in place:
                held.keys_n[place[each]] = before
                held.rows_n[place[each]] = row
    return held


def read_held(held: Held, folder: Path, *, attributes: Sequence[str]) -> NDArray[np.float16]:
    """Returns the embeddings that are held [h, K, D], in the order of their places."""
    (places_h,) = held.keys_n.nonzero()
    keys_h, rows_h = held.keys_n[places_h], held.rows_n[places_h]
    parts = []
    for key in np.unique(keys_h).tolist():
        vectors = [read_vectors(part_path(folder, name, key)) for name in attributes]
        stacked = np.stack([each.embeddings_nD for each in vectors], axis=1)
        parts.append((places_h[keys_h == key], stacked[rows_h[keys_h == key]]))
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    return np.concatenate([vectors for _, vectors in parts])[order]


def remove_unnamed(folder: Path, keys: set[str], *, attributes: Sequence[str]) -> None:
    """Removes all parts but those of the given keys, and leftovers of killed writers."""
    kept = {record_path(folder, key) for key in keys}
    kept |= {part_path(folder, name, key) for key in keys for name in attributes}
    for place in [*folder.glob("attribute=*"), folder / _RECORDS]:
        for path in [*place.glob("part-*.parquet"), *place.glob(".*.tmp")]:
            if path not in kept:
                path.unlink()
        if not any(place.iterdir()):
            place.rmdir()
    for path in folder.glob(".*.tmp"):
        path.unlink()


def copy_parts(catalogue: Embeddings, out: Path) -> None:
    """Copies the parts that `out` does not have yet; not the manifest, which the job writes.

    Each part's record is copied last, so that a run that was killed goes on where it stopped.
    """
    for part in catalogue.parts:
        if is_whole(out, part.key, attributes=catalogue.attributes):
            continue
        if part.num_images:
            for name in catalogue.attributes:
                _copy(catalogue.part_path(name, part), part_path(out, name, part.key))
        _copy(record_path(catalogue.folder, part.key), record_path(out, part.key))


def read_whole(folder: Path) -> Embeddings:
    """Returns the embedded catalogue in a folder, none of whose files is missing.

    Raises:
        HemlineError: there is none, or a file that its manifest names is gone.
    """
    catalogue = read_embeddings(folder)
    for part in catalogue.parts:
        if not is_whole(folder, part.key, attributes=catalogue.attributes):
            raise HemlineError(f"{folder}: files of the part {part.key} are gone")
    return catalogue


def holds(folder: Path, *, model_name: str, model_version: int) -> bool:
    """Returns whether a folder's catalogue was embedded with a version, and all of it is there."""
    if not (folder / MANIFEST).exists():
        return False
    try:
        catalogue = read_whole(folder)
    except HemlineError:
        return False
    return (catalogue.model_name, catalogue.model_version) == (model_name, model_version)


def _copy(source: Path, target: Path) -> None:
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
