"""Splits and roles of items: products that are photographed several times."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assigning import PARAMS, assigned, rows_of
from builders import images_table, labels_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.sampling.items import item_counts

ITEM, CATEGORY = 0, 1
SCHEMA = AttributeSchema(
    dataset="small",
    attributes=(
        Attribute(name="item", num_items=1000),
        Attribute(name="category", values=("coat", "dress")),
    ),
)
HALVES = replace(PARAMS, train_share=0.5, valid_share=0.25, test_share=0.25)


def photographed(items, *, domains=(), contents=None):
    """Returns images of which the i-th shows the i-th item."""
    contents = range(len(items)) if contents is None else contents
    groups = [f"id_{item}" for item in items]
    return images_table(map(str, contents), groups=groups, domains=domains)


def of_items(items):
    return [(image, ITEM, item) for image, item in enumerate(items)]


def split(items, *, labels=None, domains=(), contents=None, **options):
    images = photographed(items, domains=domains, contents=contents)
    table = labels_table(of_items(items) if labels is None else labels)
    return assigned(images, table, **{"params": HALVES, "identity": ITEM} | options)


def given(items, rows, *, domains=()):
    """Returns the assignment of (image, attribute, value, split, role), taken as published."""
    table = pa.Table.from_pylist(
        [dict(zip(tables.LABELS.names, row, strict=True)) for row in rows], schema=tables.LABELS
    )
    params = replace(HALVES, method="published", near_duplicates="report")
    return assigned(photographed(items, domains=domains), table, params=params, identity=ITEM)


def roles_of(found, name):
    return {row[0]: row[4] for row in rows_of(found.splits) if row[1] == ITEM and row[3] == name}


def test_an_item_is_in_one_split_also_where_an_image_shows_several():
    items = np.random.default_rng(0).integers(0, 60, 200).tolist()
    both = [(image, ITEM, items[image] + 60) for image in range(0, 200, 20)]
    found = split(items, labels=[*of_items(items), *both, *[(5, ITEM, 61), (6, ITEM, 61)]])

    splits_of = {}
    for _, _, item, name, _ in rows_of(found.splits):
        splits_of.setdefault(item, set()).add(name)
    assert all(len(names) == 1 for names in splits_of.values())
    assert {name for names in splits_of.values() for name in names} == {"train", "valid", "test"}


def test_rare_labels_keep_their_shares_beside_items():
    items = [image // 2 for image in range(2000)]
    rare = [(image, CATEGORY, int(items[image] % 25 == 0)) for image in range(2000)]
    found = split(items, labels=[*of_items(items), *rare])

    images = Counter(row[3] for row in rows_of(found.splits) if row[1:3] == (CATEGORY, 1))
    assert images == pytest.approx({"train": 40, "valid": 20, "test": 20}, abs=2)


def test_street_images_ask_and_all_others_answer():
    items = [image // 3 for image in range(300)]
    domains = ["street", "shop", None] * 100
    found = split(items, domains=domains)

    for name in ("valid", "test"):
        roles = roles_of(found, name)
        assert len(roles) > 40
        assert all((role == "query") == (image % 3 == 0) for image, role in roles.items())
    assert found.unanswerable.num_rows == 0


def test_a_street_image_whose_item_no_shop_has_asks_in_vain_and_is_listed():
    items = [image // 2 for image in range(200)]
    domains = ["street" if image % 2 == 0 or image % 10 == 1 else "shop" for image in range(200)]
    found = split(items, domains=domains)

    alone = {image for image, item in enumerate(items) if item % 5 == 0}
    for name in ("valid", "test"):
        roles = roles_of(found, name)
        listed = {row[0] for row in rows_of(found.unanswerable) if row[3] == name}
        assert listed == alone & roles.keys()
        assert listed
        assert {roles[image] for image in listed} == {"query"}
    counts = item_counts(
        found.splits, photographed(items, domains=[*domains[:-1], None]), schema=SCHEMA
    )
    assert counts["test"]["num_without_gallery"] == len(alone & roles_of(found, "test").keys()) / 2
    assert sum(each["num_images_without_domain"] for each in counts.values()) == 1


@pytest.mark.parametrize("domain", [None, "street", "shop"])
def test_images_of_one_world_ask_and_answer_by_lot_within_their_item(domain):
    items = [image // 5 for image in range(2000)]
    found = split(items, domains=[domain] * 2000)

    roles = roles_of(found, "test")
    asking = [image for image, role in roles.items() if role == "query"]
    answered = {items[image] for image, role in roles.items() if role == "gallery"}
    assert len(asking) == pytest.approx(0.2 * len(roles), abs=2)
    assert {items[image] for image in asking} <= answered
    assert len({items[image] for image in asking}) > 0.6 * len(roles) / 5
    assert found.unanswerable.num_rows == 0


def test_copies_of_a_photo_ask_or_answer_together():
    items = [image // 6 for image in range(1200)]
    found = split(items, contents=[image // 2 for image in range(1200)])

    for name in ("valid", "test"):
        roles = roles_of(found, name)
        assert all(roles[image] == roles[image ^ 1] for image in roles)
        assert set(roles.values()) == {"query", "gallery"}


def test_items_of_one_photo_do_not_ask_and_are_counted():
    items = [image // 4 if image < 400 else image for image in range(800)]
    found = split(items)

    roles = roles_of(found, "test")
    assert {role for image, role in roles.items() if image >= 400} == {"gallery"}
    listed = [row[0] for row in rows_of(found.unanswerable) if row[3] == "test"]
    assert listed
    assert min(listed) >= 400
    counts = item_counts(found.splits, photographed(items), schema=SCHEMA)["test"]
    assert counts["num_without_query"] >= sum(image >= 400 for image in roles)
    assert counts["num_without_gallery"] == counts["num_images_without_domain"] == 0


def test_only_street_images_in_a_held_out_split_are_an_error():
    items = [image // 2 for image in range(40)]
    rows = [(i, ITEM, items[i], ["train", "valid", "test"][items[i] % 3], None) for i in range(40)]
    domains = ["shop" if i % 2 and items[i] % 3 < 2 else "street" for i in range(40)]

    with pytest.raises(HemlineError, match=r"split test got no query that its gallery could answe"):
        given(items, rows, domains=domains)


def inshop(num_items=200):
    """Returns items of four images, as In-shop has them: half of them train, the others test."""
    items = [image // 4 for image in range(4 * num_items)]
    return items, [
        (image, attribute, item if attribute == ITEM else item % 4 // 2, "train", None)
        if item % 2 == 0
        else (
            image,
            attribute,
            item if attribute == ITEM else item % 4 // 2,
            "test",
            "query" if image % 4 == 0 else "gallery",
        )
        for image, item in enumerate(items)
        for attribute in (ITEM, CATEGORY)
    ]


def test_a_published_split_without_valid_holds_out_items_of_train():
    items, rows = inshop()
    found = given(items, rows)
    splits = rows_of(found.splits)

    items_of = {}
    for _, attribute, value, name, _ in splits:
        if attribute == ITEM:
            items_of.setdefault(name, set()).add(value)
    assert items_of["valid"] == {item for item in items_of["valid"] if item % 2 == 0}
    assert len(items_of["valid"]) == found.num_held_out_items == pytest.approx(25, abs=1)
    assert not items_of["valid"] & items_of["train"]
    assert items_of["test"] == set(range(1, 200, 2))
    of_image = {row[0]: row[3] for row in splits}
    assert all(of_image[row[0]] == row[3] for row in splits), "all labels of an image move"
    assert set(roles_of(found, "valid").values()) == {"query", "gallery"}
    given_test = {row[0]: row[4] for row in rows if row[1] == ITEM and row[3] == "test"}
    assert roles_of(found, "test") == given_test
    assert rows_of(given(items, rows).splits) == splits


def test_an_item_that_also_tests_is_not_held_out():
    items, rows = inshop(40)
    rows += [(4 * item, ITEM, item, "test", "gallery") for item in range(0, 20, 2)]
    found = given(items, rows)

    held_out = {row[2] for row in rows_of(found.splits) if row[1] == ITEM and row[3] == "valid"}
    assert held_out
    assert min(held_out) >= 20


def test_a_shop_image_may_answer_for_several_items_in_valid_and_test():
    items, rows = inshop(40)
    rows = [row if row[3] == "test" else (*row[:3], "train", None) for row in rows]
    rows += [(8, ITEM, 2, "valid", "query"), (9, ITEM, 2, "valid", "gallery")]
    shared = [(9, ITEM, item, name, "gallery") for item in (2, 500) for name in ("valid", "test")]
    found = given(items, [*rows, *shared, (9, ITEM, 2, "valid", "gallery")])

    held_out = [row for row in rows_of(found.splits) if row[0] == 9 and row[3] != "train"]
    assert sorted(held_out) == sorted(shared)


def test_new_photos_go_where_their_item_is_and_answer_what_asked_in_vain():
    items = [image // 2 for image in range(200)]
    domains = ["street", "shop"] * 100
    domains[1::20] = ["street"] * 10
    first = split(items, domains=domains)
    assert first.unanswerable.num_rows

    more = [*items, *range(0, 100, 10), *[200, 200]]  # the shop's pictures of those, and a new item
    later = split(more, domains=[*domains, *["shop"] * 11, "street"], previous=first)

    rows = set(rows_of(later.splits))
    assert set(rows_of(first.splits)) <= rows
    split_of = {row[2]: row[3] for row in rows_of(first.splits)}
    new = {row for row in rows if 200 <= row[0] < 210}
    assert all(row[3] == split_of[row[2]] for row in new)
    assert {row[4] for row in new} <= {"train", "gallery"}
    assert later.unanswerable.num_rows == 0


def test_without_domains_old_queries_stay_and_new_photos_of_their_item_are_drawn():
    items = [image // 4 for image in range(800)]
    first = split(items)
    later = split([*items, *range(200)], previous=first)

    assert set(rows_of(first.splits)) <= set(rows_of(later.splits))
    new = Counter(row[4] for row in rows_of(later.splits) if row[0] >= 800 and row[3] == "test")
    assert new["query"] == pytest.approx(0.2 * sum(new.values()), abs=2)


def test_the_order_of_the_rows_does_not_matter():
    items = np.random.default_rng(1).integers(0, 80, 300).tolist()
    labels = [*of_items(items), *((image, CATEGORY, image % 2) for image in range(300))]
    mixed = [labels[place] for place in np.random.default_rng(0).permutation(len(labels))]

    assert split(items, labels=labels).splits == split(items, labels=mixed).splits
