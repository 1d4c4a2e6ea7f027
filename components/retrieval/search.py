"""Exact search in the embedded catalogue."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components import files
from components.errors import HemlineError
from components.retrieval.embed import attribute_folder


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest items of a query, nearest first: image numbers [k] and cosines [k]."""

    images: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmbeddedAttribute:
    """The catalogue's embeddings for one attribute.

    Attributes:
        model_name: of the model that embedded it.
        model_version: of that model.
        images: image numbers [n].
        embeddings: of unit length [n, D].
    """

    model_name: str
    model_version: int
    images: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def nearest(
        self, query_D: NDArray[np.float32], *, top_k: int, among: NDArray[np.int64]
    ) -> Neighbours:
        """Returns the `top_k` items most similar to the query among the given image numbers."""
        allowed = np.isin(self.images, among)
        similarities = self.embeddings[allowed] @ query_D
        order = np.argsort(-similarities, kind="stable")[:top_k]
        return Neighbours(images=self.images[allowed][order], similarities=similarities[order])


def read_embedded_attribute(embeddings: Path, attribute: str) -> EmbeddedAttribute:
    """Returns an attribute's embeddings.

    Raises:
        HemlineError: the catalogue was not embedded, or not for this attribute.
    """
    manifest = files.read_json(embeddings / "manifest.json")
    if attribute not in manifest["attributes"]:
        known = ", ".join(manifest["attributes"])
        raise HemlineError(f"no attribute {attribute!r}; the catalogue is embedded for {known}")
    table = pq.read_table(
        attribute_folder(embeddings, attribute), columns=["image", "embedding"], partitioning=None
    )
    vectors: pa.FixedSizeListArray = table["embedding"].combine_chunks()
    stacked = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return EmbeddedAttribute(
        model_name=manifest["model_name"],
        model_version=manifest["model_version"],
        images=table["image"].to_numpy(),
        embeddings=stacked.astype(np.float32),
    )
