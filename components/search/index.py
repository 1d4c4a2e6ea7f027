"""An approximate index of an attribute's vectors, by FAISS: how millions are searched.

    index/attribute=<name>/lists-<key>.faiss    inverted lists of vectors, as they are stored
    index/attribute=<name>/lists-<key>.json     `IndexFacts`; written last

The vectors lie in lists, each around a centroid, and a search compares the query with the vectors
of the lists whose centroids are nearest. How many lists that takes is measured when the index is
built. Source: Douze et al., The Faiss library, arXiv 2401.08281.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components import files
from components.embedding.embeddings import Embeddings, Numbers, Vectors
from components.errors import DamagedFileError, HemlineError
from components.search.index_paths import (
    check_index_file,
    index_path,
    is_known_whole,
    new_index_path,
)
from components.search.search import Neighbours
from components.search.vector_map import map_path, mapped_vectors, written_checksum

MIN_INDEXED = 50_000
"""Fewer vectors get no index: comparing with all of them takes ten milliseconds."""

RECALL_AT = 10
MIN_RECALL = 0.95

_LISTS = ".faiss"
_AGAIN = "make it again with `hemline index`"
_TRAINED_ON_PER_LIST = 64  # vectors; FAISS asks for 39 at least
_ITERATIONS = 10  # of k-means
_HELD_OUT = 400  # vectors that are the queries when recall is measured
_ADDED_AT_ONCE = 2**15  # vectors
_STANDARD_ERRORS = 2  # by which the measured recall exceeds the minimum
_TIED = 1e-5  # similarities this close share a rank: half precision says no more


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """How an index was built, and how many of its lists a search looks into.

    Recall is the share of the ten nearest (exactly) that were found, over held-out queries. An
    older hemline gave the lists no checksum, crc32.
    """

    num_vectors: int
    num_lists: int
    num_probes: int
    recall: float
    crc32: str | None = None


class AttributeIndex:
    """An index that was built, mapped into memory at its first search."""

    def __init__(self, path: Path, facts: IndexFacts) -> None:
        self.facts = facts
        self._path = path

    def nearest(
        self,
        query_D: NDArray[np.float32],
        *,
        top_k: int,
        allowed: NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Returns about the `top_k` nearest vectors, nearest first; fewer where it found fewer.

        Where only some image numbers are allowed, more lists are looked into, as many as hold the
        number of allowed vectors that a search among all would see.
        """
        faiss = _faiss()
        num_probes = self.facts.num_probes
        selector = None
        if allowed is not None:
            num_probes = math.ceil(num_probes * self.facts.num_vectors / max(1, len(allowed)))
            is_allowed = np.zeros(int(allowed.max(initial=0)) + 1, bool)
            is_allowed[allowed] = True
            selector = faiss.IDSelectorBitmap(np.packbits(is_allowed, bitorder="little"))
        parameters = faiss.SearchParametersIVF(
            nprobe=min(num_probes, self.facts.num_lists), sel=selector
        )
        similarities, images = self._lists.search(query_D[None], top_k, params=parameters)
        is_found = images[0] >= 0
        found = Neighbours(images[0][is_found], similarities[0][is_found])
        order = np.lexsort((found.images, -found.similarities))
        return Neighbours(found.images[order], found.similarities[order])

    def nearest_lists(self, queries_QD: NDArray[np.float32], *, number: int) -> NDArray[np.int64]:
        """Returns the numbers of the lists that are nearest to each query, nearest first [Q, P]."""
        _, lists_QP = self._lists.quantizer.search(queries_QD, min(number, self.facts.num_lists))
        return np.asarray(lists_QP)

    def list_at(self, number: int) -> Vectors:
        """Returns image numbers and vectors of a list, as they are stored: a view of the file."""
        faiss = _faiss()
        lists = self._lists.invlists
        length = lists.list_size(number)
        if not length:
            return Vectors(np.empty(0, np.int64), np.empty((0, self._lists.d), self._storage))
        images_n = faiss.rev_swig_ptr(lists.get_ids(number), length)
        codes = faiss.rev_swig_ptr(lists.get_codes(number), length * lists.code_size)
        return Vectors(images_n, codes.view(self._storage).reshape(length, self._lists.d))

    @property
    def _storage(self) -> np.dtype[Any]:
        itemsize = self._lists.invlists.code_size // self._lists.d
        return np.dtype(np.float16 if itemsize == np.dtype(np.float16).itemsize else np.float32)

    @property
    def is_whole(self) -> bool:
        """Whether it is known to be as it was written."""
        return is_known_whole(self._path, self.facts.crc32)

    @cached_property
    def _lists(self) -> Any:
        faiss = _faiss()
        check_index_file(self._path, self.facts.crc32, remedy=_AGAIN)
        try:
            return faiss.read_index(str(self._path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise HemlineError(f"{self._path} cannot be read ({error}): {_AGAIN}") from error


def read_index(embedded: Embeddings, attribute: str) -> AttributeIndex | None:
    """Returns the index of an attribute; None where none was built of just these vectors.

    Raises:
        HemlineError: what describes it is damaged.
    """
    facts = index_path(embedded, attribute, "lists")
    if not facts.exists():
        return None
    return AttributeIndex(facts.with_suffix(_LISTS), _read_facts(facts))


def _read_facts(path: Path) -> IndexFacts:
    remedy = f"delete it, and {_AGAIN}"
    try:
        return IndexFacts(**files.read_json(path, remedy=remedy))
    except TypeError as error:
        message = f"{path} was made by another version of hemline ({error}): {remedy}"
        raise DamagedFileError(message) from error


def build_index(
    embedded: Embeddings, attribute: str, *, on_progress: Callable[[str], None] = lambda step: None
) -> AttributeIndex:
    """Builds the index of an attribute and returns it; `on_progress` is told each step's name.

    The vectors are in memory once, in half precision, and a slice of them in single.

    Raises:
        HemlineError: images are not embedded for the attribute, or FAISS is missing.
    """
    facts = new_index_path(embedded, attribute, "lists")
    lists = facts.with_suffix(_LISTS)
    # about the square root: as many centroids to compare with as vectors in a list
    num_lists = int(2 ** round(math.log2(max(embedded.num_images, 1)) / 2))
    drawn = np.random.default_rng(0).permutation(embedded.num_images)
    held_out, trained_on = np.split(
        drawn[: _HELD_OUT + num_lists * _TRAINED_ON_PER_LIST], [_HELD_OUT]
    )
    on_progress(f"{attribute}: {num_lists} centroids")
    index = _trained(_rows(embedded, attribute, trained_on).embeddings_nD, num_lists)
    on_progress(f"{attribute}: {embedded.num_images} vectors into their lists")
    for images, vectors in _slices(embedded, attribute):
        index.add_with_ids(vectors, images)
    on_progress(f"{attribute}: recall of {len(held_out)} queries")
    num_probes, recall = _measured(index, embedded, attribute, held_out)
    with files.replacing(lists) as temporary:
        _faiss().write_index(index, os.fspath(temporary))
    built = IndexFacts(
        num_vectors=int(index.ntotal),
        num_lists=num_lists,
        num_probes=num_probes,
        recall=recall,
        crc32=files.checksum(lists),
    )
    files.write_sealed_json(asdict(built), facts)
    return AttributeIndex(lists, built)


def index_files(embedded: Embeddings) -> dict[Path, str | None]:
    """Returns the files that speed up searching these embeddings, with their checksums."""
    found = {}
    for attribute in embedded.attributes:
        facts = index_path(embedded, attribute, "lists")
        if facts.exists():
            found[facts.with_suffix(_LISTS)] = _read_facts(facts).crc32
        vectors = map_path(embedded, attribute)
        if vectors.exists():
            found[vectors] = written_checksum(vectors)
    return found


def _trained(vectors_nD: Numbers, num_lists: int) -> Any:
    """Returns an index of empty lists around the centroids of some vectors.

    The lists hold vectors in the precision that they are stored in: nothing is lost.
    """
    faiss = _faiss()
    dim = vectors_nD.shape[1]
    around = (faiss.IndexFlatIP(dim), dim, num_lists)
    if vectors_nD.dtype == np.float32:
        index = faiss.IndexIVFFlat(*around, faiss.METRIC_INNER_PRODUCT)
    else:
        halves, no_residuals = faiss.ScalarQuantizer.QT_fp16, False
        index = faiss.IndexIVFScalarQuantizer(
            *around, halves, faiss.METRIC_INNER_PRODUCT, no_residuals
        )
    index.cp.niter = _ITERATIONS
    index.cp.min_points_per_centroid = 1  # no warning about few vectors
    index.train(vectors_nD.astype(np.float32))
    return index


def _slices(
    embedded: Embeddings, attribute: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yields image numbers [n] and vectors [n, D] in the order of the parts."""
    for part in mapped_vectors(embedded, attribute):
        for start in range(0, len(part.images_n), _ADDED_AT_ONCE):
            rows = slice(start, start + _ADDED_AT_ONCE)
            yield part.images_n[rows], part.embeddings_nD[rows].astype(np.float32)


def _rows(embedded: Embeddings, attribute: str, places: NDArray[np.int64]) -> Vectors:
    """Returns the image numbers and vectors at some places of the order of the parts."""
    places, start = np.sort(places), 0
    images, vectors = [], []
    for part in mapped_vectors(embedded, attribute):
        stop = start + len(part.images_n)
        here = places[np.searchsorted(places, start) : np.searchsorted(places, stop)] - start
        images.append(part.images_n[here])
        vectors.append(part.embeddings_nD[here])
        start = stop
    return Vectors(np.concatenate(images), np.concatenate(vectors))


def _measured(
    index: Any, embedded: Embeddings, attribute: str, held_out: NDArray[np.int64]
) -> tuple[int, float]:
    """Returns how many lists reach the recall, by steps of a half, and what they reach.

    A query is one of the vectors that no centroid was made of; itself does not count. Recall
    is the share of ten places that hold an item at least as similar as the tenth of the exactly
    nearest. Its mean over queries must lie above the least recall by twice its standard error, as
    these queries are only a sample.
    """
    own_Q, halves_QD = _rows(embedded, attribute, held_out)
    queries_QD = halves_QD.astype(np.float32)
    tenth_Q1 = _others(*_exactly_nearest(embedded, attribute, queries_QD), own_Q)[:, [-1]]
    index.nprobe = 1
    while True:
        similarities, images = index.search(queries_QD, RECALL_AT + 1)
        found_QR = _others(similarities, images, own_Q)
        recall_Q = (found_QR >= tenth_Q1 - _TIED).mean(axis=1)
        error = recall_Q.std() / math.sqrt(len(recall_Q))
        enough = recall_Q.mean() - _STANDARD_ERRORS * error >= MIN_RECALL
        if enough or index.nprobe >= index.nlist:
            return int(min(index.nprobe, index.nlist)), float(recall_Q.mean())
        index.nprobe += math.ceil(index.nprobe / 2)


def _exactly_nearest(
    embedded: Embeddings, attribute: str, queries_QD: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns similarities and image numbers of each query's nearest, itself among them [Q, 11]."""
    faiss = _faiss()
    nearest = faiss.ResultHeap(len(queries_QD), RECALL_AT + 1, keep_max=True)
    for images, vectors in _slices(embedded, attribute):
        similarities, places = faiss.knn(
            queries_QD, vectors, RECALL_AT + 1, metric=faiss.METRIC_INNER_PRODUCT
        )
        nearest.add_result(similarities, images[places])
    nearest.finalize()
    return nearest.D, nearest.I


def _others(
    similarities: NDArray[np.float32], images: NDArray[np.int64], own_Q: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns each query's ten greatest similarities with others than itself, falling [Q, 10]."""
    others = np.where(images == own_Q[:, None], -np.inf, similarities)
    return -np.sort(-others, axis=1)[:, :RECALL_AT]


def _faiss() -> Any:
    """Returns FAISS; it is imported when an index is used, as exact search does without it."""
    try:
        import faiss  # noqa: PLC0415
    except ImportError as error:
        raise HemlineError(
            f"an index needs FAISS, which cannot be imported ({error}): `pip install faiss-cpu`, "
            "or search with --exact"
        ) from error
    return faiss
