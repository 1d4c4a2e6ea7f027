"""The items that are compared with one another, in one attribute or a weighted sum of several.

Shape letters: n items, D embedding, W words of a vector.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.embedding.embeddings import Embeddings, Numbers
from components.errors import HemlineError
from components.search.request import SearchRequest
from components.search.vector_map import mapped_vectors

_SHA256 = re.compile("[0-9a-f]{64}(?:#xywh=.*)?")  # and the box that was embedded of the file
_ROWS_AT_ONCE = 2**16  # whose words are multiplied


@dataclass(frozen=True, kw_only=True)
class ComparedItems:
    """Items, by ascending image number, with their vectors as they are stored.

    Attributes:
        images_n: image numbers.
        contents_n: equal for items whose files are equal byte by byte, as far as that is known, and
            that are the same box of them.
        vectors: their vectors [n, D] for each attribute.
        weights: weight of each attribute.
    """

    images_n: NDArray[np.int64]
    contents_n: NDArray[np.int64]
    vectors: tuple[Numbers, ...]
    weights: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.images_n)

    def rows(self, places: slice | NDArray[np.integer] | NDArray[np.bool_]) -> "ComparedItems":
        """Returns some of the items."""
        return replace(
            self,
            images_n=self.images_n[places],
            contents_n=self.contents_n[places],
            vectors=tuple(vectors_nD[places] for vectors_nD in self.vectors),
        )


def read_compared(embedded: Embeddings, items: pa.Table, request: SearchRequest) -> ComparedItems:
    """Returns embedded items as a request compares them.

    They are in memory as they are stored: 1 GB for a million vectors of 512 in half precision.

    Args:
        embedded: the embeddings.
        items: their items, by ascending image number: `tables.EMBEDDED_ITEMS`.
        request: says by which attributes.

    Raises:
        HemlineError: images are not embedded for an attribute, a file is damaged, or a number of a
            vector is not finite.
    """
    vectors = tuple(_vectors(embedded, name) for name in request.weights)
    return ComparedItems(
        images_n=items["image"].to_numpy(),
        contents_n=_contents(items["content"]),
        vectors=vectors,
        weights=tuple(request.weights.values()),
    )


def fingerprints(items: ComparedItems, contents: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Returns what tells whether an item is still the same, in vectors and in content [n].

    Two vectors that differ in one word of 8 bytes never have the same fingerprint, others by a
    chance of about 2^-64.
    """
    texts = [(text or "").encode() for text in contents.to_pylist()]
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    found_n = np.frombuffer(digests, np.uint64).copy()
    for place, vectors_nD in enumerate(items.vectors):
        words_nW = _words(vectors_nD)
        factors_W = np.random.default_rng(place).integers(
            0, 2**64, words_nW.shape[1], np.uint64
        ) | np.uint64(1)  # odd: a word times it is another number for every word
        for start in range(0, len(words_nW), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            sums_n = (words_nW[rows] * factors_W).sum(axis=1, dtype=np.uint64)
            found_n[rows] = found_n[rows] * np.uint64(0x9E3779B97F4A7C15) + sums_n
    return found_n


def _vectors(embedded: Embeddings, attribute: str) -> Numbers:
    parts = list(mapped_vectors(embedded, attribute))
    images_n = np.concatenate([part.images_n for part in parts])
    vectors_nD = np.concatenate([part.embeddings_nD for part in parts])
    if (images_n[1:] < images_n[:-1]).any():
        vectors_nD = vectors_nD[images_n.argsort()]
    finite = [np.isfinite(part.embeddings_nD).all(axis=1) for part in parts]
    if not np.concatenate(finite).all():
        image = images_n[~np.concatenate(finite)][0]
        raise HemlineError(
            f"the vector of image {image} for {attribute} in {embedded.folder} is not finite: "
            "remove the embeddings and make them again with `hemline embed`"
        )
    return vectors_nD


def _contents(contents: pa.ChunkedArray) -> NDArray[np.int64]:
    """Returns a number for each content; one of its own for what is no SHA-256.

    What a file system says of a file, such as its size and time, does not tell copies.
    """
    texts: Sequence[str | None] = contents.to_pylist()
    known: dict[str, int] = {}
    return np.array(
        [
            known.setdefault(text, place) if text and _SHA256.fullmatch(text) else place
            for place, text in enumerate(texts)
        ],
        np.int64,
    )


def _words(vectors_nD: Numbers) -> NDArray[np.uint64]:
    """Returns the bytes of each vector as numbers of 8 bytes [n, W], filled up with zeros."""
    rest = -vectors_nD.shape[1] * vectors_nD.itemsize % 8
    if rest:
        vectors_nD = np.pad(vectors_nD, ((0, 0), (0, rest // vectors_nD.itemsize)))
    return np.ascontiguousarray(vectors_nD).view(np.uint64)
