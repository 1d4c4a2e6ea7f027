"""Embeddings on disk: their manifest, their items, and the vectors part by part.

    manifest.json                                which model, which attributes, which parts
    items.parquet                                a row per embedded image
    quarantine.parquet                           images that could not be read
    prototypes.parquet                           the model's, a vector for every value
    vectors/part-<key>-<attribute>.parquet       `tables.embeddings_schema`
    parts/part-<key>.parquet                     what a part was made from, see `part_files.py`

The manifest is written last and names every part: what it does not name does not count. Every part
has a file for every attribute, with the same images in the same order.

The folder of vectors holds nothing else, so that programs read it whole. It has no folders inside:
of a folder `attribute=01`, pandas, pyarrow and polars make the number 1, a folder `_fit` pandas and
pyarrow pass over in silence, and Spark reads no folder that is not a partition. An older hemline
wrote folders `attribute=<name>` (`OLDER_LAYOUT`), which are still read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components import files
from components.errors import HemlineError
from components.params import Storage
from components.prototypes.prototypes import Prototypes, read_prototypes
from components.registry.package import Ancestor, Inference, Lineage
from components.tables import PROTOTYPES_FILE, QUARANTINE_FILE

MANIFEST, ITEMS, VECTORS = "manifest.json", "items.parquet", "vectors"

LAYOUT, OLDER_LAYOUT = 2, 1
"""Where vectors lie: in one folder; and as before, attribute=<name>/part-<key>.parquet."""

Numbers = NDArray[np.floating[Any]]


class Vectors(NamedTuple):
    """Image numbers [n], and embeddings of unit length [n, D] as they are stored."""

    images_n: NDArray[np.int64]
    embeddings_nD: Numbers


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images that were embedded together; the key is a hash of them and of the model."""

    key: str
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What the manifest says.

    `model_name` and `model_version` are those of the registry, `model_sha256` is the hash of the
    exported graph, `runtime` and `precision` are as in `Inference`, `quantised` names the graph in
    8-bit integers if that was used, `digest` is a hash of all items' paths and contents. The items'
    paths are relative to `root`; None: to the root of the catalog's data. A part of 0 images
    stands for unreadable ones, which `num_quarantined` counts. `crc32` has the checksums of files
    by their paths in the folder; an older hemline made none. `storage` is the type of the vectors'
    numbers, and `layout` says where they lie. `ancestors` are the versions that the model was grown
    from: those of their attributes that they name have the same vectors, and may be made by them.
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
    crc32: Mapping[str, str] = field(default_factory=dict)
    storage: Storage = "float16"
    layout: int = OLDER_LAYOUT
    ancestors: tuple[Ancestor, ...] = ()
    runtime: str = "torch"
    quantised: str | None = None

    def manifest(self) -> dict[str, Any]:
        """Returns what the manifest says, for JSON."""
        content = asdict(self)
        del content["folder"]
        since = {"ancestors": (), "runtime": "torch", "quantised": None}
        for name, before in since.items():
            if content[name] == before:
                del content[name]  # an older hemline reads what it knows
        return content

    @property
    def inference(self) -> Inference:
        """How the vectors were made, and those of queries are to be."""
        return Inference(self.runtime, self.precision)

    @property
    def lineage(self) -> Lineage:
        """Whose vectors these are, and which of other versions' are comparable with them."""
        return Lineage(
            graph_sha256=self.model_sha256, attributes=self.attributes, ancestors=self.ancestors
        )

    @property
    def num_images(self) -> int:
        """How many images are embedded."""
        return sum(part.num_images for part in self.parts)

    @property
    def has_prototypes(self) -> bool:
        """Whether the model had a vector for every value."""
        return PROTOTYPES_FILE in self.crc32

    def prototypes(self) -> Prototypes:
        """Returns the vectors of the values, by the model that embedded the images.

        Raises:
            HemlineError: an older hemline registered it, without them; or the file is damaged.
        """
        path = self.folder / PROTOTYPES_FILE
        if not self.has_prototypes:
            raise HemlineError(
                f"{self.folder} has no vectors of values: an older hemline registered "
                f"models:/{self.model_name}/{self.model_version}. `dvc repro` makes a version with "
                "them, and embeds with it"
            )
        self.check(path)
        return read_prototypes(path)

    def check_model(self, graph_sha256: str, *, registry: str) -> None:
        """Checks that a graph, of the version that the manifest names, made the embeddings.

        Two registries may give two models one version number; `registry` is the address of the one
        that has the graph.

        Raises:
            HemlineError: it is another one.
        """
        if graph_sha256 != self.model_sha256:
            raise HemlineError(
                f"models:/{self.model_name}/{self.model_version} in {registry} is another model "
                f"than the one that made {self.folder} (SHA-256 {graph_sha256[:12]}, not "
                f"{self.model_sha256[:12]}): vectors of two models are not comparable. Set "
                "MLFLOW_TRACKING_URI to the store whose version made them; or, to embed again with "
                f"this one, remove {self.folder} first"
            )

    def items(self) -> pa.Table:
        """Returns a row per embedded image: `tables.EMBEDDED_ITEMS` and the manifest's own columns.

        Raises:
            HemlineError: the file is missing or damaged.
        """
        self.check(self.folder / ITEMS)
        return files.read_table(self.folder / ITEMS, schema=None)

    def written(self, path: Path) -> str | None:
        """Returns the checksum of a file of the folder when it was written; None: not known."""
        return self.crc32.get(path.relative_to(self.folder).as_posix())

    def check(self, path: Path) -> None:
        """Raises a HemlineError where a file of the folder is missing or damaged."""
        check_file(path, self.written(path))

    def check_attribute(self, name: str) -> None:
        """Raises a HemlineError where images are not embedded for an attribute."""
        if name not in self.attributes:
            known = ", ".join(self.attributes)
            raise HemlineError(f"no attribute {name!r}; images are embedded for {known}")

    def summary(self) -> str:
        """Returns what was embedded and what could not be read, in a line each, for people."""
        done = (
            f"{self.num_images} images for {len(self.attributes)} attributes by "
            f"models:/{self.model_name}/{self.model_version} in {self.folder}"
        )
        if not self.num_quarantined:
            return done
        return f"{done}\n{self.num_quarantined} could not be read: {self.folder / QUARANTINE_FILE}"

    def vectors(self, attribute: str) -> Iterator[Vectors]:
        """Yields an attribute's vectors, a part at a time.

        Raises:
            HemlineError: images were not embedded for the attribute, or a part is missing or
                damaged.
        """
        self.check_attribute(attribute)
        for part in self.parts:
            if part.num_images:
                path = self.part_path(attribute, part.key)
                yield read_vectors(path, crc32=self.written(path))

    def part_path(self, attribute: str, key: str) -> Path:
        """Returns the path of a part of an attribute."""
        return part_path(self.folder, attribute, key, layout=self.layout)


def part_path(folder: Path, attribute: str, key: str, *, layout: int = LAYOUT) -> Path:
    """Returns the path of a part of an attribute, whose name is escaped as in a URL."""
    name = quote(attribute, safe="")
    if layout == OLDER_LAYOUT:
        return folder / f"attribute={name}" / f"part-{key}.parquet"
    return folder / VECTORS / f"part-{key}-{name}.parquet"


def write_embeddings(embeddings: Embeddings) -> None:
    """Writes the manifest: from then on the embeddings are what it names."""
    files.write_sealed_json(embeddings.manifest(), embeddings.folder / MANIFEST)


def read_embeddings(folder: Path) -> Embeddings:
    """Returns the embeddings in a folder.

    Raises:
        HemlineError: there are none, they were made by another version of hemline, or the manifest
            is damaged.
    """
    path = folder / MANIFEST
    content: dict[str, Any] = files.read_json(path, remedy=_remedy(path))
    try:
        parts = tuple(Part(**part) for part in content.pop("parts"))
        attributes = tuple(content.pop("attributes"))
        ancestors = tuple(map(Ancestor.from_dict, content.pop("ancestors", ())))
        read = Embeddings(
            folder=folder, parts=parts, attributes=attributes, ancestors=ancestors, **content
        )
        if read.layout not in (LAYOUT, OLDER_LAYOUT) or read.storage not in get_args(Storage):
            raise TypeError(f"layout {read.layout}, storage {read.storage}")
        return read
    except (KeyError, TypeError) as error:
        raise HemlineError(
            f"{path} was made by another version of hemline ({error}): "
            "make it again with `hemline embed` or `dvc repro embed`"
        ) from error


def check_file(path: Path, crc32: str | None) -> None:
    """Raises a HemlineError where a file of embeddings is missing or damaged.

    Its checksum when it was written is None where it is not known.
    """
    files.check(path, crc32, remedy=_remedy(path))


def _remedy(path: Path) -> str:
    return (
        f"remove {path} and make it again with `hemline embed` or `dvc repro embed`; a copy of "
        "published embeddings is fetched again when it is missing"
    )


def read_vectors(path: Path, *, crc32: str | None) -> Vectors:
    """Returns the vectors of a part of an attribute; its checksum is None where it has none.

    Raises:
        HemlineError: the file is missing or damaged.
    """
    check_file(path, crc32)
    columns = ["image", "embedding"]
    table = pq.read_table(path, columns=columns, partitioning=None, memory_map=True)
    vectors: pa.FixedSizeListArray = table["embedding"].combine_chunks()
    return Vectors(
        images_n=table["image"].to_numpy(),
        embeddings_nD=vectors.flatten().to_numpy().reshape(len(vectors), -1),
    )
