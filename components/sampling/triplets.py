"""The papers' triplet sampler, vectorised and seeded per epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError

_MAX_ROUNDS = (
    100  # of drawing negatives again; one in ten draws needs a second at worst in practice
)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What cannot be sampled, as positions in the attribute schema."""

    values_with_one_image: list[tuple[int, int]]
    attributes_with_one_value: list[int]


class TripletSampler:
    """Draws triplets: attribute uniform, value uniform, two images of it, one of another value.

    Source: AG-MAN section 2.5, "two images of the same sub-class as the relevant pair and an image
    with different sub-classes as the irrelevant one". The negative's value is uniform among the
    attribute's other values, then its image among that value's. A negative never shares a value
    with the anchor or the positive, where images have several values of the attribute.

    A cell is an (attribute, value) pair that occurs; cells of an attribute are neighbours.

    Attributes:
        left_out: values of one image only, which can be a negative's value but not an anchor's,
            and attributes that have no value for an anchor or none for a negative.
    """

    def __init__(self, labels: pa.Table) -> None:
        """Indexes labels (columns image, attribute, value).

        Raises:
            HemlineError: no attribute can be sampled.
        """
        rows = np.stack([labels[name].to_numpy() for name in ("attribute", "value", "image")])
        attribute, value, self._image = np.unique(rows, axis=1)
        cells, self._start, cell_of_row, self._count = np.unique(
            np.stack([attribute, value]),
            axis=1,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        names, self._first_cell, attribute_of_cell, self._num_cells = np.unique(
            cells[0], return_index=True, return_inverse=True, return_counts=True
        )
        self._attribute_of_cell = attribute_of_cell
        self._name = names
        can_anchor = (self._count > 1) & (self._num_cells[attribute_of_cell] > 1)
        self._anchor_cells = np.flatnonzero(can_anchor)
        self._sampled, self._first_anchor, self._num_anchors = np.unique(
            attribute_of_cell[can_anchor], return_index=True, return_counts=True
        )
        if not len(self._sampled):
            raise HemlineError("no attribute has two values, one of them with two images")
        self._value_sets = _value_sets(attribute, self._image, cell_of_row.ravel())
        self.left_out = LeftOut(
            values_with_one_image=[tuple(pair) for pair in cells[:, self._count == 1].T.tolist()],
            attributes_with_one_value=np.setdiff1d(names, names[self._sampled]).tolist(),
        )

    def draw(self, num_triplets: int, *, rng: np.random.Generator) -> pa.Table:
        """Returns triplets: columns attribute, anchor, positive, negative."""
        which = rng.integers(len(self._sampled), size=num_triplets)
        cell = self._anchor_cells[
            self._first_anchor[which] + rng.integers(self._num_anchors[which])
        ]
        first = rng.integers(self._count[cell])
        second = rng.integers(self._count[cell] - 1)
        second += second >= first  # uniform among the others
        anchor, positive = self._start[cell] + first, self._start[cell] + second
        negative = self._draw_negatives(cell, rng=rng)
        for _ in range(_MAX_ROUNDS):
            shares = self._share_value(anchor, negative) | self._share_value(positive, negative)
            if not shares.any():
                break
            negative[shares] = self._draw_negatives(cell[shares], rng=rng)
        keep = ~(self._share_value(anchor, negative) | self._share_value(positive, negative))
        if num_triplets and not keep.any():
            raise HemlineError("no triplet can be drawn: every other image shares a value")
        columns = {
            "attribute": self._name[self._attribute_of_cell[cell]],
            "anchor": self._image[anchor],
            "positive": self._image[positive],
            "negative": self._image[negative],
        }
        return pa.table({name: column[keep] for name, column in columns.items()})

    def _draw_negatives(
        self, cell: NDArray[np.int64], *, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        attribute = self._attribute_of_cell[cell]
        other = self._first_cell[attribute] + rng.integers(self._num_cells[attribute] - 1)
        other += other >= cell
        return np.asarray(self._start[other] + rng.integers(self._count[other]))

    def _share_value(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self._value_sets.shape[1] == 1:  # one value per image: other cells share nothing
            return np.zeros(len(left), bool)
        ours, theirs = self._value_sets[left][:, :, None], self._value_sets[right][:, None, :]
        return np.asarray(((ours == theirs) & (ours >= 0)).any(axis=(1, 2)))


def _value_sets(
    attribute: NDArray[np.int64], image: NDArray[np.int64], cell: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each label row all cells of its image in its attribute [rows, M], -1 padded."""
    order = np.lexsort((cell, image, attribute))
    starts_new = np.ones(len(order), bool)
    starts_new[1:] = (np.diff(attribute[order]) != 0) | (np.diff(image[order]) != 0)
    pair = np.cumsum(starts_new) - 1
    place = np.arange(len(order)) - np.flatnonzero(starts_new)[pair]
    sets = np.full((pair[-1] + 1, place.max() + 1), -1)
    sets[pair, place] = cell[order]
    pair_of_row = np.empty(len(order), np.int64)
    pair_of_row[order] = pair
    return np.asarray(sets[pair_of_row])


def plan_triplets(
    sampler: TripletSampler, *, num_epochs: int, triplets_per_epoch: int, seed: int
) -> Iterator[pa.Table]:
    """Yields the triplets of each epoch as `tables.TRIPLETS`; an epoch depends on (seed, epoch)."""
    for epoch in range(num_epochs):
        drawn = sampler.draw(triplets_per_epoch, rng=np.random.default_rng([seed, epoch]))
        numbers = pa.array(np.full(drawn.num_rows, epoch, np.int16))
        yield drawn.add_column(0, "epoch", numbers).cast(tables.TRIPLETS)
