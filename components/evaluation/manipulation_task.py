"""Attribute manipulation as a task: which changes of a query can be asked, and what answers them.

Shape letters: n images, Q queries, G gallery items, N attributes, D embedding, V values of all
attributes one after another, C changes of a query, P pairs of a change and an item that answers it.

A change (a -> v) asks for items like the query that have the value v of the attribute a instead.
Its target is v and the query's values of all other attributes that the query has a label of. An
item agrees with the target in a where it has v, and in another attribute where it shares a value
with the query; it answers the change where it agrees in all of them. Without a label it agrees in
nothing. Asked are all changes of attributes that the query has a label of, to values that it does
not have, whose answer is in the gallery. A query with labels of fewer than two attributes asks
nothing: nothing would have to stay as it is. Source: FashionSearchNet-v2 (Ak et al., 2021, section
4.2), whose data sets have one value of every attribute.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.evaluation.ranking import canonical_order

_COSINES_AT_ONCE = 2**25  # 128 MiB of float32
_ITEMS_AT_ONCE = 2**13  # in one matrix product; bounds copies of the gallery


@dataclass(frozen=True, kw_only=True)
class LabelledEmbeddings:
    """Queries or a gallery.

    Attributes:
        embeddings_nND: embeddings of unit length of every attribute.
        labels: of every attribute which of its values each image has, bool [n, V of it]: none where
            it has no label.
        images_n: numbers of the images, each once; an image that is among queries and gallery has
            the same labels in both.

    Raises:
        ValueError: their lengths differ.
    """

    embeddings_nND: NDArray[np.float32]
    labels: Sequence[NDArray[np.bool_]]
    images_n: NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {len(self.embeddings_nND), len(self.images_n), *map(len, self.labels)}
        if len(lengths) > 1 or len(self.labels) != self.embeddings_nND.shape[1]:
            raise ValueError(
                f"embeddings of shape {self.embeddings_nND.shape}, labels of "
                f"{[found.shape for found in self.labels]} and {len(self.images_n)} image numbers "
                "do not go together"
            )

    def __len__(self) -> int:
        return len(self.images_n)


def labelled_embeddings(
    labels: pd.DataFrame,
    numbers: NDArray[np.int64],
    *,
    num_values: Sequence[int],
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
) -> LabelledEmbeddings:
    """Returns some embedded images with their labels.

    Args:
        labels: columns image, attribute, value; those of other images do not count.
        numbers: ascending numbers of the images.
        num_values: of each attribute.
        images: ascending numbers of all embedded images [m].
        embeddings: their embeddings of unit length [m, N, D].
    """
    theirs = labels[labels["image"].isin(numbers)]
    has = []
    for attribute, count in enumerate(num_values):
        of_attribute = theirs[theirs["attribute"] == attribute]
        rows = np.searchsorted(numbers, of_attribute["image"].to_numpy())
        has.append(np.zeros((len(numbers), count), bool))
        has[-1][rows, of_attribute["value"].to_numpy()] = True
    return LabelledEmbeddings(
        embeddings_nND=embeddings[np.searchsorted(images, numbers)], labels=has, images_n=numbers
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The changes of a query, and the gallery as it is compared with them.

    Attributes:
        query: place among the queries.
        attribute_C: the attribute that each changes, ascending.
        value_C: the value that it asks for, a place among the values of all attributes.
        change_P: the change of a pair, ascending; each has one at least.
        item_P: the item that answers it.
        cosines_NG: of the query with every item.
        agreeing_NG: in how many of the other labelled attributes an item agrees.
        num_labelled: attributes that the query has a label of, and so values of a target.
        itself: place of the query in the gallery; None where it is not in it.
        num_without_prototype_N: changes that have an answer and cannot be asked, because no
            prototype of the value is there, by attribute.
    """

    query: int
    attribute_C: NDArray[np.int64]
    value_C: NDArray[np.int64]
    change_P: NDArray[np.int64]
    item_P: NDArray[np.int64]
    cosines_NG: Tensor
    agreeing_NG: NDArray[np.int16]
    num_labelled: int
    itself: int | None
    num_without_prototype_N: NDArray[np.int64]


class ManipulationTask:
    """A gallery and the prototypes of values, ready for queries.

    The items stand in the order of `canonical_order`: equal embeddings have equal similarities, and
    results do not depend on the order of the rows.
    """

    def __init__(
        self, gallery: LabelledEmbeddings, prototypes: Sequence[NDArray[np.float32]]
    ) -> None:
        """Prepares a gallery.

        Args:
            gallery: the items that are ranked.
            prototypes: of every attribute a unit vector for each of its values [V of it, D]; NaN
                for a value without one.

        Raises:
            ValueError: attributes or values of gallery and prototypes differ in number, or an
                embedding is not a number.
        """
        num_values = [found.shape[1] for found in gallery.labels]
        if num_values != [len(vectors) for vectors in prototypes]:
            raise ValueError(
                f"prototypes of {[len(vectors) for vectors in prototypes]} values and labels of "
                f"{num_values}: they must be those of the same attributes"
            )
        _check_numbers(gallery)
        shape = gallery.embeddings_nND.shape
        flat_GF = gallery.embeddings_nND.reshape(len(gallery), math.prod(shape[1:]))
        self._order_G, first_G = canonical_order(flat_GF)
        self._copies = np.flatnonzero(first_G != np.arange(len(gallery)))
        self._first = first_G[self._copies]
        self._embeddings_GND = gallery.embeddings_nND
        self.num_values = num_values
        self.images_G = gallery.images_n[self._order_G]
        self.attribute_V = np.arange(len(num_values)).repeat(num_values)
        self.has_VG = np.ascontiguousarray(np.hstack(gallery.labels)[self._order_G].T)
        self.first_value_N = np.cumsum([0, *num_values[:-1]])
        self._has_prototype_V = np.asarray(np.isfinite(np.vstack(prototypes)).all(axis=1))
        vectors = [np.nan_to_num(np.asarray(each, np.float32)) for each in prototypes]
        self.prototype_cosines_VG = torch.cat(
            [self._cosines(each, attribute) for attribute, each in enumerate(vectors)]
        )

    def __len__(self) -> int:
        return len(self.images_G)

    def ask(self, queries: LabelledEmbeddings) -> Iterator[Asked]:
        """Yields the queries that have changes with an answer, prototype or not, in order.

        Whatever is yielded is independent of the attributes' weights: a list of it can be measured
        with one after another. It has `6 * N * G` bytes a query.

        Raises:
            ValueError: their attributes or values are not those of the gallery, or an embedding is
                not a number.
        """
        if [found.shape[1] for found in queries.labels] != self.num_values:
            raise ValueError(
                f"queries have {[found.shape[1] for found in queries.labels]} values of their "
                f"attributes, the gallery {self.num_values}"
            )
        _check_numbers(queries)
        labelled_QN = np.stack([found.any(axis=1) for found in queries.labels], axis=1)
        askable = np.flatnonzero(labelled_QN.sum(axis=1) > 1)
        at_once = max(1, _COSINES_AT_ONCE // max(1, len(self) * len(self.num_values)))
        for start in range(0, len(askable), at_once):
            yield from self._ask_block(queries, askable[start : start + at_once])

    def _ask_block(self, queries: LabelledEmbeddings, places: NDArray[np.int64]) -> Iterator[Asked]:
        cosines_NQG = torch.stack(
            [
                self._cosines(queries.embeddings_nND[places, attribute], attribute)
                for attribute in range(len(self.num_values))
            ]
        )
        agrees_NQG = np.stack(
            [
                labels[places].astype(np.float32) @ has.astype(np.float32) > 0
                for labels, has in zip(
                    queries.labels, np.split(self.has_VG, self.first_value_N[1:]), strict=True
                )
            ]
        )
        for row, query in enumerate(places.tolist()):
            asked = self._ask_one(queries, query, cosines_NQG[:, row], agrees_NQG[:, row])
            if len(asked.attribute_C) or asked.num_without_prototype_N.any():
                yield asked

    def _ask_one(
        self,
        queries: LabelledEmbeddings,
        query: int,
        cosines_NG: Tensor,
        agrees_NG: NDArray[np.bool_],
    ) -> Asked:
        has_V = np.concatenate([labels[query] for labels in queries.labels])
        labelled_N = np.array([labels[query].any() for labels in queries.labels])
        # an item that lacks a label agrees in nothing, and so does every item where the query does
        agreeing_NG = agrees_NG.sum(axis=0, dtype=np.int16) - agrees_NG
        found = np.flatnonzero(self.images_G == queries.images_n[query])
        agreeing_NG[:, found] = 0
        num_labelled = int(labelled_N.sum())
        all_others_NG = np.equal(agreeing_NG, num_labelled - 1)
        all_others_NG[~labelled_N] = False
        asked_V = np.flatnonzero(labelled_N[self.attribute_V] & ~has_V)
        answers_VG = np.logical_and(all_others_NG[self.attribute_V[asked_V]], self.has_VG[asked_V])
        answered_V = answers_VG.any(axis=1)
        possible_V = self._has_prototype_V[asked_V]
        value_C = asked_V[answered_V & possible_V]
        change_P, item_P = np.nonzero(answers_VG[answered_V & possible_V])
        impossible = self.attribute_V[asked_V[answered_V & ~possible_V]]
        return Asked(
            query=query,
            attribute_C=self.attribute_V[value_C],
            value_C=value_C,
            change_P=change_P,
            item_P=item_P,
            cosines_NG=cosines_NG,
            agreeing_NG=agreeing_NG,
            num_labelled=num_labelled,
            itself=int(found[0]) if len(found) else None,
            num_without_prototype_N=np.bincount(impossible, minlength=len(self.num_values)),
        )

    def _cosines(self, vectors_MD: NDArray[np.float32], attribute: int) -> Tensor:
        """Returns the cosines of vectors with the items, in the space of an attribute [M, G]."""
        cosines_MG = torch.empty(len(vectors_MD), len(self))
        vectors = torch.from_numpy(np.asarray(vectors_MD, np.float32))
        for start in range(0, len(self), _ITEMS_AT_ONCE):
            part = slice(start, start + _ITEMS_AT_ONCE)
            items = self._embeddings_GND[self._order_G[part], attribute].astype(
                np.float32, copy=False
            )
            torch.mm(vectors, torch.from_numpy(items).T, out=cosines_MG[:, part])
        cosines_MG[:, self._copies] = cosines_MG[:, self._first]
        return cosines_MG


def _check_numbers(images: LabelledEmbeddings) -> None:
    if not np.isfinite(images.embeddings_nND.sum(axis=(1, 2))).all():
        raise ValueError("embeddings are not all numbers")
