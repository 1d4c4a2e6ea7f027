"""What a data set holds: counted by hand, and the same before and after it was ingested."""

import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
from builders import png, write_files
from products import ITEM, Products

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.description import (
    AttributeDescription,
    ItemsDescription,
    QuarantinedRow,
    RoleDescription,
    SplitDescription,
    TripletsDescription,
    describe_catalog,
    describe_labels,
)
from components.datasets.labelled import Label, LabelledImages, PublishedTriplets

# a: two necks and one hem, in training; c and d are held out; e has no split
LABELS = [
    Label("a.png", "neck", "v", "train"),
    Label("a.png", "neck", "round", "train"),
    Label("a.png", "hem", "long", "train"),
    Label("b.png", "neck", "v", "train"),
    Label("c.png", "neck", "round", "test", "query"),
    Label("c.png", "hem", "short", "test", "gallery"),
    Label("d.png", "neck", "v", "test", "gallery"),
    Label("d.png", "neck", "v", "valid"),
    Label("e.png", "hem", "long"),
]
LABELLED = LabelledImages(
    dataset="toy",
    labels=LABELS,
    source="toy.csv",
    values_of={"hem": ("long", "short"), "neck": ("square", "v", "round")},
    groups={"a.png": "shirt", "b.png": "shirt", "d.png": "skirt", "unlabelled.png": "coat"},
    triplets=PublishedTriplets(
        paths=["a.png", "b.png", "c.png"],
        rows={
            ("train", "neck"): np.array([[0, 1, 2], [1, 0, 2]]),
            ("test", "hem"): np.array([[2, 0, 1]]),
        },
    ),
    unusable=[("f.png", "bad_name", "x"), ("g.png", "no_value", "hem"), ("h.png", "no_value", "")],
    left_out={"question rows": 7},
)


@pytest.fixture
def catalog(tmp_path):
    write_files(tmp_path, {f"{name}.png": png(seed) for seed, name in enumerate("abcde")})
    return build_catalog(LABELLED, tmp_path, exclude_attributes=[])


def test_names_that_differ_in_case_or_blanks_only_are_listed():
    rows = [
        *[("a.png", "fit", value) for value in ("slim", "Slim", "slim fit", "Slim  Fit", "loose")],
        ("b.png", "fit", "slim"),
        ("b.png", "Fit ", "loose"),
        ("b.png", "hem", "Loose"),
    ]
    labelled = LabelledImages(
        dataset="toy",
        labels=[Label(*row) for row in rows],
        source="toy.csv",
        values_of={"fit": ["LOOSE"]},  # published, and no label has it
    )

    assert describe_labels(labelled).lookalikes == (
        "attributes: 'fit' (6) and 'Fit ' (1) differ in case or blanks only",
        "fit: 'Slim' (1) and 'slim' (2) differ in case or blanks only",
        "fit: 'Slim  Fit' (1) and 'slim fit' (1) differ in case or blanks only",
    )
    assert describe_labels(LABELLED).lookalikes == ()


def test_labels_are_counted_as_by_hand():
    described = describe_labels(LABELLED)

    assert described.dataset == "toy"
    assert described.num_images == 5
    assert described.num_labels == 8, "d has one neck, though in two splits"
    assert (described.num_groups, described.num_grouped_images) == (2, 3)
    assert described.attributes == (
        AttributeDescription(
            name="hem", num_images=3, num_labels=3, labels_per_value={"long": 2, "short": 1}
        ),
        AttributeDescription(
            name="neck",
            num_images=4,
            num_labels=5,
            labels_per_value={"square": 0, "v": 3, "round": 2},
        ),
    )
    assert described.triplets == (
        TripletsDescription(split="train", attribute="neck", num_triplets=2),
        TripletsDescription(split="test", attribute="hem", num_triplets=1),
    )
    assert described.left_out == {"question rows": 7}


def test_splits_and_roles_are_those_of_the_data_set():
    assert describe_labels(LABELLED).splits == (
        SplitDescription(split="train", num_images=2, num_labels=4, roles=()),
        SplitDescription(split="valid", num_images=1, num_labels=1, roles=()),
        SplitDescription(
            split="test",
            num_images=2,
            num_labels=3,
            roles=(
                RoleDescription(role="query", num_images=1, num_labels=1),
                RoleDescription(role="gallery", num_images=2, num_labels=2),
            ),
        ),
        SplitDescription(split=None, num_images=1, num_labels=1, roles=()),
    )


def test_labels_without_a_role_are_listed_beside_those_with_one():
    further = [*LABELS, Label("e.png", "neck", "round", "test")]
    test = describe_labels(replace(LABELLED, labels=further)).splits[2]

    assert [role.role for role in test.roles] == ["query", "gallery", None]
    assert test.roles[2] == RoleDescription(role=None, num_images=1, num_labels=1)
    assert (test.num_images, test.num_labels) == (3, 4)


def test_a_split_of_another_name_is_not_lost():
    further = [*LABELS, Label("e.png", "neck", "round", "dev")]

    splits = describe_labels(replace(LABELLED, labels=further)).splits
    assert [split.split for split in splits] == ["train", "valid", "test", "dev", None]


def test_a_data_set_that_says_nothing_of_splits_has_none():
    labels = [label._replace(split=None, role=None) for label in LABELS]

    assert describe_labels(replace(LABELLED, labels=labels)).splits == ()


def test_the_most_frequent_values_come_first_and_ties_in_the_order_of_the_schema():
    counts = {"x": 1, "y": 9, "z": 4, "w": 9}
    attribute = AttributeDescription(
        name="fit", num_images=23, num_labels=23, labels_per_value=counts
    )

    assert attribute.most_frequent == [("y", 9), ("w", 9), ("z", 4), ("x", 1)]


def test_the_quarantine_is_counted_by_stage_and_reason(catalog):
    undecodable = tables.quarantine_table([("b.png", "truncated", "after 10 lines")])
    described = describe_catalog(catalog, undecodable=undecodable)

    assert described.quarantine_counts == {
        "ingest": {"no_value": 2, "bad_name": 1},
        "preprocess": {"truncated": 1},
    }
    assert list(described.quarantine_counts["ingest"]) == ["no_value", "bad_name"]
    assert len(described.quarantine) == 4
    assert described.quarantine[-1] == QuarantinedRow(
        path="b.png", stage="preprocess", reason="truncated", detail="after 10 lines"
    )


def test_a_catalog_is_described_as_the_labels_it_was_made_of(catalog):
    of_labels, of_catalog = describe_labels(LABELLED), describe_catalog(catalog)

    assert of_catalog == replace(of_labels, quarantine=of_catalog.quarantine)
    assert set(of_catalog.quarantine) == set(of_labels.quarantine)


def test_without_published_values_they_are_those_that_occur():
    described = describe_labels(replace(LABELLED, values_of={}))

    assert [attribute.name for attribute in described.attributes] == ["neck", "hem"]
    assert described.attributes[0].labels_per_value == {"round": 2, "v": 3}


def test_the_order_of_labels_does_not_matter():
    shuffled = [LABELS[i] for i in np.random.default_rng(0).permutation(len(LABELS))]

    assert describe_labels(replace(LABELLED, labels=shuffled)) == describe_labels(LABELLED)


def test_a_data_set_without_labels_is_described():
    empty = LabelledImages(dataset="toy", labels=[], source="toy.csv", values_of={"hem": ()})
    described = describe_labels(empty)

    assert (described.num_images, described.num_labels, described.attributes) == (0, 0, ())


def test_the_dictionary_is_json_and_holds_all(catalog):
    described = describe_catalog(catalog)
    read = json.loads(json.dumps(asdict(described)))

    assert read.keys() == set(described.__dataclass_fields__)
    assert read["attributes"][1]["labels_per_value"] == {"square": 0, "v": 3, "round": 2}
    assert read["splits"][2]["roles"][0] == {"role": "query", "num_images": 1, "num_labels": 1}
    assert read["splits"][3]["split"] is None
    assert read["quarantine"][0]["reason"] == "bad_name"


def test_triplets_are_counted_by_split_and_attribute_in_any_order(catalog):
    rows = catalog.triplets
    again = replace(catalog, triplets=pa.concat_tables([rows, rows.slice(0, 1)]))

    assert [part.num_triplets for part in describe_catalog(again).triplets] == [3, 1]


def test_items_are_counted_and_not_listed(tmp_path):
    products = Products(5)
    described = describe_catalog(products.catalog(tmp_path))
    assert described.items == ItemsDescription(attribute=ITEM, num_items_by_images={1: 1, 4: 4})
    assert described.items.images_per_item == [1, 4, 4, 4, 4]
    assert {x.name: [*x.labels_per_value] for x in described.attributes} == {
        "neck": ["round", "v"],
        ITEM: [],
        "hem": ["knee", "long", "short"],
    }
    assert described.domains == {"shop": 8, "street": 9}
    of_labels = describe_labels(products.labelled())
    assert of_labels.items == described.items
    assert of_labels.domains == described.domains
    assert of_labels.num_labels == described.num_labels == 51
