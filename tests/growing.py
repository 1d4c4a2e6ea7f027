"""Pictures that show each attribute in a place of its own, and versions to grow that know some.

A picture has four quarters, under noise; the colour of a quarter is its attribute's value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builders import splits_table
from PIL import Image
from small_run import MODEL, TRAIN, write_store

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.params import ModelParams, TrainParams
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE
from components.registry.versions import RegisteredVersion, write_registration
from components.tables import PARENT_PACKAGE, PARENT_VERSION
from components.training.growth import Grown, Growth, Parent, grow, plan_growth, read_parent
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.trained import read_trained_model, save_weights, write_trained_model

SIZE_PX = 64
COLOURS = ((230, 40, 40), (40, 230, 40), (40, 40, 230))
QUARTERS = {"collar": (0, 0), "sleeve": (0, 1), "hem": (1, 0), "pattern": (1, 1)}
NAMES = [*QUARTERS]
OLD = NAMES[:2]
NUM_TRAIN, NUM_HELD_OUT = 96, 24  # of each of valid and test, a quarter of which ask
NUM_IMAGES = NUM_TRAIN + 2 * NUM_HELD_OUT
SMALL = replace(MODEL, embedding_dim=16)
PARAMS = TrainParams(**TRAIN)
_NOISE = 60  # standard deviation


def value_of(image: int, name: str) -> int:
    """Returns the number of an image's value: those of two attributes are independent."""
    return image // 3 ** NAMES.index(name) % 3


def schema_of(names: Sequence[str], **items: int) -> AttributeSchema:
    """Returns a schema; `items` are the numbers of items of attributes that have those."""
    attributes = [
        Attribute(name=name, num_items=items[name])
        if name in items
        else Attribute(name=name, values=("red", "green", "blue"))
        for name in names
    ]
    return AttributeSchema(dataset="quarters", attributes=tuple(attributes))


def pictures() -> np.ndarray:
    """Returns the pixels of all images."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, _NOISE, (NUM_IMAGES, SIZE_PX, SIZE_PX, 3))
    half = SIZE_PX // 2
    for image, picture in enumerate(pixels):
        for name, (row, column) in QUARTERS.items():
            quarter = picture[row * half :][:half, column * half :][:, :half]
            quarter += COLOURS[value_of(image, name)]
    return pixels.clip(0, 255).astype(np.uint8)


def write_pictures(folder: Path) -> None:
    """Writes all pictures as a table with all of their labels."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,attribute,value"]
    for image, pixels in enumerate(pictures()):
        Image.fromarray(pixels).save(folder / f"images/{image:03d}.png")
        lines += [f"{image:03d}.png,{name},{value_of(image, name)}" for name in NAMES]
    (folder / "labels.csv").write_text("\n".join(lines))


def split_of(image: int) -> tuple[str, str]:
    """Returns an image's split and role."""
    if image < NUM_TRAIN:
        return "train", "train"
    split = "valid" if image < NUM_TRAIN + NUM_HELD_OUT else "test"
    return split, "gallery" if image % 4 else "query"


Row = tuple[Any, ...]


def rows_of(names: Sequence[str]) -> list[Row]:
    """Returns rows (image, attribute, value, split, role): every image has every label."""
    return [
        (image, number, value_of(image, name), *split_of(image))
        for image in range(NUM_IMAGES)
        for number, name in enumerate(names)
    ]


def store_pictures(folder: Path, *, image_size_px: int = SIZE_PX, crop: str = "centre") -> None:
    """Writes the store of all images, cut off at another size."""
    pixels = pictures()[:, :image_size_px, :image_size_px]
    write_store(folder, np.arange(NUM_IMAGES), pixels, crop=crop)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A folder of a project: inputs of training, and versions that lie in folders."""

    folder: Path

    @property
    def inputs(self) -> TrainingInputs:
        """What the stage reads."""
        return TrainingInputs(
            catalog=self.folder / "catalog",
            store=StoreLocation(address=str(self.folder / "store"), cache=self.folder / "cache"),
            splits=self.folder / "splits",
            triplets=self.folder / "triplets",
        )

    @property
    def store(self) -> ImageStore:
        """The pictures."""
        return ImageStore(self.inputs.store.local())

    def label(self, names: Sequence[str], rows: Sequence[Row] | None = None, **items: int) -> None:
        """Writes catalog and splits of some attributes; every image has every label, or rows."""
        schema = schema_of(names, **items)
        files.write_json(schema.as_dict(), self.inputs.catalog / tables.SCHEMA_FILE)
        splits = splits_table(rows_of(names) if rows is None else rows)
        path = self.inputs.splits / tables.SPLITS_FILE
        files.write_table(splits, path, schema=tables.SPLITS)

    def new_parent(
        self,
        number: int = 1,
        names: Sequence[str] = OLD,
        *,
        model: ModelParams = SMALL,
        exported: bool = False,
    ) -> str:
        """Makes a version that was not trained, and returns the hash of its graph."""
        torch.manual_seed(number)
        network = build_model(num_values=[3] * len(names), num_landmarks=1, **asdict(model))
        network.train()
        shape = (8, 3, SIZE_PX, SIZE_PX)
        for _ in range(20):  # batch statistics that are not those of the start
            network(torch.randn(shape), torch.zeros(8, 1, dtype=torch.int64))
        return self.add(
            network.eval().for_inference(),
            number,
            schema=schema_of(names),
            description={"model": asdict(model)},
            exported=exported,
        )

    def add(
        self,
        network: EmbeddingNetwork,
        number: int,
        *,
        schema: AttributeSchema,
        description: Mapping[str, Any],
        exported: bool = False,
    ) -> str:
        """Writes a version as `hemline grow` does, and returns the hash of its graph.

        What is not exported has no package, which growing does not read.
        """
        folder = self.version(number)
        save_weights(network, self.folder / "weights")
        write_trained_model(
            folder,
            self.folder / "weights",
            description=description,
            schema=schema,
            image_size_px=SIZE_PX,
        )
        sha256 = files.sha256(self.folder / "weights")
        if exported:
            package = folder / PARENT_PACKAGE
            write_package(
                network, package, schema=schema, image_size_px=SIZE_PX, description=description
            )
            sha256 = files.sha256(package / NETWORK_FILE)
        write_registration(
            RegisteredVersion(name="hemline", version=number),
            folder / PARENT_VERSION,
            graph_sha256=sha256,
        )
        return sha256

    def version(self, number: int) -> Path:
        """Returns the folder of a version."""
        return self.folder / f"version-{number}"

    def read(self, number: int) -> Parent:
        """Returns a version to grow."""
        sha256 = files.read_json(self.version(number) / PARENT_VERSION)["graph_sha256"]
        return read_parent(self.version(number), sha256)

    def plan(self, number: int = 1, *, model: ModelParams = SMALL) -> Growth:
        """Returns what is to be grown of a version."""
        # mirrored, a quarter says something of another attribute
        return plan_growth(self.read(number), self.inputs, model, flip_probability=0)

    def grow(
        self, number: int, *, into: int, model: ModelParams = SMALL, exported: bool = False
    ) -> Grown:
        """Grows a version into another one by what the catalog has, and returns what was grown."""
        growth, state = self.plan(number, model=model), self.folder / f"state-{number}-{into}"
        grown = grow(growth, PARAMS, folder=state, log=lambda *_, **__: None)
        model = self.folder / f"model-{into}"
        write_trained_model(
            model,
            state / BEST_WEIGHTS,
            description=grown.description,
            schema=growth.schema,
            image_size_px=SIZE_PX,
        )
        self.add(
            read_trained_model(model).network,
            into,
            schema=growth.schema,
            description=grown.description,
            exported=exported,
        )
        return grown


def new_line(folder: Path, names: Sequence[str] = NAMES) -> Line:
    """Returns a project whose catalog has some attributes, and which has no version."""
    line = Line(folder=folder)
    store_pictures(line.inputs.store.local())
    line.label(names)
    return line
