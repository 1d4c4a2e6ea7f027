"""What a catalog says about single images: their paths and their values of an attribute."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.tables import Catalog


class CatalogLookup:
    """Paths and values of a catalog's images for one attribute."""

    def __init__(self, catalog: Catalog, attribute: str) -> None:
        index = catalog.schema.index(attribute)
        names = catalog.schema.attributes[index].values
        labels = catalog.labels.filter(pc.field("attribute") == index).to_pydict()
        self._values: dict[int, set[str]] = {}
        for image, value in zip(labels["image"], labels["value"], strict=True):
            self._values.setdefault(image, set()).add(names[value])
        self._images: pa.Table = catalog.images
        rows = catalog.images.select(["image", "path"]).to_pydict()
        self._paths: dict[int, str] = dict(zip(rows["image"], rows["path"], strict=True))

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Numbers of the images that have a value of the attribute."""
        return np.array(sorted(self._values), np.int64)

    @property
    def images(self) -> NDArray[np.int64]:
        """Numbers of all images."""
        return np.asarray(self._images["image"].to_numpy())

    def same_content(self, data: bytes) -> NDArray[np.int64]:
        """Returns the numbers of the images whose file holds exactly these bytes."""
        digest = hashlib.sha256(data).hexdigest()
        return np.asarray(self._images.filter(pc.field("sha256") == digest)["image"].to_numpy())

    def path(self, image: int) -> str:
        """Returns an image's path, relative to the data root."""
        return self._paths[image]

    def values(self, image: int) -> set[str]:
        """Returns an image's values of the attribute; empty where it has no label of it."""
        return self._values.get(image, set())

    def values_of_any(self, images: NDArray[np.int64]) -> set[str]:
        """Returns the values that any of the images has."""
        return set().union(*(self.values(image) for image in images.tolist()))
