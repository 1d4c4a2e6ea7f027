"""Images to embed: what they are, and how workers read them.

Shape letters: n images, S side in pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import tables
from components.images.decode import UnreadableImageError
from components.images.geometry import boxes_by_image
from components.images.paths import fragment_of
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore, other_crop

Pixels = NDArray[np.uint8] | UnreadableImageError
"""An image's pixels [S, S, 3], or why there are none."""


class Reader(Protocol):
    """Reads images in a worker; it is pickled, so it must be small."""

    @property
    def num_cpus(self) -> float:
        """CPUs that a task of reading takes."""

    def read(
        self,
        images_n: NDArray[np.int64],
        addresses: Sequence[str],
        *,
        image_size_px: int,
        crop: str,
    ) -> Iterable[Pixels]:
        """Yields each image's pixels or why there are none, in the order given."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images with a number each.

    `items` are `tables.EMBEDDED_ITEMS` and further columns, by ascending number, `addresses` the
    texts that the reader takes for each of them. Paths are relative to `root`; None: to the root of
    the catalog's data. `passed_over` counts the files that are no images to embed, by what they
    are. `boxes` has a `fragment_of` for each of them, empty where nothing is known; None: of no
    image. `crop` is that of the store that is read; None: any.
    """

    items: pa.Table
    addresses: pa.Array | pa.ChunkedArray
    root: str | None
    reader: Reader
    passed_over: Mapping[str, int] = field(default_factory=dict)
    boxes: pa.Array | pa.ChunkedArray | None = None
    crop: str | None = None

    def cropped(self, crop: str, *, of: str) -> "Source":
        """Returns the images as a model sees them, which `of` names.

        With crop `box`, a box is a part of the content: another box makes another embedding.

        Raises:
            HemlineError: the store has another crop.
        """
        if self.crop not in (None, crop):
            raise other_crop(str(self.crop), crop, of=of)
        if crop == "centre" or self.boxes is None:
            return self
        contents = pc.binary_join_element_wise(self.items["content"], self.boxes, "")
        column = self.items.schema.get_field_index("content")
        return replace(self, items=self.items.set_column(column, "content", contents))


@dataclass(frozen=True, kw_only=True)
class StoreReader:
    """Reads from the image store, by image number."""

    location: StoreLocation
    num_cpus: float = 0.0  # a copy out of a memory map

    def read(
        self,
        images_n: NDArray[np.int64],
        addresses: Sequence[str],
        *,
        image_size_px: int,
        crop: str,
    ) -> Iterable[Pixels]:
        """Yields each image's pixels."""
        return iter(_store(self.location).gather(images_n))


def stored_images(location: StoreLocation, images: pa.Table, boxes: pa.Table) -> Source:
    """Returns the images that a store holds.

    `images` (`tables.IMAGES`) has their paths, `boxes` (`tables.BOXES`) what they are cropped to.

    Raises:
        HemlineError: there is no store, or it is damaged.
    """
    store = ImageStore(location.local())
    held, box_of = store.images, boxes_by_image(boxes)
    rows = images.take(np.searchsorted(images["image"].to_numpy(), held))
    columns = [rows["image"], rows["path"], rows["sha256"]]
    boxes_of = [fragment_of(box_of.get(image)) for image in held.tolist()] if box_of else None
    return Source(
        items=pa.table(columns, schema=tables.EMBEDDED_ITEMS),
        addresses=pa.repeat("", len(held)),
        root=None,
        reader=StoreReader(location=location),
        boxes=None if boxes_of is None else pa.array(boxes_of, pa.string()),
        crop=store.crop,
    )


@lru_cache(maxsize=1)
def _store(location: StoreLocation) -> ImageStore:
    return ImageStore(location.local())  # mapped once per worker process
