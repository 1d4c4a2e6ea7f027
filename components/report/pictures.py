"""Pictures of a report, from the image store."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from components.figures.inline import to_data_uri
from components.figures.overlay import attention_overlay
from components.images.store import ImageStore
from components.report.content import Sign, Tile

_SIDE_PX = 128  # a report holds hundreds
_REMEMBERED = 1024


class Pictures:
    """Tiles of the images of a store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._source = lru_cache(_REMEMBERED)(self._encoded)

    def tile(self, image: int, *, lines: Sequence[str] = (), sign: Sign = "plain") -> Tile:
        """Returns an image with its caption."""
        described = f"image {image}: {', '.join(lines)}" if lines else f"image {image}"
        return Tile(source=self._source(image), description=described, lines=lines, sign=sign)

    def attended(
        self, image: int, weights_HW: NDArray[np.floating], *, lines: Sequence[str]
    ) -> Tile:
        """Returns an image with the network's attention laid over it."""
        pixels = attention_overlay(self._pixels(image), weights_HW)
        described = f"attention in image {image}: {', '.join(lines)}"
        source = to_data_uri(pixels, side_px=_SIDE_PX)
        return Tile(source=source, description=described, lines=lines)

    def _encoded(self, image: int) -> str:
        return to_data_uri(self._pixels(image), side_px=_SIDE_PX)

    def _pixels(self, image: int) -> NDArray[np.uint8]:
        return self._store.gather(np.array([image], np.int64))[0]
