"""Small embeddings of given vectors, as `hemline embed` writes them."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    MANIFEST,
    OLDER_LAYOUT,
    VECTORS,
    Embeddings,
    Part,
    part_path,
    read_embeddings,
    write_embeddings,
)
from components.embedding.part_files import Recipe, made_rows, write_part, written_checksums
from components.params import Storage
from components.prototypes.prototypes import Prototypes, write_prototypes


def write_embedded_folder(
    folder: Path,
    vectors: Mapping[str, NDArray[Any]],
    *,
    images: Sequence[int] | None = None,
    part_sizes: Sequence[int] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    root: str | None = None,
    model_version: int = 1,
    model_sha256: str = "0" * 64,
    storage: Storage = "float16",
    prototypes: Prototypes | None = None,
) -> Embeddings:
    """Returns embeddings with the given vectors [n, D] of each attribute.

    Args:
        folder: folder to write to.
        vectors: vectors of each attribute.
        images: numbers of the images, in the order of the parts; None: from 0.
        part_sizes: images in each part; None: all in one.
        columns: further columns of the items, in the order of the images.
        root: what paths are relative to.
        model_version: version of the model that made them.
        model_sha256: hash of its graph.
        storage: type of the vectors' numbers.
        prototypes: the model's, if it has some.
    """
    matrices = {name: np.asarray(rows, storage) for name, rows in vectors.items()}
    num_images, embedding_dim = next(iter(matrices.values())).shape
    numbers = np.arange(num_images) if images is None else np.asarray(images)
    content = b"".join(
        [str(model_version).encode(), *(rows.tobytes() for rows in matrices.values())]
    )
    digest = hashlib.sha256(content).hexdigest()
    recipe = Recipe(
        model_name="hemline",
        model_version=model_version,
        model_sha256=model_sha256,
        image_size_px=1,
        attributes={name: place for place, name in enumerate(matrices)},
        precision="fp32",
        storage=storage,
    )
    items = {
        "image": pa.array(numbers, pa.int64()),
        "path": pa.array([f"{number}.png" for number in numbers], pa.string()),
        "content": pa.array([f"content of {number}" for number in numbers], pa.string()),
        **{name: pa.array(values) for name, values in (columns or {}).items()},
    }
    table = pa.table(items)
    parts = []
    ends = np.cumsum(part_sizes if part_sizes is not None else [num_images]).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        part = Part(key=f"{len(parts):05d}-{digest[:16]}", num_images=end - start)
        parts.append(part)
        nothing = pa.nulls(end - start, pa.string())
        record = table.select(tables.EMBEDDED_ITEMS.names).slice(start, end - start)
        record = record.append_column("reason", nothing).append_column("detail", nothing)
        rows = {
            name: made_rows(record, name, vectors_nD[start:end], recipe=recipe)
            for name, vectors_nD in matrices.items()
            if end > start
        }
        write_part(folder, part.key, record, rows, recipe=recipe)
    table = table.sort_by("image")
    files.write_table(table, folder / ITEMS, schema=table.schema)
    tables.write_quarantine(tables.QUARANTINE.empty_table(), folder)
    crc32 = {
        part_path(folder, name, part.key).relative_to(folder).as_posix(): written
        for part in parts
        for name, written in written_checksums(folder, part.key).items()
    }
    if prototypes is not None:
        write_prototypes(prototypes, folder / tables.PROTOTYPES_FILE)
        crc32[tables.PROTOTYPES_FILE] = files.checksum(folder / tables.PROTOTYPES_FILE)
    write_embeddings(
        Embeddings(
            folder=folder,
            model_name=recipe.model_name,
            model_version=model_version,
            model_sha256=recipe.model_sha256,
            precision=recipe.precision,
            attributes=tuple(matrices),
            embedding_dim=embedding_dim,
            root=root,
            digest=digest,
            num_quarantined=0,
            parts=tuple(parts),
            storage=storage,
            layout=LAYOUT,
            crc32=crc32,
        )
    )
    return read_embeddings(folder)


def lay_out_as_older(folder: Path) -> Embeddings:
    """Lays embeddings out as an older hemline did, without a word of it, and returns them."""
    embedded = read_embeddings(folder)
    manifest = files.read_json(folder / MANIFEST)
    del manifest["layout"], manifest["storage"]
    crc32 = manifest["crc32"]
    for attribute, part in product(embedded.attributes, embedded.parts):
        if part.num_images:
            path, older = (
                part_path(folder, attribute, part.key, layout=layout)
                for layout in (LAYOUT, OLDER_LAYOUT)
            )
            older.parent.mkdir(exist_ok=True)
            path.rename(older)
            if written := crc32.pop(path.relative_to(folder).as_posix(), None):
                crc32[older.relative_to(folder).as_posix()] = written
    (folder / VECTORS).rmdir()
    files.write_json(manifest, folder / MANIFEST)
    return read_embeddings(folder)


def unit_vectors(count: int, dim: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Returns random directions [count, dim], such as half precision holds."""
    drawn = np.random.default_rng(seed).normal(size=(count, dim))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float16).astype(np.float32)
