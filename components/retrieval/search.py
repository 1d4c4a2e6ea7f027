"""Exact search in the embedded catalogue, by one attribute or by all and then by one."""

from collections.abc import Mapping
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

    def reranked(
        self,
        query_D: NDArray[np.float32],
        general_n: NDArray[np.float32],
        *,
        top_k: int,
        num_reranked: int,
        among: NDArray[np.int64],
    ) -> Neighbours:
        """Returns the first `top_k` items of a general ranking that was reranked by this attribute.

        Args:
            query_D: of unit length, for this attribute.
            general_n: similarity of each item to the query that makes the general ranking.
            top_k: how many items to return.
            num_reranked: how many of the general ranking take part.
            among: image numbers that are ranked at all.
        """
        allowed = np.isin(self.images, among)
        similarities = self.embeddings[allowed] @ query_D
        order = rerank(general_n[allowed], similarities, num_reranked=num_reranked)[:top_k]
        return Neighbours(images=self.images[allowed][order], similarities=similarities[order])


def rerank(
    general_n: NDArray[np.floating], similarity_n: NDArray[np.floating], *, num_reranked: int
) -> NDArray[np.int64]:
    """Returns the first places of a ranking by general similarity, reordered by another similarity.

    The first `num_reranked` places are returned, fewer where there are fewer items. Equal
    similarities keep the items' order. Source: ASEN, which reranks a general in-shop retrieval by
    the attribute-specific similarity.

    Args:
        general_n: similarity of each item that makes the general ranking.
        similarity_n: similarity of each item that reorders its first places.
        num_reranked: how many are reordered.
    """
    first = np.argsort(-general_n, kind="stable")[:num_reranked]
    return first[np.argsort(-similarity_n[first], kind="stable")]


def general_similarity(
    embeddings: Path, queries: Mapping[str, NDArray[np.float32]], images_n: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the sum over attributes of each image's cosine with the query [n].

    The papers sum similarities where several attributes are asked for. One attribute's embeddings
    are in memory at a time.

    Args:
        embeddings: folder of the embedded catalogue.
        queries: embedding [D] of the query for each attribute.
        images_n: numbers of embedded images.

    Raises:
        HemlineError: the catalogue was not embedded, or not for one of the attributes.
    """
    total_n = np.zeros(len(images_n), np.float32)
    for attribute, query_D in queries.items():
        embedded = read_embedded_attribute(embeddings, attribute)
        order = np.argsort(embedded.images)
        place_n = order[np.searchsorted(embedded.images, images_n, sorter=order)]
        total_n += (embedded.embeddings @ query_D)[place_n]
    return total_n


def embedded_attributes(embeddings: Path) -> list[str]:
    """Returns the attributes that the catalogue is embedded for.

    Raises:
        HemlineError: the catalogue was not embedded.
    """
    attributes: list[str] = files.read_json(embeddings / "manifest.json")["attributes"]
    return attributes


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
