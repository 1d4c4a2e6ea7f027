"""Pixels of catalogued images out of their files, in another size than the store's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.images.inside import file_inside


@dataclass(frozen=True, kw_only=True)
class FilePixels:
    """Decodes images as they are asked for.

    Attributes:
        root: of the data set.
        images: `tables.IMAGES`.
        image_size_px: side of the pixels.
    """

    root: Path
    images: pa.Table
    image_size_px: int

    def gather(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the pixels of images [n, S, S, 3].

        Raises:
            HemlineError: a file cannot be read.
        """
        rows = np.searchsorted(self.images["image"].to_numpy(), images)
        return np.stack([self._decode(path) for path in self.images["path"].take(rows).to_pylist()])

    def _decode(self, path: str) -> NDArray[np.uint8]:
        try:
            data = read_bytes(file_inside(self.root, path))
            return decode(data, image_size_px=self.image_size_px)
        except UnreadableImageError as error:
            raise HemlineError(
                f"{self.root / path}: {error}; it was readable when the catalog was made: bring "
                "the file back, or run `dvc repro`"
            ) from error
