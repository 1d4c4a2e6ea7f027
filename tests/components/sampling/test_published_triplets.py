"""Published triplets: those of a split, taken without replacement, shuffled for every epoch."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from components import tables
from components.errors import HemlineError
from components.sampling.epochs import plan_published, triplets_in_split
from components.sampling.triplets import as_epoch

ROWS = [("train", place % 2, place, place + 100, place + 200) for place in range(10)]


def table_of(rows, schema=tables.PUBLISHED_TRIPLETS):
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)


def labels_of(rows):
    """Returns labels of (image, attribute); values and roles do not matter."""
    return splits_table((image, a, image % 3, "train", "train") for image, a in rows)


def rows_of(table):
    return [tuple(row.values()) for row in table.to_pylist()]


small = st.integers(0, 4)
triplets = st.lists(st.tuples(st.just("train"), st.integers(0, 1), small, small, small), min_size=1)
labels = st.lists(st.tuples(small, st.integers(0, 1)))


@given(triplets=triplets, labels=labels)
def test_a_triplet_stays_where_all_its_images_are_labelled(triplets, labels):
    staying = [row for row in triplets if all((image, row[1]) in set(labels) for image in row[2:])]
    if not staying:
        with pytest.raises(HemlineError, match=r"each of \d+ published triplets has an image"):
            triplets_in_split(table_of(triplets), labels_of(labels))
        return
    taken, others = triplets_in_split(table_of(triplets), labels_of(labels))

    assert rows_of(taken) == staying
    assert Counter(rows_of(taken)) + Counter(rows_of(others)) == Counter(triplets)


def test_images_of_any_number_are_told_apart_in_any_attribute():
    images = [2**40, 2**40 + 1, 2**33]
    labels = labels_of([(image, 1) for image in images])
    good = ("train", 1, *images)
    bad = [("train", 1, *images[:2], 2**32), ("train", 2, *(image - 2**32 for image in images))]

    taken, others = triplets_in_split(table_of([*bad, good]), labels)
    assert (rows_of(taken), rows_of(others)) == ([good], bad)


def test_no_published_triplets_at_all_are_an_error_that_says_so():
    with pytest.raises(HemlineError, match="publishes no triplets"):
        triplets_in_split(table_of([]), labels_of([(0, 0)]))


def plan(**changes):
    options = {"num_epochs": 4, "triplets_per_epoch": 6, "seed": 3} | changes
    return list(plan_published(table_of(ROWS), **options))


def test_an_epoch_is_so_many_of_the_list_and_none_twice():
    for number, epoch in enumerate(plan()):
        assert epoch.schema == tables.TRIPLETS
        rows = rows_of(epoch)
        assert len(set(rows)) == 6
        assert {row[0] for row in rows} == {number}
        assert {("train", *row[1:]) for row in rows} <= set(ROWS)


@pytest.mark.parametrize("triplets_per_epoch", [10, 11, 1000])
def test_a_list_that_is_shorter_is_taken_whole_and_shuffled(triplets_per_epoch):
    epochs = [
        [row[1:] for row in rows_of(epoch)] for epoch in plan(triplets_per_epoch=triplets_per_epoch)
    ]

    assert all(sorted(epoch) == sorted(row[1:] for row in ROWS) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4, "each in an order of its own"


def test_every_triplet_is_taken_as_often_as_any_other():
    drawn = Counter(row[1:] for epoch in plan(num_epochs=2000) for row in rows_of(epoch))

    # drawing without replacement only makes the counts more even
    assert len(drawn) == 10
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_an_epoch_is_the_same_however_many_follow():
    assert plan(num_epochs=2) == plan(num_epochs=4)[:2]
    assert plan(seed=4) != plan()


def test_an_epoch_in_the_order_of_the_list():
    epoch = as_epoch(table_of(ROWS), 2)

    assert epoch.schema == tables.TRIPLETS
    assert rows_of(epoch) == [(2, *row[1:]) for row in ROWS]
    assert np.issubdtype(epoch["epoch"].to_numpy().dtype, np.int16)
