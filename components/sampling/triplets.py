"""The papers' triplet sampler, vectorised and seeded per epoch."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError

Numbers = NDArray[np.int64]

_MAX_LOTS = 100  # of triplets, until as many as asked for are possible
_NUM_PROPOSALS = 10  # of a negative, before the possible ones are listed


class LeftOut(NamedTuple):
    """What cannot be sampled, as positions in the attribute schema."""

    values_with_one_image: list[tuple[int, int]]
    attributes_with_one_value: list[int]


class TripletSampler:
    """Samples triplets: attribute uniform, value uniform, two images of it, one of another value.

    Source: AG-MAN section 2.5, "two images of the same sub-class as the relevant pair and an image
    with different sub-classes as the irrelevant one". The negative's value is uniform among the
    attribute's other values, then its image among that value's. A negative never shares a value
    with the anchor or the positive, where images have several values of the attribute; pairs that
    leave no negative are not sampled.

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
        by = ["attribute", "value", "image"]
        rows = labels.select(by).to_pandas().drop_duplicates().sort_values(by)
        attribute, value, self._image = (rows[name].to_numpy(np.int64) for name in by)
        starts_cell = (np.diff(attribute, prepend=-1) != 0) | (np.diff(value, prepend=-1) != 0)
        self._start = np.flatnonzero(starts_cell)
        self._cell_of_row = np.cumsum(starts_cell) - 1
        self._count = np.diff(self._start, append=len(rows))
        cells = np.stack([attribute[self._start], value[self._start]])
        names, self._first_cell, attribute_of_cell, self._num_cells = np.unique(
            cells[0], return_index=True, return_inverse=True, return_counts=True
        )
        self._name, self._attribute_of_cell = names, attribute_of_cell
        can_anchor = (self._count > 1) & (self._num_cells[attribute_of_cell] > 1)
        self._anchor_cells = np.flatnonzero(can_anchor)
        self._sampled, self._first_anchor, self._num_anchors = np.unique(
            attribute_of_cell[can_anchor], return_index=True, return_counts=True
        )
        if not len(self._sampled):
            raise HemlineError("no attribute has two values, one of them with two images")
        self._value_sets = _value_sets(rows, self._cell_of_row)
        self.left_out = LeftOut(
            values_with_one_image=[tuple(pair) for pair in cells[:, self._count == 1].T.tolist()],
            attributes_with_one_value=np.setdiff1d(names, names[self._sampled]).tolist(),
        )

    def sample(self, num_triplets: int, *, rng: np.random.Generator) -> pa.Table:
        """Returns as many triplets as asked for: columns attribute, anchor, positive, negative.

        Raises:
            HemlineError: hardly any anchor and positive leave a negative.
        """
        lots = [self._sample_lot(num_triplets, rng=rng)]
        while missing := num_triplets - sum(lot.num_rows for lot in lots):
            if len(lots) == _MAX_LOTS:
                raise HemlineError("no triplet can be sampled: every other image shares a value")
            lots.append(self._sample_lot(num_triplets, rng=rng).slice(0, missing))
        return pa.concat_tables(lots).combine_chunks()

    def _sample_lot(self, num_triplets: int, *, rng: np.random.Generator) -> pa.Table:
        """Returns triplets, less those whose anchor and positive leave no possible negative."""
        which = rng.integers(len(self._sampled), size=num_triplets)
        cell = self._anchor_cells[self._first_anchor[which] + _below(self._num_anchors[which], rng)]
        first = _below(self._count[cell], rng)
        second = _below(self._count[cell] - 1, rng)
        second += second >= first  # uniform among the others
        anchor, positive = self._start[cell] + first, self._start[cell] + second
        negative = self._sample_negatives(cell, anchor, positive, rng=rng)
        columns = {
            "attribute": self._name[self._attribute_of_cell[cell]],
            "anchor": self._image[anchor],
            "positive": self._image[positive],
            "negative": self._image[negative],
        }
        possible = np.flatnonzero(negative >= 0)
        return pa.table({name: column[possible] for name, column in columns.items()})

    def _sample_negatives(
        self, cell: Numbers, anchor: Numbers, positive: Numbers, *, rng: np.random.Generator
    ) -> Numbers:
        """Returns label rows of negatives, -1 where all share a value with anchor or positive."""
        negative = self._propose(cell, rng)
        rows = self._impossible(anchor, positive, negative)
        for _ in range(_NUM_PROPOSALS):
            negative[rows] = self._propose(cell[rows], rng)
            rows = rows[self._impossible(anchor[rows], positive[rows], negative[rows])]
        # pairs of the same values have the same negatives, and there are fewer unions than pairs
        unions, union_of_row = np.unique(
            self._union(anchor[rows], positive[rows]), axis=0, return_inverse=True
        )
        for number, union in enumerate(unions):
            here = rows[union_of_row.ravel() == number]
            negative[here] = self._choose(union[union >= 0], num=len(here), rng=rng)
        return negative

    def _propose(self, cell: Numbers, rng: np.random.Generator) -> Numbers:
        attribute = self._attribute_of_cell[cell]
        other = self._first_cell[attribute] + _below(self._num_cells[attribute] - 1, rng)
        other += other >= cell
        return np.asarray(self._start[other] + _below(self._count[other], rng))

    def _union(self, anchor: Numbers, positive: Numbers) -> Numbers:
        """Returns the cells of anchor and positive together [n, 2M], sorted, -1 padded in front."""
        cells = np.concatenate([self._value_sets[anchor], self._value_sets[positive]], axis=1)
        cells.sort(axis=1)
        cells[:, 1:][cells[:, 1:] == cells[:, :-1]] = -1  # in both: they are neighbours now
        cells.sort(axis=1)
        return cells

    def _choose(self, union: Numbers, *, num: int, rng: np.random.Generator) -> Numbers:
        """Returns negatives outside the cells of a union, sampled as proposals would be, or -1."""
        attribute = self._attribute_of_cell[union[0]]
        first = self._first_cell[attribute]
        last = first + self._num_cells[attribute] - 1
        rows = np.arange(self._start[first], self._start[last] + self._count[last])
        rows = rows[~np.isin(self._value_sets[rows], union).any(axis=1)]
        if not len(rows):
            return np.full(num, -1)
        weights = 1 / self._count[self._cell_of_row[rows]]
        return np.asarray(rng.choice(rows, num, p=weights / weights.sum()))

    def _impossible(self, anchor: Numbers, positive: Numbers, negative: Numbers) -> Numbers:
        """Returns the places of negatives that share a value with anchor or positive."""
        if self._value_sets.shape[1] == 1:  # one value per image: other cells share nothing
            return np.empty(0, np.int64)
        sets = self._value_sets
        ours = np.concatenate([sets[anchor], sets[positive]], axis=1)[:, :, None]
        shares = (ours == sets[negative][:, None, :]) & (ours >= 0)
        return np.flatnonzero(shares.any(axis=(1, 2)))


def _below(ends: Numbers, rng: np.random.Generator) -> Numbers:
    """Returns a whole number in [0, end) for each end, uniform to 1 in 2^53 / end.

    Three times as fast as `Generator.integers` with an array of ends.
    """
    return (rng.random(len(ends)) * ends).astype(np.int64)


def _value_sets(rows: pd.DataFrame, cell: Numbers) -> Numbers:
    """Returns for each label row all cells of its image in its attribute [rows, M], -1 padded."""
    of_image = rows.groupby(["attribute", "image"])
    pair, place = of_image.ngroup().to_numpy(), of_image.cumcount().to_numpy()
    sets = np.full((pair.max() + 1, place.max() + 1), -1)
    sets[pair, place] = cell
    return np.asarray(sets[pair])


def plan_triplets(
    sampler: TripletSampler, *, num_epochs: int, triplets_per_epoch: int, seed: int
) -> Iterator[pa.Table]:
    """Yields the triplets of each epoch as `tables.TRIPLETS`; an epoch depends on (seed, epoch)."""
    for epoch in range(num_epochs):
        sampled = sampler.sample(triplets_per_epoch, rng=np.random.default_rng([seed, epoch]))
        yield as_epoch(sampled, epoch)


def as_epoch(triplets: pa.Table, epoch: int) -> pa.Table:
    """Returns triplets of an epoch as `tables.TRIPLETS`, in their order."""
    numbers = pa.array(np.full(triplets.num_rows, epoch, np.int16))
    columns = triplets.append_column("epoch", numbers)
    return columns.select(tables.TRIPLETS.names).cast(tables.TRIPLETS)
