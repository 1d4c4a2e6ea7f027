"""What a report is made of: an evaluation, and the parts that are ready to be laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.evaluation.attention import Attend
from components.evaluation.evaluation import AttributeResult
from components.evaluation.manipulation_figures import Manipulation
from components.figures.pictures import attention_overlay, to_data_uri
from components.images.store import ImageStore
from components.provenance.origin import Champion, Origin

Sign = Literal["query", "agrees", "differs", "plain"]
"""How a picture is framed (`figures.frames`); plain: not at all."""

_SIDE_PX = 128  # a report holds hundreds
_REMEMBERED = 1024


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network, what it was measured on, and the results.

    Attributes:
        schema: attributes that the network knows.
        network: section `model` of the params.
        origin: where the training run comes from.
        champion: the version in use; None where there is none.
        num_catalog_images: number of images of the data set.
        splits: `tables.SPLITS`.
        triplets: `tables.TRIPLETS` of the test split.
        curve: `tables.TRAINING`.
        store: pixels of the images.
        attend: where the network looks.
        images: ascending numbers of the test images [n].
        embeddings: their embeddings of unit length [n, N, D].
        results: results by position of the attribute in the schema.
        manipulation: attribute manipulation; it may say that it was not measured.
        item_names: names of items by their numbers; empty where there are none.
        figures: figures as `evaluation.report`, `attention.add_attention` and
            `manipulation_figures.manipulation_report` make them.
    """

    schema: AttributeSchema
    network: Mapping[str, Any]
    origin: Origin
    champion: Champion | None
    num_catalog_images: int
    splits: pa.Table
    triplets: pa.Table
    curve: pa.Table
    store: ImageStore
    attend: Attend
    images: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    results: Mapping[int, AttributeResult]
    manipulation: Manipulation
    item_names: Mapping[int, str]
    figures: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture as a data URI, its description for readers who do not see it, and its caption."""

    source: str
    description: str
    lines: Sequence[str] = ()
    sign: Sign = "plain"


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures in a row, and what they show."""

    title: str
    tiles: Sequence[Tile]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart as an element of a page, and what it shows; without one, why there is none."""

    svg: str | None
    caption: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under a header; the first cell of a row says what the row is."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class AttributeSection:
    """An attribute's part of the report.

    Searches are the best, the median and the worst query with what they found; confused are the
    values that are confused most, each with its most similar example (None of items); triplets are
    some in order, and the worst out of order. Attention is None where the network has none.
    """

    name: str
    summary: str
    searches: Sequence[Strip]
    attention: Strip | None
    space: Figure
    confused: Sequence[Strip] | None
    triplets: Sequence[Strip]
    triplet_summary: str


@dataclass(frozen=True, kw_only=True)
class ManipulationPart:
    """What a report says of attribute manipulation.

    Where nothing was measured, the summary says why, and there is nothing else.
    """

    summary: str
    scores: Table | None
    curves: Figure | None
    examples: Sequence[Strip]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Facts are names and texts: what was measured, and where it comes from. Quality is the scores as
    a chart; notes say what is not shown, and why; items are None where there are none, papers where
    they cannot be compared, tags where no value was named, growth where nothing was grown,
    quantisation where there is no graph in 8-bit integers.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    quality: Figure
    scores: Table
    items: Table | None
    notes: Sequence[str]
    papers: Table | None
    tags: Table | None
    growth: Table | None
    quantisation: Table | None
    learning: Figure
    spaces: Figure
    manipulation: ManipulationPart
    attention: Sequence[Strip]
    attributes: Sequence[AttributeSection]
    failures: Sequence[Strip]


class StoreTiles:
    """Tiles of the images of a store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._source = lru_cache(_REMEMBERED)(lambda image: _encoded(self._pixels(image)))

    def tile(self, image: int, *, lines: Sequence[str], sign: Sign = "plain") -> Tile:
        """Returns an image with its caption."""
        described = f"image {image}: {', '.join(lines)}"
        return Tile(source=self._source(image), description=described, lines=lines, sign=sign)

    def attended(
        self, image: int, weights_HW: NDArray[np.floating], *, lines: Sequence[str]
    ) -> Tile:
        """Returns an image with the network's attention laid over it."""
        pixels = attention_overlay(self._pixels(image), weights_HW)
        described = f"attention in image {image}: {', '.join(lines)}"
        return Tile(source=_encoded(pixels), description=described, lines=lines)

    def _pixels(self, image: int) -> NDArray[np.uint8]:
        return self._store.gather(np.array([image], np.int64))[0]


def _encoded(pixels_SS3: NDArray[np.uint8]) -> str:
    return to_data_uri(pixels_SS3, side_px=_SIDE_PX)
