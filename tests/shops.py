"""A small shop with all that search and its page need: pictures, labels, a model, embeddings.

The model is a real one, exported and read again, with attention, but of a few hundred weights.
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from builders import encoded, labels_table, noise, write_files
from embedded_folders import write_embedded_folder
from numpy.typing import NDArray
from torch import Tensor, nn

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import Embeddings
from components.images.decode import decode
from components.models.network import Maps, WeightingNetwork
from components.prototypes.making import make_prototypes
from components.prototypes.prototypes import Prototypes
from components.prototypes.tags import UNCALIBRATED
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, Package, read_package
from components.tables import Catalog, Numbering

NUM_ITEMS = 70
SIDE_PX = 32
EMBEDDING_DIM = 8
COLLARS = ("none", "<b>rib</b>")
SCHEMA = AttributeSchema(
    dataset="small shop",
    attributes=(
        Attribute(name="collar", values=COLLARS),
        Attribute(name="coat_length", values=("short", "long")),
    ),
)


class SmallNetwork(WeightingNetwork):
    """A convolution, a softmax over its map for each attribute, and the weighted sum."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv2d(3, EMBEDDING_DIM, 8, stride=8)
        self.query = nn.Embedding(len(SCHEMA.attributes), EMBEDDING_DIM)

    def maps(self, images_B3HW: Tensor) -> Maps:
        return (self.convolution(images_B3HW),)

    def features_of(self, maps: Maps) -> Tensor:
        return maps[-1]

    def attend(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        scores = torch.einsum("bkc,bchw->bkhw", self.query(attributes_BK), features_BCHW)
        return scores.flatten(2).softmax(dim=-1).view_as(scores)

    def embed_attended(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        return vectors_BKC


class Shop:
    """The shop in a folder: `raw`, `data/catalog`, and what `embed` makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "raw"
        self.paths = [f"items/{number:02d} <i>.png" for number in range(NUM_ITEMS)]
        self.pictures = [picture(number) for number in range(NUM_ITEMS)]
        write_files(self.root, dict(zip(self.paths, self.pictures, strict=True)))
        self.catalog = _catalog(self.paths, self.pictures)
        tables.write_catalog(self.catalog, folder / "data/catalog")

    def export(self, name: str, *, seed: int) -> Package:
        """Returns a model with weights of its own, exported to a folder of that name."""
        network = SmallNetwork(seed)
        write_package(network, self.folder / name, schema=SCHEMA, image_size_px=SIDE_PX)
        return read_package(self.folder / name)

    def embed(self, name: str, package: Package, *, version: int) -> Embeddings:
        """Returns the items embedded with a model, read from the folder of that name."""
        vectors = [
            package.embed_each(decode(data, image_size_px=SIDE_PX), SCHEMA.names)
            for data in self.pictures
        ]
        images = self.catalog.images
        return write_embedded_folder(
            self.folder / name,
            {
                attribute: np.stack([each[attribute] for each in vectors])
                for attribute in SCHEMA.names
            },
            columns={"path": self.paths, "content": images["sha256"].to_pylist()},
            model_version=version,
            model_sha256=files.sha256(package.folder / NETWORK_FILE),
            prototypes=self._prototypes(vectors),
        )

    def _prototypes(self, vectors: list[dict[str, NDArray[np.float32]]]) -> Prototypes:
        """Returns the prototypes of the items' own embeddings."""
        made = make_prototypes(
            self.catalog.labels.to_pandas(),
            SCHEMA,
            np.arange(NUM_ITEMS),
            np.stack([[each[name] for name in SCHEMA.names] for each in vectors]),
        )
        return Prototypes(
            attributes=dict(zip(SCHEMA.names, made, strict=True)),
            weights=dict.fromkeys(SCHEMA.names, 1.0),
            calibrations=dict.fromkeys(SCHEMA.names, UNCALIBRATED),
            model="of the shop",
        )


def picture(seed: int) -> bytes:
    """Returns an image file; another one for every seed."""
    return encoded(noise(SIDE_PX + 8, SIDE_PX, seed=seed))


def _catalog(paths: list[str], pictures: list[bytes]) -> Catalog:
    rows = [
        {
            "image": number,
            "path": path,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "width": SIDE_PX + 8,
            "height": SIDE_PX,
        }
        for number, (path, data) in enumerate(zip(paths, pictures, strict=True))
    ]
    # of the coat's length, one item in two has a label
    labels = [(number, 0, number % 3 % 2) for number in range(len(paths))]
    labels += [(number, 1, number % 4 // 2) for number in range(0, len(paths), 2)]
    return Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="o", next_image=len(paths)),
        images=pa.Table.from_pylist(rows, schema=tables.IMAGES),
        labels=labels_table(labels),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )
