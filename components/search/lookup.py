"""What a catalog says of its images: their labels, and what their files hold."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.tables import Catalog


class CatalogLookup:
    """Labels and columns of a catalog's images.

    Attributes:
        schema: the attributes and their values.
        images: `tables.IMAGES`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.schema = catalog.schema
        self.images: pa.Table = catalog.images
        self._labels: pa.Table = catalog.labels.select(["image", "attribute", "value"])

    def labelled(self, attributes: Collection[str]) -> NDArray[np.int64]:
        """Returns the numbers of the images that have a value of one of the attributes.

        Raises:
            HemlineError: the catalog does not know an attribute.
        """
        asked = pa.array([self.schema.index(name) for name in attributes], pa.int16())
        labels = self._labels.filter(pc.field("attribute").isin(asked))
        return np.unique(labels["image"].to_numpy())

    def with_value(self, attribute: str, value: int) -> NDArray[np.int64]:
        """Returns the numbers of the images that have a value of an attribute.

        Args:
            attribute: its name.
            value: position in the schema.

        Raises:
            HemlineError: the catalog does not know the attribute.
        """
        index = self.schema.index(attribute)
        theirs = (pc.field("attribute") == index) & (pc.field("value") == value)
        return np.unique(self._labels.filter(theirs)["image"].to_numpy())

    def same_content(self, digest: str) -> NDArray[np.int64]:
        """Returns the numbers of the images whose file has a SHA-256, in hexadecimal."""
        return np.asarray(self.images.filter(pc.field("sha256") == digest)["image"].to_numpy())

    def values(self, images: Sequence[int]) -> dict[int, dict[str, tuple[str, ...]]]:
        """Returns each image's values of every attribute that it has a label of, in order."""
        theirs = self._labels.filter(pc.field("image").isin(pa.array(images, pa.int64())))
        rows = sorted(zip(*(theirs[name].to_pylist() for name in theirs.column_names), strict=True))
        found: dict[int, dict[str, tuple[str, ...]]] = {image: {} for image in images}
        for image, index, number in rows:
            attribute = self.schema.attributes[index]
            of_image = found[image]
            value = attribute.values[number]
            of_image[attribute.name] = (*of_image.get(attribute.name, ()), value)
        return found
