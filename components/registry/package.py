"""The self-contained model: an exported graph from pixels to embeddings, and what it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components import files
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.tables import PROTOTYPES_FILE

if TYPE_CHECKING:
    from components.registry.graph import Embedder

NETWORK_FILE = "network.pt2"
PACKAGE_FILE = "package.json"
QUANTISED_FILE = "quantised.xml"
QUANTISED_WEIGHTS_FILE = "quantised.bin"

_REMEDY = "fetch the version again, or make another one with `dvc repro -f register`"


class Inference(NamedTuple):
    """How a network is run: by torch or openvino, calculating in fp32, bf16 or int8."""

    runtime: str = "torch"
    precision: str = "fp32"


_BY_TORCH = Inference()


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
    crc32, and made no prototypes, which have prototypes_crc32. `quantised_crc32` has the checksums
    of the files of the graph in 8-bit integers, by name; it is empty where there is none.
    `inference` is how the network is run here, which is no property of the package.
    """

    folder: Path
    schema: AttributeSchema
    image_size_px: int
    crop: str = "centre"
    crc32: str | None = None
    prototypes_crc32: str | None = None
    ancestors: tuple[Ancestor, ...] = ()
    description: Mapping[str, Any] | None = None
    quantised_crc32: Mapping[str, str] = field(default_factory=dict)
    inference: Inference = _BY_TORCH

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
        # without the loaded network: other processes read it
        return _package_run_by, (self.folder, self.inference)

    def check(self) -> None:
        """Raises a HemlineError where a file is missing or damaged."""
        for path, crc32 in self.written_files().items():
            files.check(path, crc32, remedy=_REMEDY)

    def written_files(self) -> dict[Path, str | None]:
        """Returns its files with their checksums; None: not known."""
        found = {self.folder / NETWORK_FILE: self.crc32}
        if self.prototypes is not None:
            found[self.prototypes] = self.prototypes_crc32
        return found | {self.folder / name: crc32 for name, crc32 in self.quantised_crc32.items()}

    @property
    def quantised_key(self) -> str | None:
        """What names the graph in 8-bit integers; None where there is none."""
        return "-".join(self.quantised_crc32.values()) or None

    def run_by(self, inference: Inference) -> "Package":
        """Returns the package, whose network is run in another way.

        Raises:
            HemlineError: it has no graph in 8-bit integers, and int8 is asked for.
        """
        if inference.precision == "int8" and not self.quantised_crc32:
            raise HemlineError(
                f"{self.folder} has no graph in 8-bit integers: it was registered without one, as "
                "`embed.precision` was another, or MAP fell by more than "
                "gate.max_quantisation_drop"
            )
        return replace(self, inference=inference)

    def load_network(self, device: str = "cpu") -> "Embedder":
        """Returns the network from pixels to embeddings, on a device, run as `inference` says.

        OpenVINO runs on the CPU alone, with as many threads as torch.

        Raises:
            HemlineError: a file is missing or damaged, or OpenVINO is not installed.
        """
        self.check()
        # torch takes seconds to import, which finding a version need not pay
        from components.registry.graph import load_graph  # noqa: PLC0415

        runtime, precision = self.inference
        if runtime == "torch":
            return load_graph(self.folder / NETWORK_FILE, device, is_bf16=precision == "bf16")
        from components.registry.openvino_graph import load_by_openvino  # noqa: PLC0415

        name = QUANTISED_FILE if precision == "int8" else NETWORK_FILE
        return load_by_openvino(self.folder / name, precision)

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
    """Returns the package in a folder.

    Raises:
        HemlineError: what describes it is missing or damaged.
    """
    content = files.read_json(folder / PACKAGE_FILE, remedy=_REMEDY)
    return Package(
        folder=folder,
        schema=AttributeSchema.from_dict(content["schema"]),
        image_size_px=content["image_size_px"],
        crop=content.get("crop", "centre"),  # an older hemline knew no other
        crc32=content.get("crc32"),
        prototypes_crc32=content.get("prototypes_crc32"),
        ancestors=tuple(map(Ancestor.from_dict, content.get("ancestors", ()))),
        description=content.get("description"),
        quantised_crc32=content.get("quantised_crc32", {}),
    )


def _package_run_by(folder: Path, inference: Inference) -> Package:
    return read_package(folder).run_by(inference)
