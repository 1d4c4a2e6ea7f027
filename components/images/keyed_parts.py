"""Images in parts, of which a run makes only the changed ones.

Part i covers the image numbers [i * images_per_part, (i + 1) * images_per_part). Its key is a hash
of everything that it is made from: its images, and how they are processed. A part that lies on
disk under its key is complete, so a run that was killed resumes where it stopped. A part whose key
changed takes over the images that its predecessors hold, so only new and changed images are
processed. Shards of the image store and parts of embeddings are made this way.

Tables that programs read as one folder, such as tags and neighbours, have their parts in a folder
that holds whole parts of one state and nothing else; those of a run that is not done lie in
`making`, and come in together.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import files
from components.errors import HemlineError

MAKING = "making"

_PARTS = "part-*.parquet"
_AT_ONCE = 2**16  # rows of a column that are text at a time
_ESCAPED = r"[^ !#-\[\]-~]"  # what JSON writes in another way


def parts_by_number(images: pa.Table, *, images_per_part: int) -> list[tuple[int, pa.Table]]:
    """Returns index and rows of every part that has images; their column `image` ascends."""
    part_of = images["image"].to_numpy() // images_per_part
    parts, starts, sizes = np.unique(part_of, return_index=True, return_counts=True)
    rows = [images.slice(*part) for part in zip(starts, sizes, strict=True)]
    return list(zip(parts.tolist(), rows, strict=True))


def content_key(content: Iterable[str | pa.ChunkedArray]) -> str:
    """Returns the SHA-256, in hexadecimal, of everything that a part is made from.

    A column, of texts or whole numbers, counts as its values in JSON.
    """
    digest = hashlib.sha256()
    for place, each in enumerate(content):
        digest.update(b"\n" if place else b"")
        for text in [each] if isinstance(each, str) else _json_of(each):
            digest.update(text.encode())
    return digest.hexdigest()


def _json_of(column: pa.ChunkedArray) -> Iterator[str]:
    """Yields what `json.dumps` makes of a column's values, piece by piece."""
    yield "["
    for start in range(0, len(column), _AT_ONCE):
        yield ", " if start else ""
        yield _json_values(column.slice(start, _AT_ONCE).combine_chunks())
    yield "]"


def _json_values(values: pa.Array) -> str:
    """Returns the values between the brackets; quickly where they are written as they are."""
    is_text = pa.types.is_string(values.type)
    is_plain = not is_text or not pc.any(pc.match_substring_regex(values, _ESCAPED)).as_py()
    if values.null_count or not is_plain:
        return json.dumps(values.to_pylist())[1:-1]
    together = pa.ListArray.from_arrays([0, len(values)], values.cast(pa.string()))
    joined: str = pc.binary_join(together, '", "' if is_text else ", ")[0].as_py()
    return f'"{joined}"' if is_text else joined


def remove_unnamed(folder: Path, pattern: str, *, named: Collection[Path]) -> None:
    """Removes a folder's files of that pattern unless named, and leftovers of killed writers."""
    for path in [*folder.glob(pattern), *folder.glob(".*.tmp")]:
        if path not in named:
            path.unlink()


def finished(whole: Path, name: str, *, schema: pa.Schema, written: str | None) -> Path | None:
    """Returns the path of a part of a table that is done; None if it is not, or is damaged.

    Args:
        whole: folder of whole parts, beside which `making` lies.
        name: name of the part's file.
        schema: of the table.
        written: checksum of the file when it was written; None: not known.
    """
    for path in (whole / name, whole.parent / MAKING / name):
        if not files.problem_of(path, written):
            with suppress(HemlineError):  # its pages have checksums too
                files.read_table(path, schema=schema)
                return path
    return None


def bring_in(whole: Path, names: Collection[str]) -> None:
    """Makes a folder hold the parts of these names, which are done, and no others."""
    whole.mkdir(parents=True, exist_ok=True)
    making = whole.parent / MAKING
    for name in names:
        if (making / name).exists():
            (making / name).replace(whole / name)
    remove_unnamed(whole, _PARTS, named={whole / name for name in names})
    remove_unnamed(making, _PARTS, named=())
    with suppress(OSError):  # it is not there, or another run makes parts in it
        making.rmdir()
