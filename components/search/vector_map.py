"""An attribute's vectors once more, as they lie in memory: mapped, not decoded, when read.

    index/attribute=<name>/vectors-<key>.arrow
    index/attribute=<name>/vectors-<key>.json     its checksum; written first

Arrow IPC, uncompressed: columns image and embedding, a record batch per part. The key stands for
the embeddings it was made of: what was made of others is not read. Decoding the Parquet parts takes
some 17 times as long as comparing a query with what is in them.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from components import files
from components.embedding.embeddings import Embeddings, Vectors
from components.errors import HemlineError

INDEX_FOLDER = "index"
_FOUND_WHOLE = "user.hemline.found_whole"


def index_folder(embedded: Embeddings, attribute: str) -> Path:
    """Returns where what speeds up the search by an attribute lies."""
    return embedded.folder / INDEX_FOLDER / f"attribute={quote(attribute, safe='')}"


def index_key(embedded: Embeddings) -> str:
    """Returns what stands for these embeddings: the model's version, and a hash of the rest."""
    parts = [part.key for part in embedded.parts]  # of the model and of what it was given
    content = json.dumps([embedded.model_name, embedded.model_sha256, embedded.digest, parts])
    return f"{embedded.model_version}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def map_path(embedded: Embeddings, attribute: str) -> Path:
    """Returns where the map of an attribute lies, if there is one."""
    return index_folder(embedded, attribute) / f"vectors-{index_key(embedded)}.arrow"


def write_map(embedded: Embeddings, attribute: str) -> Path:
    """Writes the map of an attribute, a part in memory at a time, and returns its path.

    Raises:
        HemlineError: images are not embedded for the attribute, or a part is missing.
    """
    path = map_path(embedded, attribute)
    vector = pa.list_(pa.from_numpy_dtype(embedded.storage), embedded.embedding_dim)
    schema = pa.schema([("image", pa.int64()), ("embedding", vector)])
    with files.replacing(path) as temporary:
        with pa.ipc.new_file(temporary, schema) as writer:
            for part in embedded.vectors(attribute):
                flat = pa.array(part.embeddings_nD.ravel())
                vectors = pa.FixedSizeListArray.from_arrays(flat, type=vector)
                columns = [pa.array(part.images_n), vectors]
                writer.write_batch(pa.record_batch(columns, schema=schema))
        files.write_json({"crc32": files.checksum(temporary)}, path.with_suffix(".json"))
    return path


def written_checksum(path: Path) -> str | None:
    """Returns the checksum of a map when it was written; None for an older hemline's."""
    facts = path.with_suffix(".json")
    checksum: str | None = files.read_json(facts)["crc32"] if facts.exists() else None
    return checksum


def check_index_file(path: Path, written: str | None, *, remedy: str) -> None:
    """Checks a file that speeds up search as `files.check` does, once after it was written.

    A search takes less time than reading all of an index. That a file was found whole, an extended
    attribute of it says, which is of no content that DVC would hash; where there are none (some
    file systems, macOS), every process checks. `hemline check` always does.
    """
    files.check(path, None, remedy=remedy)  # is it there?
    status = path.stat()
    version = f"{written} {status.st_size} {status.st_mtime_ns}".encode()
    with suppress(OSError, AttributeError):
        if os.getxattr(path, _FOUND_WHOLE) == version:
            return
    files.check(path, written, remedy=remedy)
    with suppress(OSError, AttributeError):
        os.setxattr(path, _FOUND_WHOLE, version)


def mapped_vectors(embedded: Embeddings, attribute: str) -> Iterator[Vectors]:
    """Yields an attribute's vectors, a part at a time: mapped where there is a map.

    Raises:
        HemlineError: images are not embedded for the attribute, or a file is not whole.
    """
    path = map_path(embedded, attribute)
    if not path.exists():
        yield from embedded.vectors(attribute)
        return
    remedy = "delete it, or make it again with `hemline index`"
    check_index_file(path, written_checksum(path), remedy=remedy)
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                flat = np.asarray(batch["embedding"].flatten().to_numpy())
                yield Vectors(batch["image"].to_numpy(), flat.reshape(batch.num_rows, -1))
    except pa.ArrowInvalid as error:
        raise HemlineError(f"{path} is not whole ({error}): {remedy}") from error


def remove_stale(embedded: Embeddings, attribute: str) -> None:
    """Removes what was made of other embeddings than these; it would never be read again."""
    key = index_key(embedded)
    for path in index_folder(embedded, attribute).iterdir():
        if not path.stem.endswith(key):
            path.unlink()
