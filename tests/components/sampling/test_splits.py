"""Splits and roles: nothing torn apart, shares kept, every query answerable."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from assigning import PARAMS, assigned, distinct, far_apart, rows_of
from builders import images_table, labels_table
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.errors import HemlineError
from components.sampling.splits import SPLITS

SHARES, QUERY_SHARE = (0.8, 0.1, 0.1), 0.2


def split(images, labels, **options):
    return rows_of(assign(images, labels, **options).splits)


def assign(images, labels, *, hashes=None, shares=SHARES, query_share=QUERY_SHARE, seed=0):
    train, valid, test = shares
    changes = {"train_share": train, "valid_share": valid, "test_share": test}
    params = replace(PARAMS, query_share=query_share, seed=seed, **changes)
    return assigned(images, labels_table(labels), hashes=hashes, params=params)


@st.composite
def data_sets(draw):
    """Images with copies, groups, near-duplicates and several labels of two attributes."""
    num_images = draw(st.integers(20, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    copies = rng.integers(0, draw(st.sampled_from([num_images // 2, 10 * num_images])), num_images)
    products = rng.integers(-num_images // 2, num_images // 2, num_images)
    images = images_table(
        [str(content) for content in copies],
        groups=[str(product) if product > 0 else None for product in products],
    )
    labels = {
        (image, attribute, int(rng.integers(4)))
        for image in range(num_images)
        for attribute in range(2)
        for _ in range(rng.integers(0, 3))
    }
    assume(labels)
    hashes = rng.integers(0, 2**64, num_images, np.uint64)
    changed = rng.integers(1, num_images, draw(st.integers(0, num_images // 2)))
    flips = np.uint64(1) << rng.integers(0, 64, (len(changed), 3)).astype(np.uint64)
    hashes[changed] = hashes[changed - 1] ^ np.bitwise_xor.reduce(flips, axis=1)
    return images, hashes, sorted(labels)


@settings(max_examples=50)
@given(data=data_sets(), seed=st.integers(0, 2**32 - 1))
def test_against_the_definition(data, seed):
    images, hashes, labels = data
    try:
        assignment = assign(
            images, labels, hashes=hashes, shares=(0.5, 0.25, 0.25), query_share=0.5, seed=seed
        )
    except HemlineError:
        assume(False)  # so few units that a split stayed empty
    rows = rows_of(assignment.splits)

    assert sorted(row[:3] for row in rows) == labels, "every label once"
    splits_of, roles_of, values_of = {}, {}, {}
    for image, attribute, value, split_name, role in rows:
        splits_of.setdefault(image, set()).add(split_name)
        roles_of.setdefault((image, attribute), set()).add(role)
        values_of.setdefault((image, attribute), set()).add(value)
        assert role in ({"train"} if split_name == "train" else {"query", "gallery"})
    assert all(len(names) == 1 for names in splits_of.values()), "an image is in one split"
    assert all(len(roles) == 1 for roles in roles_of.values()), "and has one role per attribute"

    facts = images.to_pylist()
    for one, other in combinations(splits_of, 2):
        copies = facts[one]["sha256"] == facts[other]["sha256"]
        siblings = facts[one]["group"] is not None and facts[one]["group"] == facts[other]["group"]
        near = (int(hashes[one]) ^ int(hashes[other])).bit_count() <= 3
        if copies or siblings or near:
            assert splits_of[one] == splits_of[other]
            for attribute in range(2):
                roles = [roles_of.get((image, attribute)) for image in (one, other)]
                assert None in roles or roles[0] == roles[1]

    for (image, attribute), roles in roles_of.items():
        if roles == {"query"}:
            assert any(
                values & values_of[image, attribute]
                for (other, a), values in values_of.items()
                if a == attribute
                and splits_of[other] == splits_of[image]
                and roles_of[other, a] == {"gallery"}
            ), "a query has a gallery item of a value of its own"

    for image, attribute, value, split_name in rows_of(assignment.unanswerable):
        assert (image, attribute, value, split_name, "gallery") in rows


def test_chains_of_copies_and_products_stay_together():
    # 0 and 1 are copies, 1 and 2 one product, 2 and 3 copies, and so on to the end
    sha256s = [str(image // 2) for image in range(40)]
    groups = [str((image + 1) // 2) for image in range(40)]
    images = images_table(
        [*sha256s, *(f"other {i}" for i in range(60))], groups=[*groups, *[None] * 60]
    )
    labels = [(image, 0, image % 2) for image in range(100)]

    for seed in range(5):
        rows = split(images, labels, seed=seed)
        assert len({row[3] for row in rows if row[0] < 40}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_shares_hold_overall_and_for_every_value(seed):
    sizes = [500, 200, 50, 11]
    values = np.repeat(np.arange(4), sizes)
    labels = [(image, 0, int(value)) for image, value in enumerate(values)]
    rows = split(distinct(len(labels)), labels, seed=seed)

    for value, size in enumerate(sizes):
        counts = Counter(row[3] for row in rows if row[2] == value)
        for name, share in zip(SPLITS, SHARES, strict=True):
            assert abs(counts[name] - share * size) <= 2
    counts = Counter(row[3] for row in rows)
    for name, share in zip(SPLITS, SHARES, strict=True):
        assert abs(counts[name] - share * sum(sizes)) <= 2


def test_a_rare_value_is_spread_also_where_images_have_a_common_one_too():
    # attribute 0 has one common value; attribute 1 a rare one, on every 50th image
    num_images = 1000
    labels = [(image, 0, image % 2) for image in range(num_images)]
    labels += [(image, 1, int(image % 50 == 0)) for image in range(num_images)]

    for seed in range(5):
        rows = split(distinct(num_images), labels, seed=seed)
        counts = Counter(row[3] for row in rows if row[1:3] == (1, 1))
        assert abs(counts["train"] - 16) <= 2
        assert abs(counts["valid"] - 2) <= 1
        assert abs(counts["test"] - 2) <= 1


def test_the_query_share_holds_for_every_split_attribute_and_value():
    num_images = 3000
    labels = [(image, a, image // 3**a % 3) for image in range(num_images) for a in range(2)]
    rows = split(distinct(num_images), labels)

    for name in ("valid", "test"):
        for attribute in range(2):
            for value in range(3):
                roles = [row[4] for row in rows if row[1:4] == (attribute, value, name)]
                assert len(roles) > 80
                assert abs(roles.count("query") - QUERY_SHARE * len(roles)) <= 2


def test_the_same_seed_gives_the_same_splits_whatever_the_order_of_the_rows():
    labels = [(image, a, image // 3**a % 3) for image in range(200) for a in range(2)]
    rng = np.random.default_rng(0)
    shuffled = [labels[i] for i in rng.permutation(len(labels))]
    images = images_table([str(image // 3) for image in range(200)])
    mixed = images.take(rng.permutation(200))

    assert split(images, labels) == split(images, labels)
    assert split(mixed, shuffled) == split(images, labels)
    assert split(images, labels, seed=1) != split(images, labels)


def test_every_image_has_its_chance_of_every_split():
    num_images, num_seeds = 100, 100
    labels = [(image, 0, image % 2) for image in range(num_images)]
    images = distinct(num_images)
    in_test = Counter(
        row[0]
        for seed in range(num_seeds)
        for row in split(images, labels, query_share=0.5, seed=seed)
        if row[3] == "test"
    )

    # binomial: a standard deviation of 0.03; five of them, for a hundred images
    assert all(abs(in_test[image] / num_seeds - 0.1) < 0.15 for image in range(num_images))
    assert all(in_test[image] for image in range(num_images))


def test_a_lone_value_in_a_held_out_split_is_no_query_and_is_listed():
    labels = [(image, 0, image % 2) for image in range(100)]
    labels += [(image, 0, image) for image in range(100, 200)]  # values of a single image

    for seed in range(5):
        assignment = assign(distinct(200), labels, seed=seed)
        rows = rows_of(assignment.splits)
        lone = {row[4] for row in rows if row[0] >= 100}
        assert lone == {"train", "gallery"}
        assert any(row[4] == "query" for row in rows)
        listed = rows_of(assignment.unanswerable)
        num_lone_held_out = sum(row[0] >= 100 and row[3] != "train" for row in rows)
        assert abs(len(listed) - QUERY_SHARE * num_lone_held_out) <= 3
        assert all(image >= 100 for image, *_ in listed)


def test_images_without_labels_are_in_no_split():
    labels = [(image, 0, image % 2) for image in range(0, 100, 2)]

    assert {row[0] for row in split(distinct(100), labels)} == set(range(0, 100, 2))


@pytest.mark.parametrize(
    ("num_images", "shares", "expected"),
    [
        (2, SHARES, r"2 images are too few: split \w+ got no "),
        (100, (0.8, 0.199, 0.001), r"split test got no query .*; raise split\.test_share"),
        (100, (0.001, 0.499, 0.5), r"split train got no image; raise split\.train_share"),
        (0, SHARES, "0 images are too few: split train got no image"),
    ],
)
def test_a_split_that_nothing_can_be_done_with_is_an_error(num_images, shares, expected):
    labels = [(image, 0, image % 2) for image in range(num_images)]

    with pytest.raises(HemlineError, match=expected):
        split(distinct(num_images), labels, shares=shares)


def test_held_out_values_of_a_single_image_each_leave_no_query():
    labels = [(image, 0, image) for image in range(50)]

    with pytest.raises(HemlineError, match="no query that its gallery could answer"):
        split(distinct(50), labels)


def test_near_duplicates_are_torn_apart_where_the_params_do_not_keep_them_together():
    images = distinct(200)
    labels = labels_table((image, 0, image // 2 % 2) for image in range(200))
    hashes = np.repeat(far_apart(images)[:100], 2) ^ np.tile(np.uint64([0, 7]), 100)

    def num_torn(near_duplicates):
        params = replace(PARAMS, near_duplicates=near_duplicates)
        rows = rows_of(assigned(images, labels, hashes=hashes, params=params).splits)
        return sum(rows[i][3] != rows[i + 1][3] for i in range(0, 200, 2))

    assert num_torn("together") == 0
    assert num_torn("report") == num_torn("ignore") > 10
