"""A few products, photographed in the street and in the shop: a data set with items."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from builders import encoded, write_files
from embedded_folders import write_embedded_folder
from numpy.typing import NDArray
from PIL import Image

from components.datasets.catalog import build_catalog
from components.datasets.labelled import Label, LabelledImages
from components.embedding.embeddings import Embeddings
from components.prototypes.listed import listed_part
from components.prototypes.making import make_prototypes
from components.prototypes.prototypes import Prototypes
from components.prototypes.tags import UNCALIBRATED
from components.tables import Catalog

ITEM = "item"
SIDE_PX = 64
PHOTOS = ("street-1", "street-2", "shop-1", "shop-2")


@dataclass(frozen=True)
class Products:
    """Products `A-000`, `A-001`, …, each of four photographs; of the last there is one.

    A product is a colour of its own with stripes of another. Its attributes are `neck`, which the
    stripes show, and `hem`, which the colour does.
    """

    number: int = 40
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [f"A-{each:03d}" for each in range(self.number)])

    @property
    def item_of(self) -> dict[str, str]:
        """The product of each photograph, by path."""
        return {
            f"photos/{name}/{photo}.png": name
            for name in self.names
            for photo in (PHOTOS[:1] if name == self.names[-1] else PHOTOS)
        }

    def write(self, root: Path) -> None:
        """Writes the photographs."""
        files = {path: encoded(self._photo(path)) for path in self.item_of}
        write_files(root, files)

    def write_table(self, root: Path) -> None:
        """Writes the photographs, and what `labelled` has of them, as a wide table."""
        self.write(root)
        labelled = self.labelled()
        cells: dict[str, dict[str, str]] = {}
        for label in labelled.labels:
            cells.setdefault(label.path, {})[label.attribute] = label.value
        names = ("neck", ITEM, "hem")
        lines = [",".join(("image", "domain", *names))]
        for path, values in cells.items():
            lines.append(",".join((path, labelled.domains[path], *(values[x] for x in names))))
        write_files(root, {"labels.csv": "\n".join(lines) + "\n"})

    def labelled(self) -> LabelledImages:
        """Returns what a reader would find."""
        labels = []
        for path, name in self.item_of.items():
            number = self.names.index(name)
            labels.append(Label(path, "neck", ("v", "round")[number % 2]))
            labels.append(Label(path, ITEM, name))
            labels.append(Label(path, "hem", ("short", "knee", "long")[number % 3]))
        return LabelledImages(
            dataset="products",
            labels=labels,
            source="products",
            identity=ITEM,
            groups=self.item_of,
            domains={path: Path(path).name.split("-")[0] for path in self.item_of},
        )

    def catalog(self, root: Path) -> Catalog:
        """Returns the catalog of the photographs in a folder, which are written there."""
        self.write(root)
        return build_catalog(self.labelled(), root, exclude_attributes=())

    def embed(self, folder: Path, catalog: Catalog) -> Embeddings:
        """Returns embeddings in which products lie apart, and photographs of one at one point.

        So do values of the other attributes, each on an axis of its own.
        """
        paths = catalog.images["path"].to_pylist()
        names = catalog.schema.names
        numbers = [self.names.index(self.item_of[path]) for path in paths]
        axes = {"neck": 2, ITEM: self.number, "hem": 3}
        vectors = {
            name: np.eye(self.number, dtype=np.float32)[[number % axes[name] for number in numbers]]
            for name in names
        }
        schema, labels, places = listed_part(catalog.labels, catalog.schema)
        made = make_prototypes(
            labels.to_pandas(),
            schema,
            np.arange(len(paths)),
            np.stack([vectors[names[place]] for place in places], axis=1),
        )
        return write_embedded_folder(
            folder,
            vectors,
            columns={"path": paths, "content": catalog.images["sha256"].to_pylist()},
            prototypes=Prototypes(
                attributes=dict(zip(schema.names, made, strict=True)),
                weights=dict.fromkeys(schema.names, 1.0),
                calibrations=dict.fromkeys(schema.names, UNCALIBRATED),
                model="of products",
            ),
        )

    def _photo(self, path: str) -> Image.Image:
        number = self.names.index(self.item_of[path])
        rng = np.random.default_rng(number)
        colour, stripe = rng.integers(0, 256, (2, 3))
        colour[2] = (40, 130, 220)[number % 3]
        pixels: NDArray[np.float64] = np.tile(colour.astype(float), (SIDE_PX, SIDE_PX, 1))
        lines = np.arange(SIDE_PX) // 8 % 2 == 0
        pixels[(lines, slice(None)) if number % 2 else (slice(None), lines)] = stripe
        if "street" in path:  # darker, and noisy
            pixels = pixels * 0.6 + rng.integers(0, 60, pixels.shape)
        noise = np.random.default_rng(len(path) + ord(path[-5])).integers(-8, 9, pixels.shape)
        return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
