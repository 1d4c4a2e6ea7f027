"""Splits that the data set gives: kept as given, completed where it is silent."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assigning import PARAMS, assigned, distinct, rows_of
from builders import images_table

from components import tables
from components.errors import HemlineError

PUBLISHED = replace(PARAMS, method="published", near_duplicates="report", query_share=0.25)

# images 0 to 3 are enough for a usable split of every name: attribute 0 has all its roles
USABLE = [
    (0, 0, 0, "train", None),
    (0, 0, 1, "valid", "query"),
    (1, 0, 1, "valid", "gallery"),
    (2, 0, 1, "test", "query"),
    (3, 0, 1, "test", "gallery"),
]


def table_of(rows):
    records = [dict(zip(tables.LABELS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.LABELS)


def taken(rows, *, images=None, **changes):
    images = distinct(1 + max(row[0] for row in rows)) if images is None else images
    return assigned(images, table_of(rows), params=replace(PUBLISHED, **changes))


@pytest.mark.parametrize("method", ["published", "column"])
def test_given_splits_and_roles_are_kept_whatever_leaks(method):
    rng = np.random.default_rng(0)
    rows = [
        (image, attribute, int(rng.integers(2)), split, split if split == "train" else role)
        for image in range(60)
        for attribute in range(2)
        for split in [str(rng.choice(["train", "valid", "test"]))]
        for role in [str(rng.choice(["query", "gallery"]))]
    ]
    images = images_table([str(image % 7) for image in range(60)], groups=["one shoe"] * 60)

    found = taken(rows, images=images, method=method)
    assert rows_of(found.splits) == sorted(rows)
    assert found.unanswerable.num_rows == 0


def test_labels_for_training_train_whatever_their_role():
    rows = [(4, 0, 0, "train", "query"), (5, 0, 0, "train", "gallery")]

    assert set(rows_of(taken([*USABLE, *rows]).splits)) >= {
        (0, 0, 0, "train", "train"),
        (4, 0, 0, "train", "train"),
        (5, 0, 0, "train", "train"),
    }


def test_where_some_have_a_role_the_others_are_gallery():
    silent = [(image, 0, 1, "valid", None) for image in range(4, 50)]
    rows = rows_of(taken([*USABLE, *silent]).splits)

    assert {row[4] for row in rows if row[0] >= 4} == {"gallery"}


def test_where_none_has_a_role_roles_are_drawn_for_every_value():
    silent = [(image, 1, image % 2, "valid", None) for image in range(100, 300)]
    rows = [row for row in rows_of(taken([*USABLE, *silent]).splits) if row[1] == 1]

    counts = Counter(row[2] for row in rows if row[4] == "query")
    assert abs(counts[0] - 25) <= 1
    assert abs(counts[1] - 25) <= 1
    assert {row[3] for row in rows} == {"valid"}


def test_copies_of_an_image_get_one_role_where_roles_are_drawn():
    # one of some four copies has a value of its own, which nobody answers
    values = [image if image % 16 == 3 else image // 4 % 2 for image in range(204)]
    silent = [(image, 1, values[image], "test", None) for image in range(4, 204)]
    images = images_table([str(image // 4) for image in range(204)])
    found = rows_of(taken([*USABLE, *silent], images=images).splits)

    roles_of = {}
    for image, attribute, _, _, role in found:
        if attribute == 1:
            roles_of.setdefault(image // 4, set()).add(role)
    assert all(len(roles) == 1 for roles in roles_of.values())
    assert set().union(*roles_of.values()) == {"query", "gallery"}


def test_a_given_query_that_nobody_can_answer_is_left_out_and_the_gallery_stays():
    rows = [
        *USABLE,
        (4, 0, 2, "test", "query"),  # value 2 is in the gallery of valid and of attribute 1 only
        (5, 0, 2, "valid", "gallery"),
        (6, 1, 2, "test", "gallery"),
        (7, 0, 2, "test", "query"),  # one of its values can be answered: both labels stay
        (7, 0, 1, "test", "query"),
        (4, 1, 2, "test", "query"),  # the same image, where it can be answered
    ]
    found = taken(rows)

    assert set(rows_of(table_of(rows))) - set(rows_of(found.splits)) == {
        (0, 0, 0, "train", None),
        (4, 0, 2, "test", "query"),
    }
    assert rows_of(found.unanswerable) == [(4, 0, 2, "test")]


def test_a_drawn_query_that_nobody_can_answer_becomes_gallery():
    silent = [(image, 1, image, "test", None) for image in range(4, 104)]
    found = taken([*USABLE, *silent])

    rows = rows_of(found.splits)
    assert {row[4] for row in rows if row[1] == 1} == {"gallery"}
    assert len(rows) == len(USABLE) + 100
    assert found.unanswerable.num_rows == 25


def test_a_copy_of_a_given_query_does_not_take_its_answer_away():
    # 4 and 2 are copies, and 4 cannot be answered; with drawn roles, 2 would follow it
    images = images_table(["a", "b", "c", "d", "c"])
    found = taken([*USABLE, (4, 0, 9, "test", "query")], images=images)

    assert (2, 0, 1, "test", "query") in rows_of(found.splits)
    assert rows_of(found.unanswerable) == [(4, 0, 9, "test")]


def test_a_label_may_be_in_several_splits():
    rows = [*USABLE, (2, 0, 1, "train", None), (2, 0, 1, "valid", "gallery")]
    found = [row[3:] for row in rows_of(taken(rows).splits) if row[:3] == (2, 0, 1)]

    assert sorted(found) == [("test", "query"), ("train", "train"), ("valid", "gallery")]


def test_the_order_of_the_rows_does_not_matter():
    rows = [*USABLE, *((image, 1, image % 3, "test", None) for image in range(4, 100))]
    mixed = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    one, other = taken(rows), taken(mixed)

    assert one.splits == other.splits
    assert one.unanswerable == other.unanswerable


def test_labels_that_a_published_split_leaves_out_are_counted():
    others = [(9, 0, 1, None, None), (7, 0, 1, None, None), (7, 1, 1, "dev", None)]
    found = taken([*USABLE, *others])

    assert found.splits == taken(USABLE).splits
    assert found.num_without_split == 3


def test_labels_without_a_split_in_the_column_are_an_error_that_counts_them():
    rows = [*USABLE, (9, 0, 1, None, None), (7, 0, 1, None, None), (7, 1, 1, "dev", None)]

    with pytest.raises(HemlineError) as error:
        taken(rows, method="column")
    assert str(error.value) == (
        "3 of 8 labels have no split, the first of them that of 7.png; split.method column needs "
        "train, valid, test for each: complete the column, or set split.method random"
    )


@pytest.mark.parametrize(("missing", "what"), [("train", "image"), ("test", "query that .*")])
def test_a_split_that_the_data_set_lacks_is_an_error(missing, what):
    rows = [row for row in USABLE if row[3] != missing]
    expected = rf"split {missing} got no {what}; split\.method published takes the data set's own"

    with pytest.raises(HemlineError, match=expected):
        taken(rows)
