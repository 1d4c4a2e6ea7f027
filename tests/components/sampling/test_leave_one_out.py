"""`split.roles leave_one_out`: who is left out of whose ranking, on the roles that there were."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from assigning import PARAMS, assigned, distinct, rows_of
from builders import images_table, labels_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.sampling.items import item_counts
from components.sampling.leaks import report_of
from components.sampling.leaks import unanswerable_of as listed
from components.sampling.previous import read_previous, write_assignment
from components.tables import Catalog, Numbering

LEAVE_ONE_OUT = replace(PARAMS, roles="leave_one_out")
SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(Attribute(name="neck", values=("v", "round", "boat")), Attribute(name="hem")),
)


def copies(num_images):
    """Images of which two each have the same content."""
    return images_table(str(image // 2) for image in range(num_images))


def catalog(images):
    return Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="first", next_image=len(images)),
        images=images,
        labels=tables.LABELS.empty_table(),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.QUARANTINE.empty_table(),
        left_out={},
    )


@pytest.fixture(scope="module")
def data():
    labels = labels_table((image, 0, image // 2 % 2) for image in range(200))
    return copies(200), labels


def groups_of(assignment):
    return assignment.splits.to_pandas()["exclusion_group"]


def test_splits_and_roles_are_those_of_held_out(data):
    held_out, apart = (assigned(*data, params=params) for params in (PARAMS, LEAVE_ONE_OUT))
    assert rows_of(apart.splits) == rows_of(held_out.splits)
    assert groups_of(held_out).isna().all()


def test_a_held_out_image_is_grouped_with_its_copies_and_with_no_other(data):
    frame = assigned(*data, params=LEAVE_ONE_OUT).splits.to_pandas()
    trains = frame["split"] == "train"
    assert frame.loc[trains, "exclusion_group"].isna().all()
    held_out = frame[~trains]
    assert (held_out["exclusion_group"] == held_out["image"] // 2 * 2).all()


def test_views_of_an_item_are_not_left_out_and_copies_of_one_are():
    """Images 4n to 4n+3 are an item; the first two of them are the same file."""
    images = images_table(str(image - image % 4 % 2 * (image % 4 < 2)) for image in range(400))
    labels = labels_table((image, 0, image // 4) for image in range(400))
    params = replace(LEAVE_ONE_OUT, train_share=0.5, valid_share=0.25, test_share=0.25)
    frame = assigned(images, labels, params=params, identity=0).splits.to_pandas()
    held_out = frame[frame["split"] != "train"]
    first = held_out["image"] - (held_out["image"] % 4 == 1)
    assert (held_out["exclusion_group"] == first).all()


def test_roles_that_the_domain_or_the_data_set_decides_stay():
    domains = ["street" if image % 3 else "shop" for image in range(300)]
    images = distinct(300).set_column(
        distinct(300).schema.get_field_index("domain"), "domain", [domains]
    )
    labels = labels_table((image, a, image // 6 * (not a)) for image in range(300) for a in (0, 1))
    frame = assigned(images, labels, params=LEAVE_ONE_OUT, identity=0).splits.to_pandas()
    of_item, held_out = frame["attribute"] == 0, frame["split"] != "train"
    assert frame.loc[of_item, "exclusion_group"].isna().all()
    assert frame.loc[held_out & ~of_item, "exclusion_group"].notna().all()

    given = [(0, 0, 1, "train", None), (1, 0, 1, "valid", "query"), (2, 0, 1, "valid", "gallery")]
    given += [(image, 0, 1, "test", None) for image in range(3, 13)]
    table = pd.DataFrame(given, columns=tables.LABELS.names)
    taken = assigned(
        distinct(13),
        tables.pa.Table.from_pandas(table, tables.LABELS),
        params=replace(LEAVE_ONE_OUT, method="published", near_duplicates="report"),
    )
    by_split = taken.splits.to_pandas().groupby("split")["exclusion_group"]
    assert dict(by_split.count()) == {"train": 0, "valid": 0, "test": 10}


def test_the_protocol_can_be_changed_on_an_assignment_that_grows(data, tmp_path):
    """And without it, the file is the one that an older hemline wrote, to the byte."""
    images, labels = data
    path = tmp_path / "splits.parquet"
    first = assigned(images, labels, params=PARAMS)
    write_assignment(first, path, catalog=catalog(images), params=PARAMS)
    assert pq.read_schema(path).names == tables.LABELS.names
    previous = read_previous(path, catalog=catalog(images), params=LEAVE_ONE_OUT)
    more = labels_table((image, 0, image // 2 % 2) for image in range(240))
    grown = assigned(copies(240), more, params=LEAVE_ONE_OUT, previous=previous)
    assert set(rows_of(first.splits)) < set(rows_of(grown.splits))
    assert groups_of(grown).notna().sum() > 40

    write_assignment(grown, path, catalog=catalog(copies(240)), params=LEAVE_ONE_OUT)
    again = read_previous(path, catalog=catalog(copies(240)), params=PARAMS)
    assert again.splits == grown.splits
    back = assigned(copies(240), more, params=PARAMS, previous=again)
    assert rows_of(back.splits) == rows_of(grown.splits)
    assert groups_of(back).isna().all()


def test_the_report_counts_who_asks_and_lists_who_asks_in_vain(data):
    """Value 2 is that of two copies: neither may answer the other."""
    images, _ = data
    labels = labels_table(
        (image, 0, 2 if image // 2 == 7 else image // 2 % 2) for image in range(200)
    )
    for seed in range(60):
        params = replace(LEAVE_ONE_OUT, seed=seed)
        found = assigned(images, labels, params=params)
        if set(np.array(rows_of(found.splits), object)[[14, 15], 3]) == {"test"}:
            break
    leaks = tables.LEAKS.empty_table()
    report = report_of(found, leaks, images=images, params=params, schema=SCHEMA)
    assert report["roles"] == "leave_one_out"
    assert {name: [*roles] for name, roles in report["splits"].items()} == {
        "train": ["train"],
        "valid": ["query and gallery"],
        "test": ["query and gallery"],
    }
    assert listed(found).to_pylist() == [
        {"image": image, "attribute": 0, "value": 2, "split": "test"} for image in (14, 15)
    ]
    assert report["unanswerable"] == {"neck": 2}


def items_schema(num_items):
    return AttributeSchema(dataset="toy", attributes=(Attribute(name="item", num_items=num_items),))


def test_what_asks_in_vain_by_its_domain_stays_listed():
    """Every third item has no photograph of a shop; of the other attribute nobody asks in vain."""
    domains = ["street" if image % 3 else "shop" for image in range(300)]
    images = images_table(map(str, range(300)), domains=domains)
    labels = labels_table(
        (image, attribute, image // 6 * (not attribute))
        for image in range(300)
        for attribute in (0, 1)
        if image % 3 or image // 6 % 3
    )
    held_out, apart = (
        listed(assigned(images, labels, params=params, identity=0)).to_pylist()
        for params in (PARAMS, LEAVE_ONE_OUT)
    )
    assert apart == held_out
    assert {row["attribute"] for row in apart} == {0}
    assert all(row["value"] % 3 == 0 for row in apart)


def test_where_every_image_asks_a_split_needs_no_query_by_role():
    """Of so few images none becomes a query; a value that one image has cannot be asked for."""
    few = replace(LEAVE_ONE_OUT, train_share=0.4, valid_share=0.3, test_share=0.3, query_share=0.01)
    labels = labels_table((image, 0, 0) for image in range(12))
    found = assigned(distinct(12), labels, params=few).splits.to_pandas()
    assert "query" not in set(found["role"])
    with pytest.raises(HemlineError, match="no query that its gallery could answer"):
        assigned(distinct(12), labels, params=replace(few, roles="held_out"))
    alone = labels_table((image, 0, image) for image in range(12))
    with pytest.raises(HemlineError, match="no query that its gallery could answer"):
        assigned(distinct(12), alone, params=few)


def test_no_item_is_without_query_where_every_photograph_asks():
    labels = labels_table((image, 0, image // 2) for image in range(400))
    counts = {
        params.roles: item_counts(
            assigned(distinct(400), labels, params=params, identity=0).splits,
            distinct(400),
            schema=items_schema(200),
        )["test"]
        for params in (PARAMS, LEAVE_ONE_OUT)
    }
    assert counts["held_out"]["num_without_query"] > 0
    assert counts["leave_one_out"] == {**counts["held_out"], "num_without_query": 0}
