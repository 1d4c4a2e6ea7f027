"""Images to embed: what they are, and how workers read them.

Shape letters: n images, S side in pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.images.decode import UnreadableImageError
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore

Pixels = NDArray[np.uint8] | UnreadableImageError
"""An image's pixels [S, S, 3], or why there are none."""


class Reader(Protocol):
    """Reads images in a worker; it is pickled, so it must be small."""

    @property
    def num_cpus(self) -> float:
        """CPUs that a task of reading takes."""

    def read(
        self, images_n: NDArray[np.int64], addresses: Sequence[str], *, image_size_px: int
    ) -> Iterable[Pixels]:
        """Yields each image's pixels or why there are none, in the order given."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images with a number each.

    `items` are `tables.EMBEDDED_ITEMS` and further columns, by ascending number, `addresses` what
    the reader takes for each of them. Paths are relative to `root`; None: to the root of the
    catalog's data. `passed_over` counts the files that are no images to embed, by what they are.
    """

    items: pa.Table
    addresses: Sequence[str]
    root: str | None
    reader: Reader
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoreReader:
    """Reads from the image store, by image number."""

    location: StoreLocation
    num_cpus: float = 0.0  # a copy out of a memory map

    def read(
        self, images_n: NDArray[np.int64], addresses: Sequence[str], *, image_size_px: int
    ) -> Iterable[Pixels]:
        """Yields each image's pixels."""
        return iter(_store(self.location).gather(images_n))


def stored_images(location: StoreLocation, images: pa.Table) -> Source:
    """Returns the images that a store holds; `images` (`tables.IMAGES`) has their paths.

    Raises:
        HemlineError: there is no store, or it is damaged.
    """
    held = ImageStore(location.local()).images
    rows = images.take(np.searchsorted(images["image"].to_numpy(), held))
    columns = [rows["image"], rows["path"], rows["sha256"]]
    return Source(
        items=pa.table(columns, schema=tables.EMBEDDED_ITEMS),
        addresses=[""] * len(held),
        root=None,
        reader=StoreReader(location=location),
    )


@lru_cache(maxsize=1)
def _store(location: StoreLocation) -> ImageStore:
    return ImageStore(location.local())  # mapped once per worker process
