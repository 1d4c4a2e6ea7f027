"""Splits that are continued: what is old stays, what is new is assigned as the old was."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assigning import PARAMS, assigned, distinct, far_apart, hashes_table, rows_of, splits_of
from builders import images_table, labels_table

from components.sampling.relations import related_images, units
from components.sampling.splits import SPLITS

LARGE, LARGER, LARGEST = 2000, 2100, 2205  # images: 5 % more, twice


class Growing:
    """A catalog with copies, groups, near-duplicates, several values and rare ones."""

    def __init__(self):
        rng = np.random.default_rng(0)
        products = rng.integers(0, 4 * LARGEST, LARGEST)
        self.images = images_table(
            [str(content) for content in rng.integers(0, 10 * LARGEST, LARGEST)],
            groups=[None if product % 3 else str(product) for product in products],
        )
        self.hashes = far_apart(self.images)
        near = rng.choice(LARGEST, (200, 2), replace=False)
        self.hashes[near[:, 0]] = self.hashes[near[:, 1]] ^ np.uint64(0b1001)
        self.rows = sorted(
            {
                (image, attribute, int(12 * rng.random() ** 2) if image % 9 else image)
                for image in range(LARGEST)
                for attribute in range(2)
                for _ in range(rng.integers(0, 3))
            }
        )

    def assign(self, num_images, *, previous=None, shuffle=None, params=PARAMS):
        labels = labels_table(row for row in self.rows if row[0] < num_images)
        images = self.images.slice(0, num_images)
        places = np.arange(num_images)
        if shuffle is not None:
            rng = np.random.default_rng(shuffle)
            places = rng.permutation(num_images)
            labels = labels.take(rng.permutation(labels.num_rows))
            if previous is not None:
                order = rng.permutation(previous.splits.num_rows)
                previous = replace(previous, splits=previous.splits.take(order))
        return assigned(
            images.take(places),
            labels,
            hashes=self.hashes[places],
            params=params,
            previous=previous,
        )


@pytest.fixture(scope="module")
def growing():
    return Growing()


@pytest.fixture(scope="module")
def runs(growing):
    """The assignments of three runs, each with 5 % more images than the one before."""
    first = growing.assign(LARGE)
    second = growing.assign(LARGER, previous=first)
    return [first, second, growing.assign(LARGEST, previous=second)]


def test_no_old_label_changes_split_or_role(growing, runs):
    first, second, third = (set(rows_of(run.splits)) for run in runs)

    assert first < second < third
    assert sorted(row[:3] for row in third) == growing.rows
    assert {row[0] for row in second - first} <= set(range(LARGE, LARGER))
    assert {row[0] for row in third - second} <= set(range(LARGER, LARGEST))


def test_new_images_go_where_their_unit_is_and_stay_together(growing, runs):
    hashes = hashes_table(growing.images, growing.hashes)
    for before, after, num_images in zip(runs, runs[1:], (LARGER, LARGEST), strict=False):
        images = growing.images.slice(0, num_images)
        unit = units(related_images(images, hashes, near_duplicate_distance=3))
        old = set(rows_of(before.splits))
        old_splits, new_splits = {}, {}
        for row in rows_of(after.splits):
            of_unit = old_splits if row in old else new_splits
            of_unit.setdefault(unit[row[0]], []).append(row[3])
        assert len(new_splits.keys() & old_splits.keys()) > 10
        for number, splits in new_splits.items():
            assert len(set(splits)) == 1
            counts = Counter(old_splits.get(number, splits))
            assert counts[splits[0]] == max(counts.values())


def test_shares_still_hold(growing):
    # one label an image and no relations: what the shares are promised for
    images = distinct(LARGEST)
    values = (8 * np.random.default_rng(1).random(LARGEST) ** 2).astype(int)
    labels = labels_table((image, 0, int(value)) for image, value in enumerate(values))
    previous = None
    for num_images in (LARGE, LARGER, LARGEST):
        taken = labels.slice(0, num_images)
        previous = assigned(images.slice(0, num_images), taken, previous=previous)

    rows = rows_of(previous.splits)
    sizes = Counter(row[2] for row in rows)
    for value, size in sizes.items():
        for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
            num = sum(row[2] == value and row[3] == name for row in rows)
            assert abs(num - share * size) <= 2 * 3, "two rows for each of three runs"
    for name in ("valid", "test"):
        roles = Counter(row[4] for row in rows if row[3] == name)
        assert abs(roles["query"] - 0.2 * roles.total()) <= 2 * 3


def test_from_scratch_is_the_first_run(growing, runs):
    again = growing.assign(LARGE)

    assert again.splits == runs[0].splits
    assert again.unanswerable == runs[0].unanswerable


def test_continuing_without_new_images_changes_nothing(growing, runs):
    again = growing.assign(LARGER, previous=runs[1])

    assert runs[1].unanswerable.num_rows, "there is something to keep"
    assert again.splits == runs[1].splits
    assert again.unanswerable == runs[1].unanswerable


def test_the_order_of_rows_does_not_matter(growing, runs):
    for seed in range(2):
        mixed = growing.assign(LARGER, previous=runs[0], shuffle=seed)
        assert mixed.splits == runs[1].splits
        assert mixed.unanswerable == runs[1].unanswerable


def test_images_that_come_one_at_a_time_reach_every_split_and_role():
    params = replace(PARAMS, train_share=0.5, valid_share=0.25, test_share=0.25, query_share=0.5)
    previous, num_images = None, range(40, 100)
    for num in num_images:
        labels = labels_table((image, 0, 0) for image in range(num))
        previous = assigned(distinct(num), labels, params=params, previous=previous)

    counts = Counter(row[3:] for row in rows_of(previous.splits) if row[0] >= 40)
    # 59 images, drawn one by one: 30, 7, 7, 7 and 7 are expected
    assert counts["train", "train"] >= 15
    for split in ("valid", "test"):
        for role in ("query", "gallery"):
            assert counts[split, role] >= 2


USABLE = [
    (0, 0, 0, "train", "train"),
    (1, 0, 0, "valid", "query"),
    (2, 0, 0, "valid", "gallery"),
    (3, 0, 0, "test", "query"),
    (4, 0, 0, "test", "gallery"),
]


def continued(images, labels, previous):
    found = assigned(images, labels_table(labels), previous=previous)
    return rows_of(found.splits), rows_of(found.unanswerable)


@pytest.mark.parametrize(
    ("siblings", "expected"),
    [
        (["train"], "train"),
        (["test"], "test"),
        (["train", "valid", "valid"], "valid"),
        (["valid", "train"], "train"),  # as many of each: the alphabetically first
        (["train", "test"], "test"),
    ],
)
def test_a_new_image_goes_where_most_of_its_unit_is(siblings, expected):
    role_in = {"train": "train", "valid": "gallery", "test": "gallery"}
    old = [(5 + place, 0, 0, split, role_in[split]) for place, split in enumerate(siblings)]
    num_images = 5 + len(siblings) + 1
    images = images_table(
        [str(image) for image in range(num_images)],
        groups=[None] * 5 + ["shoe"] * (num_images - 5),
    )
    labels = [*(row[:3] for row in (*USABLE, *old)), (num_images - 1, 0, 0)]
    rows, _ = continued(images, labels, splits_of(*USABLE, *old))

    assert rows[-1] == (num_images - 1, 0, 0, expected, role_in[expected])
    assert rows[:-1] == [*USABLE, *old]


@pytest.mark.parametrize(("place", "role"), [(1, "query"), (2, "gallery")])
def test_a_new_image_takes_the_role_of_its_unit(place, role):
    images = images_table(["a", "b", "c", "d", "e", "bc"[place - 1]])
    rows, _ = continued(images, [*(row[:3] for row in USABLE), (5, 0, 0)], splits_of(*USABLE))

    assert rows[-1] == (5, 0, 0, "valid", role)


def test_an_image_with_another_value_stays_in_its_split_and_role():
    labels = [(0, 0, 1), *(row[:3] for row in USABLE[1:]), (4, 0, 1)]
    rows, _ = continued(distinct(5), labels, splits_of(*USABLE))

    assert rows == [(0, 0, 1, "train", "train"), *USABLE[1:], (4, 0, 1, "test", "gallery")]


def test_an_image_keeps_its_split_when_all_its_attributes_went_away():
    gone = (5, -1, -1, "test", "query")
    rows, _ = continued(
        distinct(6), [*(row[:3] for row in USABLE), (5, 0, 0)], splits_of(*USABLE, gone)
    )

    assert rows[-1][:4] == (5, 0, 0, "test")


def test_images_that_went_away_have_no_rows():
    images = distinct(6).filter(pa.array([True] * 4 + [False, True]))
    labels = [row[:3] for row in USABLE[:4]] + [(5, 0, 0)]
    previous = splits_of(*USABLE, (5, 0, 0, "test", "gallery"))
    rows, _ = continued(images, labels, previous)

    assert rows == [*USABLE[:4], (5, 0, 0, "test", "gallery")]


def test_an_old_query_that_lost_its_answer_becomes_gallery_and_is_listed():
    query, answer = (5, 0, 1, "test", "query"), (6, 0, 1, "test", "gallery")
    previous = splits_of(*USABLE, query, answer)
    labels = [row[:3] for row in (*USABLE, query)]  # image 6 has another value now
    rows, listed = continued(distinct(7), [*labels, (6, 0, 0)], previous)

    assert (5, 0, 1, "test", "gallery") in rows
    assert listed == [(5, 0, 1, "test")]


def test_a_new_sibling_that_nobody_answers_does_not_cost_an_old_query_its_role():
    images = images_table("abcdef", groups=[None, None, None, "shoe", None, "shoe"])
    rows, listed = continued(images, [*(row[:3] for row in USABLE), (5, 0, 7)], splits_of(*USABLE))

    assert rows == [*USABLE, (5, 0, 7, "test", "gallery")]
    assert listed == [(5, 0, 7, "test")]


def test_what_was_listed_stays_listed_as_long_as_the_label_is_there():
    old = [(5, 0, 7, "test", "gallery"), (6, 0, 8, "test", "gallery")]
    previous = splits_of(*USABLE, *old, unanswerable=[(5, 0, 7, "test"), (6, 0, 8, "test")])
    labels = [*(row[:3] for row in USABLE), (5, 0, 7), (6, 0, 0)]

    assert continued(distinct(7), labels, previous)[1] == [(5, 0, 7, "test")]
