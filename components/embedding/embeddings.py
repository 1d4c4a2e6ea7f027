"""An embedded catalogue on disk: its manifest, its items, and their vectors part by part.

    manifest.json                         which model, which attributes, which parts
    items.parquet                         a row per embedded image
    quarantine.parquet                    images that could not be read
    attribute=<name>/part-<key>.parquet   `tables.embeddings_schema`
    parts/part-<key>.parquet              what a part was made of, see `part_files.py`

The manifest is written last and names every part: what it does not name is not of the catalogue.
Every part lies in the folder of every attribute, with the same images in the same order.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components import files
from components.errors import HemlineError

MANIFEST, ITEMS, QUARANTINE = "manifest.json", "items.parquet", "quarantine.parquet"


class Vectors(NamedTuple):
    """Image numbers [n], and embeddings of unit length [n, D] in float16."""

    images_n: NDArray[np.int64]
    embeddings_nD: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images that were embedded together; the key is a hash of them and of the model."""

    key: str
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What the manifest says.

    Attributes:
        folder: where the files lie.
        model_name: of the registry.
        model_version: of the registry.
        model_sha256: of the model's exported graph.
        precision: it computed in: fp32 or bf16.
        attributes: that images were embedded for, in the model's order.
        embedding_dim: D.
        root: what the items' paths are relative to; None: to the root of the catalog's data.
        digest: hash of all items' paths and contents.
        num_quarantined: images that could not be read.
        parts: in which the images lie; one of none is made of images that could not be read.
    """

    folder: Path
    model_name: str
    model_version: int
    model_sha256: str
    precision: str
    attributes: tuple[str, ...]
    embedding_dim: int
    root: str | None
    digest: str
    num_quarantined: int
    parts: tuple[Part, ...]

    @property
    def num_images(self) -> int:
        """How many images are embedded."""
        return sum(part.num_images for part in self.parts)

    def items(self) -> pa.Table:
        """Returns a row per embedded image: `tables.EMBEDDED_ITEMS` and the manifest's own columns.

        Raises:
            HemlineError: the file is missing.
        """
        return files.read_columns(self.folder / ITEMS)

    def part_path(self, attribute: str, part: Part) -> Path:
        """Returns where a part of an attribute lies."""
        return part_path(self.folder, attribute, part.key)

    def vectors(self, attribute: str) -> Iterator[Vectors]:
        """Yields an attribute's vectors, a part at a time.

        Raises:
            HemlineError: the catalogue is not embedded for the attribute, or a part is missing.
        """
        if attribute not in self.attributes:
            known = ", ".join(self.attributes)
            raise HemlineError(f"no attribute {attribute!r}; the catalogue is embedded for {known}")
        for part in self.parts:
            if part.num_images:
                yield read_vectors(self.part_path(attribute, part))


def part_path(folder: Path, attribute: str, key: str) -> Path:
    """Returns where a part of an attribute lies; the attribute's name is escaped as in a URL."""
    return folder / f"attribute={quote(attribute, safe='')}" / f"part-{key}.parquet"


def write_embeddings(catalogue: Embeddings) -> None:
    """Writes the manifest: from then on the catalogue is what it names."""
    content = asdict(catalogue)
    del content["folder"]
    files.write_json(content, catalogue.folder / MANIFEST)


def read_embeddings(folder: Path) -> Embeddings:
    """Returns the embedded catalogue in a folder.

    Raises:
        HemlineError: the folder holds none, or one of another version of hemline.
    """
    content: dict[str, Any] = files.read_json(folder / MANIFEST)
    try:
        parts = tuple(Part(**part) for part in content.pop("parts"))
        attributes = tuple(content.pop("attributes"))
        return Embeddings(folder=folder, parts=parts, attributes=attributes, **content)
    except (KeyError, TypeError) as error:
        raise HemlineError(
            f"{folder / MANIFEST} was made by another version of hemline ({error}): "
            "`hemline embed`, or `dvc repro embed`, makes it anew"
        ) from error


def read_vectors(path: Path) -> Vectors:
    """Returns the vectors of a part of an attribute.

    Raises:
        HemlineError: the file is missing.
    """
    try:
        table = pq.read_table(
            path, columns=["image", "embedding"], partitioning=None, memory_map=True
        )
    except FileNotFoundError as error:
        raise HemlineError(
            f"{path} is missing: `hemline embed`, or `dvc repro embed`, makes it again"
        ) from error
    vectors: pa.FixedSizeListArray = table["embedding"].combine_chunks()
    return Vectors(
        images_n=table["image"].to_numpy(),
        embeddings_nD=vectors.flatten().to_numpy().reshape(len(vectors), -1),
    )
