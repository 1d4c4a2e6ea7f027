"""A shelf of the page: embedded items with their pictures, and the model that embedded them."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from components.embedding.file_source import read_address
from components.images.decode import UnreadableImageError, decode
from components.images.paths import file_inside, read_bytes, without_fragment
from components.prototypes.prototypes import Prototypes
from components.search.finder import Finder

EmbedPicture = Callable[[NDArray[np.uint8], Sequence[str]], Mapping[str, NDArray[np.float32]]]
"""(pixels [S, S, 3], attributes) -> embedding [D] of the picture for each attribute."""

AttendPicture = Callable[[NDArray[np.uint8], Sequence[str]], NDArray[np.float32] | None]
"""(pixels [S, S, 3], attributes) -> weights of positions [K, H, W]; None without attention."""

_JPEG_QUALITY = 88


class ItemPictures:
    """The image files of embedded items, by image number alone.

    Args:
        items: `tables.EMBEDDED_ITEMS`, perhaps with more columns.
        root: folder or URL that the items' paths are relative to; nothing outside it is ever read.
        crop: what of a file the model sees, `preprocess.crop`.
    """

    def __init__(self, items: pa.Table, root: str, *, crop: str = "centre") -> None:
        rows = items.select(["image", "path", "content"]).sort_by("image")
        self._numbers: NDArray[np.int64] = rows["image"].to_numpy()
        self._paths: pa.ChunkedArray = rows["path"]
        self._contents: pa.ChunkedArray = rows["content"]
        self._root = root
        self.crop = crop

    def __len__(self) -> int:
        return len(self._numbers)

    def path(self, image: int) -> str:
        """Returns an image's path, relative to the root.

        Raises:
            UnreadableImageError: missing: there is no such item.
        """
        return str(self._paths[self._row(image)].as_py())

    def read(self, image: int) -> bytes:
        """Returns the bytes of an image's file.

        Raises:
            UnreadableImageError: missing (the item too), outside_root or not_a_file.
        """
        path = self.path(image)
        if "://" not in self._root:
            return read_bytes(file_inside(Path(self._root), path))
        if path.startswith("/") or "://" in path or ".." in PurePosixPath(path).parts:
            raise UnreadableImageError("outside_root", "the path leads out of the data's folder")
        return read_address(f"{self._root}/{path}")

    def pixels(self, image: int, *, side_px: int) -> NDArray[np.uint8]:
        """Returns what the model sees of an image [S, S, 3].

        Raises:
            UnreadableImageError: the file cannot be read or is no image.
        """
        content = str(self._contents[self._row(image)].as_py())
        box = without_fragment(content)[1]  # where it was embedded with one
        return decode(self.read(image), image_size_px=side_px, crop=self.crop, box=box)

    def thumbnail(self, image: int, *, side_px: int) -> bytes:
        """Returns a JPEG of what the model sees of an image.

        Raises:
            UnreadableImageError: the file cannot be read or is no image.
        """
        return jpeg(self.pixels(image, side_px=side_px))

    def _row(self, image: int) -> int:
        row = int(np.searchsorted(self._numbers, image))
        if row == len(self) or self._numbers[row] != image:
            raise UnreadableImageError("missing", f"the embeddings have no image {image}")
        return row


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What a column of the page shows: items and a model, named by the title.

    The key is a hash of the items' paths and contents, for the addresses of pictures. `prototypes`
    raises a HemlineError where the embeddings have none.
    """

    title: str
    key: str
    finder: Finder
    pictures: ItemPictures
    image_size_px: int
    embed: EmbedPicture
    attend: AttendPicture
    prototypes: Callable[[], Prototypes]


def jpeg(pixels_SS3: NDArray[np.uint8]) -> bytes:
    """Returns pixels as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_SS3).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def data_url(pixels_SS3: NDArray[np.uint8]) -> str:
    """Returns pixels as a JPEG in a URL of its own, for pictures that have no address."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(pixels_SS3)).decode()
