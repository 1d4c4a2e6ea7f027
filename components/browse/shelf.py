"""An embedded catalogue with its pictures and with the model that made it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.browse.pictures import Pictures
from components.search.finder import Finder

Embed = Callable[[NDArray[np.uint8], Sequence[str]], Mapping[str, NDArray[np.float32]]]
"""(pixels [S, S, 3], attributes) -> embedding [D] of the picture for each attribute."""

Attend = Callable[[NDArray[np.uint8], Sequence[str]], NDArray[np.float32] | None]
"""(pixels [S, S, 3], attributes) -> weights of positions [K, H, W]; None without attention."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What a column of the page shows.

    Attributes:
        title: names the model.
        key: hash of the items' paths and contents; stands in the addresses of pictures.
        finder: searches the embeddings.
        pictures: of the items.
        image_size_px: side of the pixels that the model takes.
        embed: the model.
        attend: where the model looks.
    """

    title: str
    key: str
    finder: Finder
    pictures: Pictures
    image_size_px: int
    embed: Embed
    attend: Attend
