"""Search in embeddings: by one of their attributes or several, exactly or with an index."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import tables
from components.embedding.embeddings import Embeddings, Vectors
from components.errors import HemlineError, command_line
from components.images.decode import Box
from components.images.paths import without_fragment
from components.search.conditions import CatalogLookup, Condition, rows_that_hold
from components.search.index import MIN_INDEXED, AttributeIndex, read_index
from components.search.request import Answer, Found, Query, SearchRequest
from components.search.search import Neighbours, nearest, similarities
from components.search.vector_map import mapped_vectors


class Finder:
    """Finds the embedded images that are nearest to a query.

    Without a catalog there are neither labels nor its columns to search by.

    Attributes:
        attributes: attributes that images are embedded for.
    """

    def __init__(self, embedded: Embeddings, catalog: tables.Catalog | None) -> None:
        self.attributes = embedded.attributes
        self._embedded = embedded
        self._items = embedded.items().sort_by("image")
        self._images = self._items["image"].to_numpy()
        self._lookup = None if catalog is None else CatalogLookup(catalog)
        self._indexes: dict[str, AttributeIndex | None] = {}
        self._kept: dict[str, tuple[Vectors, ...]] = {}

    @classmethod
    def over(cls, embedded: Embeddings, *, catalog: Path) -> "Finder":
        """Returns a finder over embeddings, and over their catalog where they were made of one."""
        return cls(embedded, tables.read_catalog(catalog) if embedded.root is None else None)

    def number_of(self, name: str) -> int:
        """Returns the number of an embedded image, given by its number or its path.

        Raises:
            HemlineError: no embedded image has that number or path.
        """
        if name.isdecimal() and np.isin(int(name), self._images):
            return int(name)
        images = self._items.filter(pc.field("path") == name)["image"].to_pylist()
        if not images:
            raise HemlineError(
                f"no embedded image has the number or path {name!r}: give a number up to "
                f"{self._images.max(initial=0)}, or a path like that of "
                f"{self._items.slice(0, 1)['path'].to_pylist()}"
            )
        return int(images[0])

    def same_content(self, data: bytes, *, region: Box | None = None) -> list[int]:
        """Returns the numbers of the embedded images whose file holds exactly these bytes.

        Of a folder or a bucket that was embedded, the files' contents may not be known: then none.
        A photograph of several products is several images, of which a region is one.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self._lookup is None:
            is_same = pc.starts_with(self._items["content"], digest)  # a box may follow
            same = self._items.filter(is_same)["image"].to_numpy()
        else:
            copies = self._lookup.images.filter(pc.field("sha256") == digest)
            same = np.intersect1d(copies["image"].to_numpy(), self._images)
        return [
            image
            for image in same.tolist()
            if region is None or without_fragment(self.path_of(image))[1] == region
        ]

    def path_of(self, image: int) -> str:
        """Returns an embedded image's path, relative to the root of the embedded images."""
        return str(self._items["path"][int(np.searchsorted(self._images, image))].as_py())

    def images_where(self, conditions: Sequence[Condition]) -> NDArray[np.int64]:
        """Returns the numbers of the embedded images that fulfil all conditions, ascending.

        Raises:
            HemlineError: there is no such column or value, or they cannot be compared.
        """
        return self._images[rows_that_hold(conditions, self._items, self._lookup)]

    def labels_of(self, images: Sequence[int]) -> dict[int, dict[str, tuple[str, ...]]]:
        """Returns each image's values of every attribute that it has a label of."""
        return {} if self._lookup is None else self._lookup.values(images)

    def known_values(self) -> dict[str, tuple[str, ...]]:
        """Returns the values of every attribute of the catalog that lists them, by attribute."""
        attributes = () if self._lookup is None else self._lookup.schema.attributes
        return {each.name: each.values for each in attributes if not each.is_identity}

    def values_of(self, *images: int) -> dict[str, tuple[str, ...]]:
        """Returns the values that any of some images has, of every attribute with a label."""
        values: dict[str, set[str]] = {}
        for of_image in self.labels_of(images).values():
            for attribute, its in of_image.items():
                values.setdefault(attribute, set()).update(its)
        return {attribute: tuple(sorted(its)) for attribute, its in values.items()}

    def vectors_of(self, image: int, attributes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Returns the stored embedding [D] of an embedded image for each attribute.

        Raises:
            HemlineError: images are not embedded for an attribute.
        """
        return {name: self._vector_of(image, name) for name in attributes}

    def item_query(self, image: int, attributes: Sequence[str]) -> Query:
        """Returns an embedded image as the query, with its stored embeddings.

        Raises:
            HemlineError: images are not embedded for an attribute.
        """
        return self.picture_query(self.vectors_of(image, attributes), copies=[image])

    def picture_query(
        self, vectors: Mapping[str, NDArray[np.float32]], *, copies: Sequence[int]
    ) -> Query:
        """Returns a picture that need not be embedded as the query.

        Its vectors are of the model that made the embeddings, one for each attribute; copies are
        the embedded images with the same content.
        """
        return Query(vectors=vectors, itself=copies, values=self.values_of(*copies))

    def find(self, query: Query, request: SearchRequest) -> Answer:
        """Returns the items that are most similar to a query, nearest first.

        Similarities of several attributes are summed with their weights, as the papers do. Equal
        similarities are ordered by image number. Fewer than asked for are found where fewer may be.
        One attribute of many images is searched with its index, where there is one; all else
        exactly.

        Raises:
            HemlineError: an attribute, a column or a value is not known, or the query is not
                embedded for an attribute that the request needs.
        """
        needed = request.needed(self.attributes)
        self._check(query, {*needed, *request.weights})
        allowed = self.allowed_images(request)
        if request.rerank is not None:
            alike = dict.fromkeys(needed, 1.0)
            allowed = self._exact(query, alike, top_k=request.rerank, allowed=allowed).images
        nearest = None
        if not request.exact and request.rerank is None:
            nearest = self._with_index(query, request.weights, top_k=request.top_k, allowed=allowed)
        nearest = nearest or self._exact(
            query, request.weights, top_k=request.top_k, allowed=allowed
        )
        notice = "" if request.exact else self.missing_index(needed)
        return Answer(found=self._found(nearest), notice=notice)

    def allowed_images(self, request: SearchRequest) -> NDArray[np.int64] | None:
        """Returns the numbers of the images that a request may find, ascending; None: all.

        Raises:
            HemlineError: an attribute, a column or a value is not known.
        """
        labelled = None if request.all_items else self._lookup
        if labelled is None and not request.conditions:
            return None
        allowed_n = rows_that_hold(request.conditions, self._items, self._lookup)
        if labelled is not None:
            allowed_n &= np.isin(self._images, labelled.labelled(request.weights))
        return self._images[allowed_n]

    def index_of(self, attribute: str) -> AttributeIndex | None:
        """Returns an attribute's index, if one was built of just these embeddings."""
        if attribute not in self._indexes:
            self._indexes[attribute] = read_index(self._embedded, attribute)
        return self._indexes[attribute]

    def missing_index(self, attributes: Collection[str]) -> str:
        """Returns a hint for those who search many images without an index; empty for none."""
        if self._is_small:
            return ""
        missing = [name for name in attributes if self.index_of(name) is None]
        if not missing:
            return ""
        options = [word for name in missing for word in ("--attribute", name)]
        command = command_line("hemline", "index", "--embeddings", self._embedded.folder, *options)
        return (
            f"no index of {', '.join(missing)} was built of these embeddings: "
            f"`{command}` makes searching them faster"
        )

    @property
    def _is_small(self) -> bool:
        return self._embedded.num_images < MIN_INDEXED

    def _check(self, query: Query, needed: Set[str]) -> None:
        for name in (*query.vectors, *needed):
            self._embedded.check_attribute(name)
        if not needed or not needed <= query.vectors.keys():
            raise HemlineError(
                f"a search by {', '.join(needed) or 'no attribute'} was given embeddings of the "
                f"query for {', '.join(query.vectors) or 'none'}"
            )

    def _exact(
        self,
        query: Query,
        weights: Mapping[str, float],
        *,
        top_k: int,
        allowed: NDArray[np.int64] | None,
    ) -> Neighbours:
        kept_I = None
        if allowed is not None:
            kept_I = np.zeros(int(self._images.max(initial=0)) + 1, bool)
            kept_I[allowed] = True
        parts = zip(*(self._vectors(name) for name in weights), strict=True)
        queries = [query.vectors[name] for name in weights]
        scored = similarities(parts, queries, [*weights.values()], kept_I=kept_I)
        return _others(nearest(scored, top_k=top_k + len(query.itself)), query, top_k=top_k)

    def _with_index(
        self,
        query: Query,
        weights: Mapping[str, float],
        *,
        top_k: int,
        allowed: NDArray[np.int64] | None,
    ) -> Neighbours | None:
        """Returns what an index finds for a single attribute; None where it cannot be used."""
        (attribute, weight), *others = weights.items()
        if others or (allowed is not None and len(allowed) < MIN_INDEXED):
            return None  # an index knows one attribute; few are compared as fast
        index = self.index_of(attribute)
        if index is None:
            return None
        num = top_k + len(query.itself)
        found = index.nearest(query.vectors[attribute], top_k=num, allowed=allowed)
        num_there = self._embedded.num_images if allowed is None else len(allowed)
        if len(found.images) < min(num, num_there):
            return None
        weighted = Neighbours(found.images, np.float32(weight) * found.similarities)
        return _others(weighted, query, top_k=top_k)

    def _vectors(self, attribute: str) -> Iterable[Vectors]:
        """Returns an attribute's parts; those of few images are kept in memory."""
        if not self._is_small:
            return mapped_vectors(self._embedded, attribute)
        if attribute not in self._kept:
            self._kept[attribute] = tuple(mapped_vectors(self._embedded, attribute))
        return self._kept[attribute]

    def _vector_of(self, image: int, attribute: str) -> NDArray[np.float32]:
        for part in self._vectors(attribute):
            for place in np.flatnonzero(part.images_n == image).tolist():
                return part.embeddings_nD[place].astype(np.float32)
        raise HemlineError(f"image {image} is not embedded for {attribute}")

    def _found(self, neighbours: Neighbours) -> list[Found]:
        images = neighbours.images.tolist()
        values = self.labels_of(images)
        return [
            Found(
                image=image,
                path=self.path_of(image),
                similarity=similarity,
                values=values.get(image, {}),
            )
            for image, similarity in zip(images, neighbours.similarities.tolist(), strict=True)
        ]


def _others(found: Neighbours, query: Query, *, top_k: int) -> Neighbours:
    """Returns the first `top_k` of the images found that are not the query itself."""
    kept = np.flatnonzero(~np.isin(found.images, list(query.itself)))[:top_k]
    return Neighbours(found.images[kept], found.similarities[kept])
