"""The self-contained model: an exported graph from pixels to embeddings, and what it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components import files
from components.attributes import AttributeSchema
from components.tables import PROTOTYPES_FILE

if TYPE_CHECKING:
    from components.registry.graph import Embedder

NETWORK_FILE = "network.pt2"
PACKAGE_FILE = "package.json"

_REMEDY = "fetch the version again, or make another one with `dvc repro -f register`"


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A version that another was grown from; of `attributes`, both have the same embeddings.

    `version` and `name` are those of the registry where it was grown; `graph_sha256`, of the
    network's file, names it everywhere.
    """

    name: str
    version: int
    graph_sha256: str
    attributes: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The version where it was grown, as `mlflow.pyfunc.load_model` takes it."""
        return f"models:/{self.name}/{self.version}"

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Ancestor":
        """Returns what `dataclasses.asdict` and JSON made a dictionary of."""
        return cls(**{**content, "attributes": tuple(content["attributes"])})


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A version, or what it embedded: attributes, the graph's SHA-256, and all of its ancestors."""

    graph_sha256: str
    attributes: tuple[str, ...]
    ancestors: tuple[Ancestor, ...] = ()

    def shared_with(self, other: "Lineage") -> tuple[str, ...]:
        """Returns the attributes whose embeddings are the same in both, and so comparable.

        They are those that both share with one version: one of the two, or an ancestor of both.
        """
        theirs = other._attributes_of
        both = {
            name
            for sha256, names in self._attributes_of.items()
            for name in {*names}.intersection(theirs.get(sha256, ()), other.attributes)
        }
        return tuple(name for name in self.attributes if name in both)

    @property
    def _attributes_of(self) -> dict[str, tuple[str, ...]]:
        """The attributes shared with each version, by the SHA-256 of its graph."""
        ancestors = {ancestor.graph_sha256: ancestor.attributes for ancestor in self.ancestors}
        return {**ancestors, self.graph_sha256: self.attributes}


@dataclass(frozen=True, kw_only=True)
class Package:
    """A model package that was written or downloaded: the folder of its files, and its network.

    `crop` is what its pictures show of their files: `preprocess.crop`. `ancestors` are the versions
    that it was grown from, nearest first. `description` is that of the trained network,
    `training/trained.py`; an older hemline did not write it, gave the network's file no checksum,
    crc32, and made no prototypes, which have prototypes_crc32.
    """

    folder: Path
    schema: AttributeSchema
    image_size_px: int
    crop: str = "centre"
    crc32: str | None = None
    prototypes_crc32: str | None = None
    ancestors: tuple[Ancestor, ...] = ()
    description: Mapping[str, Any] | None = None

    @property
    def prototypes(self) -> Path | None:
        """The file of its prototypes; None: an older hemline made none."""
        return None if self.prototypes_crc32 is None else self.folder / PROTOTYPES_FILE

    @property
    def graph_sha256(self) -> str:
        """SHA-256 of the network's file, which is checked first."""
        self.check()
        return files.sha256(self.folder / NETWORK_FILE)

    @property
    def lineage(self) -> Lineage:
        """The version, its attributes, and its ancestors."""
        return Lineage(
            graph_sha256=self.graph_sha256,
            attributes=tuple(self.schema.names),
            ancestors=self.ancestors,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return read_package, (self.folder,)  # without the loaded network: other processes read it

    def check(self) -> None:
        """Raises a HemlineError where a file is missing or damaged."""
        for path, crc32 in self.written_files().items():
            files.check(path, crc32, remedy=_REMEDY)

    def written_files(self) -> dict[Path, str | None]:
        """Returns its files with their checksums; None: not known."""
        found = {self.folder / NETWORK_FILE: self.crc32}
        return (
            found if self.prototypes is None else {**found, self.prototypes: self.prototypes_crc32}
        )

    def load_network(self, device: str = "cpu") -> "Embedder":
        """Returns the network from pixels to embeddings, on a device.

        Raises:
            HemlineError: its file is missing or damaged.
        """
        self.check()
        # torch takes seconds to import, which finding a version need not pay
        from components.registry.graph import load_graph  # noqa: PLC0415

        return load_graph(self.folder / NETWORK_FILE, device)

    def embed_each(
        self, pixels_SS3: NDArray[np.uint8], attributes: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Returns the embedding [D] of one image's pixels for each attribute, in one pass.

        Raises:
            HemlineError: the network does not know an attribute.
        """
        embeddings_KD, _ = self._network.of_image(pixels_SS3, self._asked(attributes))
        return dict(zip(attributes, embeddings_KD, strict=True))

    def attend(
        self, pixels_SS3: NDArray[np.uint8], attributes: Sequence[str]
    ) -> NDArray[np.float32] | None:
        """Returns where the network looks in one image for each attribute [K, H, W].

        None where the network has no spatial attention, or was exported without it.

        Raises:
            HemlineError: the network does not know an attribute.
        """
        return self._network.of_image(pixels_SS3, self._asked(attributes))[1]

    @cached_property
    def _network(self) -> "Embedder":
        return self.load_network()

    def _asked(self, attributes: Sequence[str]) -> list[int]:
        return [self.schema.index(attribute) for attribute in attributes]


def read_package(folder: Path) -> Package:
    """Returns the package in a folder."""
    content = files.read_json(folder / PACKAGE_FILE)
    return Package(
        folder=folder,
        schema=AttributeSchema.from_dict(content["schema"]),
        image_size_px=content["image_size_px"],
        crop=content.get("crop", "centre"),  # an older hemline knew no other
        crc32=content.get("crc32"),
        prototypes_crc32=content.get("prototypes_crc32"),
        ancestors=tuple(map(Ancestor.from_dict, content.get("ancestors", ()))),
        description=content.get("description"),
    )
