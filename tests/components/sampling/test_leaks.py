"""The leak report: what is related and lies apart, counted and listed once."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from assigning import PARAMS, assigned, far_apart, hashes_table, rows_of
from builders import images_table, labels_table
from hypothesis import given, settings
from hypothesis import strategies as st

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.sampling.leaks import find_leaks, report_of
from components.sampling.relations import related_images
from components.sampling.splits import SPLITS, Assignment

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round", "boat")),
        Attribute(name="sleeve", values=("short", "long", "none")),
    ),
)


def splits_table(rows):
    """Returns (image, split) pairs as a splits table, with two labels each."""
    records = [
        {
            "image": image,
            "attribute": attribute,
            "value": 0,
            "split": split,
            "role": "train" if split == "train" else "gallery",
        }
        for attribute in range(2)
        for image, split in rows
    ]
    return pa.Table.from_pylist(records, schema=tables.SPLITS)


def leaks_of(images, splits, *, hashes=None, distance=3):
    hashes = far_apart(images) if hashes is None else hashes
    related = related_images(images, hashes_table(images, hashes), near_duplicate_distance=distance)
    return find_leaks(splits, related, images)


def test_a_leak_of_each_kind_by_hand():
    images = images_table("abbcdefgh", groups=[None] * 4 + ["shoe"] * 2 + [None] * 3)
    hashes = far_apart(images)
    hashes[2] = hashes[1]
    hashes[8] = hashes[6] ^ np.uint64(0b111)
    splits = splits_table(
        [
            (0, "train"),
            (0, "valid"),
            (1, "train"),
            (2, "test"),
            (3, "train"),
            (4, "test"),
            (5, "valid"),
            (6, "valid"),
            (7, "train"),
            (8, "train"),
        ]
    )

    assert rows_of(leaks_of(images, splits, hashes=hashes)) == [
        ("group", 4, 4, "4.png", "test"),
        ("group", 4, 5, "5.png", "valid"),
        ("identical_file", 1, 1, "1.png", "train"),
        ("identical_file", 1, 2, "2.png", "test"),
        ("near_duplicate", 6, 6, "6.png", "valid"),
        ("near_duplicate", 6, 8, "8.png", "train"),
        ("same_image", 0, 0, "0.png", "train"),
        ("same_image", 0, 0, "0.png", "valid"),
    ]


@st.composite
def catalogs(draw):
    """Images with copies, groups and near-duplicates, and labels in any split."""
    num_images = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    contents = rng.integers(0, draw(st.sampled_from([3, 30])), num_images)
    products = rng.integers(0, draw(st.sampled_from([3, 30])), num_images)
    images = images_table(
        [str(content) for content in contents],
        groups=[str(product) if product else None for product in products],
    )
    # contents 3 k, 3 k + 1 and 3 k + 2 are neighbours, one bit apart
    hashes = far_apart(images_table("x" * 31))[contents // 3] ^ (1 << contents % 3).astype("uint64")
    splits = [
        (image, SPLITS[place])
        for image in range(num_images)
        for place in np.flatnonzero(rng.random(3) < draw(st.sampled_from([0.2, 0.5])))
    ]
    return images, hashes, splits


def naive_leaks(images, hashes, splits):
    """Returns (kind, image, split) of every pair of related rows in different splits."""
    facts = images.to_pylist()
    found = set()
    for (one, split_of_one), (other, split_of_other) in combinations(splits, 2):
        if split_of_one == split_of_other:
            continue
        a, b = facts[one], facts[other]
        copies = a["sha256"] == b["sha256"]
        kinds = {
            "same_image": one == other,
            "identical_file": one != other and copies,
            "group": one != other and a["group"] == b["group"] is not None,
            "near_duplicate": not copies and (int(hashes[one] ^ hashes[other])).bit_count() <= 3,
        }
        for kind, holds in kinds.items():
            if holds:
                found |= {(kind, one, split_of_one), (kind, other, split_of_other)}
    return found


@settings(max_examples=200)
@given(catalog=catalogs())
def test_against_all_pairs(catalog):
    images, hashes, splits = catalog
    leaks = rows_of(leaks_of(images, splits_table(splits), hashes=hashes))
    naive = naive_leaks(images, hashes, splits)

    assert leaks == sorted(set(leaks)), "sorted, every row once"
    listed = {(kind, image, split) for kind, _, image, _, split in leaks}
    assert naive <= listed
    # a unit's rows are all listed, also those that are in the split of most
    units = {(kind, unit): set() for kind, unit, *_ in leaks}
    for kind, unit, image, _, split in leaks:
        units[kind, unit].add((kind, image, split))
    assert all(members & naive for members in units.values())
    assert all(len({row[2] for row in members}) > 1 for members in units.values())


def test_an_image_in_two_splits_is_no_copy_of_itself():
    splits = splits_table([(0, "train"), (0, "test"), (1, "train")])

    kinds = {row[0] for row in rows_of(leaks_of(images_table("ab"), splits))}
    assert kinds == {"same_image"}


def test_copies_are_not_listed_again_as_near_duplicates():
    splits = splits_table([(0, "train"), (1, "test")])
    leaks = rows_of(leaks_of(images_table("aa"), splits, hashes=[5, 5]))

    assert {row[0] for row in leaks} == {"identical_file"}


def test_rows_are_as_many_as_images_not_as_pairs():
    num_images = 2000
    splits = splits_table((image, SPLITS[image % 3]) for image in range(num_images))
    leaks = leaks_of(images_table(["a"] * num_images, groups=["b"] * num_images), splits)

    assert leaks.num_rows == 2 * num_images


def test_the_report_by_hand():
    images = images_table("aabc")
    splits = pa.Table.from_pylist(
        [
            {"image": image, "attribute": a, "value": 0, "split": split, "role": role}
            for image, a, split, role in [
                (0, 0, "train", "train"),
                (0, 1, "train", "train"),
                (1, 0, "test", "query"),
                (2, 0, "test", "gallery"),
                (3, 0, "test", "gallery"),
                (3, 1, "valid", "gallery"),
            ]
        ],
        schema=tables.SPLITS,
    )
    unanswerable = pa.Table.from_pylist(
        [
            {"image": image, "attribute": attribute, "value": value, "split": split}
            for image, attribute, value, split in [
                (3, 1, 0, "valid"),
                (3, 1, 2, "valid"),  # the same query: it has two values
                (3, 1, 2, "test"),
                (7, 1, 1, "test"),
            ]
        ],
        schema=tables.UNANSWERABLE,
    )
    report = report_of(
        Assignment(splits=splits, unanswerable=unanswerable),
        leaks_of(images, splits),
        images=images,
        params=replace(PARAMS, near_duplicate_distance=5),
        schema=SCHEMA,
    )

    assert report == {
        "method": "random",
        "roles": "held_out",
        "near_duplicate_distance": 5,
        "num_labels_without_split": 0,
        "splits": {
            "train": {"train": {"num_images": 1, "num_labels": 2}},
            "valid": {"gallery": {"num_images": 1, "num_labels": 1}},
            "test": {
                "gallery": {"num_images": 2, "num_labels": 2},
                "query": {"num_images": 1, "num_labels": 1},
            },
        },
        "leaks": {
            "same_image": {"num_units": 1, "num_images": 1},
            "identical_file": {"num_units": 1, "num_images": 2},
            "group": {"num_units": 0, "num_images": 0},
            "near_duplicate": {"num_units": 0, "num_images": 0},
        },
        "unanswerable": {"sleeve": 3},
    }


def test_near_duplicates_that_were_not_looked_for_are_not_counted_as_none():
    params = replace(PARAMS, near_duplicates="ignore")
    images = images_table(str(image) for image in range(100))
    labels = labels_table((image, 0, image % 2) for image in range(100))
    assignment = assigned(images, labels, params=params)
    leaks = leaks_of(images, assignment.splits, distance=params.searched_distance)
    report = report_of(assignment, leaks, images=images, params=params, schema=SCHEMA)

    assert report["near_duplicate_distance"] is None
    assert set(report["leaks"]) == {"same_image", "identical_file", "group"}


@pytest.mark.parametrize("near_duplicates", ["together", "report"])
def test_random_splits_leak_what_they_do_not_keep_together(near_duplicates):
    rng = np.random.default_rng(0)
    images = images_table([str(image // 2) for image in range(300)])
    labels = labels_table((image, 0, image % 2) for image in range(300))
    hashes = far_apart(images)[:100][np.arange(300) // 3] ^ rng.integers(0, 4, 300).astype("uint64")
    params = replace(PARAMS, near_duplicates=near_duplicates)
    splits = assigned(images, labels, hashes=hashes, params=params).splits
    kinds = {row[0] for row in rows_of(leaks_of(images, splits, hashes=hashes))}

    assert kinds == (set() if near_duplicates == "together" else {"near_duplicate"})
