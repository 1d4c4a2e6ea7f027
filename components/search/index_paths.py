"""Where files that speed up search lie, and which vectors each was made of.

    index/attribute=<name>/vectors-<key>.arrow, .json    the vectors as they lie in memory
    index/attribute=<name>/lists-<key>.faiss, .json      an approximate index

The key stands for an attribute's vectors: what was made of others is not read. A version that was
grown from another has the same vectors of the attributes that both know, so what was made of the
one serves the other.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from components import files
from components.embedding.embeddings import Embeddings
from components.embedding.part_files import link

INDEX_FOLDER = "index"
_FOUND_WHOLE = "user.hemline.found_whole"

IndexKind = Literal["vectors", "lists"]
_SUFFIXES: dict[IndexKind, tuple[str, str]] = {
    "vectors": (".json", ".arrow"),
    "lists": (".faiss", ".json"),
}
"""The files of each kind, in the order in which they are written."""


def index_folder(embedded: Embeddings, attribute: str) -> Path:
    """Returns where what speeds up the search by an attribute lies."""
    return embedded.folder / INDEX_FOLDER / f"attribute={quote(attribute, safe='')}"


def index_key(embedded: Embeddings, attribute: str) -> str:
    """Returns what stands for an attribute's vectors: a hash of model, items, and the files' bytes.

    The model is the first in line that makes these vectors. Of files that an older hemline gave no
    checksums, it stands for the embeddings as a whole.
    """
    paths = [embedded.part_path(attribute, x.key) for x in embedded.parts if x.num_images]
    crc32 = [embedded.written(path) for path in paths]
    if None in crc32:
        return _older_key(embedded)
    makers = [x.graph_sha256 for x in embedded.ancestors if attribute in x.attributes]
    first = (makers or [embedded.model_sha256])[-1]
    content = json.dumps([first, attribute, embedded.digest, crc32])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _older_key(embedded: Embeddings) -> str:
    """Returns the key of an older hemline: the model's version, and a hash of the rest."""
    parts = [part.key for part in embedded.parts]  # of the model and of what it was given
    content = json.dumps([embedded.model_name, embedded.model_sha256, embedded.digest, parts])
    return f"{embedded.model_version}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def index_path(embedded: Embeddings, attribute: str, kind: IndexKind) -> Path:
    """Returns where what speeds up search lies, if there is some: the file that is written last.

    It is that of an older hemline, where it made the only one.
    """
    path = new_index_path(embedded, attribute, kind)
    older = path.with_stem(f"{kind}-{_older_key(embedded)}")
    return older if older.exists() and not path.exists() else path


def new_index_path(embedded: Embeddings, attribute: str, kind: IndexKind) -> Path:
    """Returns where what speeds up search comes to lie."""
    name = f"{kind}-{index_key(embedded, attribute)}{_SUFFIXES[kind][-1]}"
    return index_folder(embedded, attribute) / name


def take_indexes(embedded: Embeddings, other: Embeddings) -> None:
    """Makes embeddings have what speeds up search in the same vectors elsewhere, as the same files.

    Whether these are whole is seen when they are used.
    """
    for attribute in embedded.attributes:
        if attribute not in other.attributes:
            continue
        if index_key(embedded, attribute) != index_key(other, attribute):
            continue
        for kind, suffixes in _SUFFIXES.items():
            source = index_path(other, attribute, kind)
            target = new_index_path(embedded, attribute, kind)
            if source.exists() and not index_path(embedded, attribute, kind).exists():
                for suffix in suffixes:
                    if source.with_suffix(suffix).exists():
                        link(source.with_suffix(suffix), target.with_suffix(suffix))


def remove_stale(embedded: Embeddings, attribute: str) -> None:
    """Removes what was made of other vectors than these; it would never be read again."""
    stems = {index_path(embedded, attribute, kind).stem for kind in _SUFFIXES}
    for path in index_folder(embedded, attribute).iterdir():
        if path.stem not in stems:
            path.unlink()


def is_known_whole(path: Path, written: str | None) -> bool:
    """Returns whether a file has the checksum that it had when it was written; None: not known."""
    return written is not None and not files.problem_of(path, written)


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
