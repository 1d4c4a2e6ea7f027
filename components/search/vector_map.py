"""An attribute's vectors once more, as they lie in memory: mapped, not decoded, when read.

    index/attribute=<name>/vectors-<key>.arrow
    index/attribute=<name>/vectors-<key>.json     its checksum; written first

Arrow IPC, uncompressed: columns image and embedding, a record batch per part. The key stands for
the vectors that it was made of. Decoding the Parquet parts takes some 17 times as
long as comparing a query with what is in them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from components import files
from components.embedding.embeddings import Embeddings, Vectors
from components.errors import DamagedFileError, HemlineError
from components.search.index_paths import (
    check_index_file,
    index_path,
    is_known_whole,
    new_index_path,
)

_REMEDY = "delete it, or make it again with `hemline index`"


def map_path(embedded: Embeddings, attribute: str) -> Path:
    """Returns where the map of an attribute lies, if there is one."""
    return index_path(embedded, attribute, "vectors")


def write_map(embedded: Embeddings, attribute: str) -> Path:
    """Writes the map of an attribute, a part in memory at a time, and returns its path.

    Raises:
        HemlineError: images are not embedded for the attribute, or a part is missing.
    """
    path = new_index_path(embedded, attribute, "vectors")
    vector = pa.list_(pa.from_numpy_dtype(embedded.storage), embedded.embedding_dim)
    schema = pa.schema([("image", pa.int64()), ("embedding", vector)])
    with files.replacing(path) as temporary:
        with pa.ipc.new_file(temporary, schema) as writer:
            for part in embedded.vectors(attribute):
                flat = pa.array(part.embeddings_nD.ravel())
                vectors = pa.FixedSizeListArray.from_arrays(flat, type=vector)
                columns = [pa.array(part.images_n), vectors]
                writer.write_batch(pa.record_batch(columns, schema=schema))
        files.write_sealed_json({"crc32": files.checksum(temporary)}, path.with_suffix(".json"))
    return path


def written_checksum(path: Path) -> str | None:
    """Returns the checksum of a map when it was written; None for an older hemline's.

    Raises:
        HemlineError: the file that has it is damaged.
    """
    facts = path.with_suffix(".json")
    if not facts.exists():
        return None
    checksum: str = files.read_json(facts, remedy=_REMEDY)["crc32"]
    return checksum


def has_whole_map(embedded: Embeddings, attribute: str) -> bool:
    """Returns whether there is a map of an attribute, as it was written."""
    path = map_path(embedded, attribute)
    try:
        return path.exists() and is_known_whole(path, written_checksum(path))
    except DamagedFileError:
        return False


def mapped_vectors(embedded: Embeddings, attribute: str) -> Iterator[Vectors]:
    """Yields an attribute's vectors, a part at a time: mapped where there is a map.

    Raises:
        HemlineError: images are not embedded for the attribute, or a file is not whole.
    """
    path = map_path(embedded, attribute)
    if not path.exists():
        yield from embedded.vectors(attribute)
        return
    check_index_file(path, written_checksum(path), remedy=_REMEDY)
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                flat = np.asarray(batch["embedding"].flatten().to_numpy())
                yield Vectors(batch["image"].to_numpy(), flat.reshape(batch.num_rows, -1))
    except pa.ArrowInvalid as error:
        raise HemlineError(f"{path} is not whole ({error}): {_REMEDY}") from error
