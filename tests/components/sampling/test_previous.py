"""The splits of an earlier run on disk: what comes back, and what is refused."""

import shutil
from dataclasses import replace

import pytest
from assigning import PARAMS, splits_of

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.sampling.previous import read_previous, write_assignment
from components.tables import Catalog, Numbering

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round")),
        Attribute(name="sleeve", values=("short", "long", "none")),
        Attribute(name="colour", values=("red", "blue")),
    ),
)


def catalog_of(schema=SCHEMA, *, origin="first"):
    return Catalog(
        schema=schema,
        numbering=Numbering(origin=origin, next_image=9),
        images=tables.IMAGES.empty_table(),
        labels=tables.LABELS.empty_table(),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.QUARANTINE.empty_table(),
        left_out={},
    )


@pytest.fixture
def written(tmp_path):
    previous = splits_of(
        (0, 0, 1, "train", "train"),
        (0, 1, 2, "train", "train"),
        (1, 2, 0, "test", "query"),
        (2, 2, 1, "test", "gallery"),
        (2, 1, 0, "test", "gallery"),
        unanswerable=[(2, 2, 1, "test"), (2, 1, 0, "test")],
    )
    path = tmp_path / "splits.parquet"
    write_assignment(previous, path, catalog=catalog_of(), params=PARAMS)
    return path, previous


def test_what_was_written_is_continued(written):
    path, previous = written
    found = read_previous(path, catalog=catalog_of(), params=PARAMS)

    assert found == previous
    assert files.read_table(path, schema=tables.SPLITS) == previous.splits


def test_positions_follow_the_names_of_attributes_and_values(written):
    now = AttributeSchema(
        dataset="toy",
        attributes=(
            Attribute(name="colour", values=("green", "red")),
            Attribute(name="length", values=("short", "none")),
            Attribute(name="sleeve", values=("none", "short")),
        ),
    )
    found = read_previous(written[0], catalog=catalog_of(now), params=PARAMS)

    assert found == splits_of(
        (0, -1, -1, "train", "train"),
        (0, 2, 0, "train", "train"),
        (1, 0, 1, "test", "query"),
        (2, 0, -1, "test", "gallery"),
        (2, 2, 1, "test", "gallery"),
        unanswerable=[(2, 0, -1, "test"), (2, 2, 1, "test")],
    )


def test_items_keep_their_numbers_and_are_gone_where_they_become_values(tmp_path):
    items = replace(SCHEMA, attributes=(Attribute(name="item", num_items=40), *SCHEMA.attributes))
    previous = splits_of((0, 0, 39, "train", "train"), (1, 1, 1, "test", "query"))
    path = tmp_path / "splits.parquet"
    write_assignment(previous, path, catalog=catalog_of(items), params=PARAMS)
    more = replace(items, attributes=(*SCHEMA.attributes, Attribute(name="item", num_items=70)))
    listed = replace(items, attributes=(Attribute(name="item", values=("a", "b")),))

    found = read_previous(path, catalog=catalog_of(more), params=PARAMS).splits
    assert found["attribute"].to_pylist() == [3, 0]
    assert found["value"].to_pylist() == [39, 1]
    found = read_previous(path, catalog=catalog_of(listed), params=PARAMS).splits
    assert found["value"].to_pylist() == [-1, -1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 8}, "split.seed was 0 and is 8"),
        (
            {"method": "published", "near_duplicates": "report"},
            "split.method was random and is published",
        ),
        ({"near_duplicates": "ignore"}, "split.near_duplicates was together and is ignore"),
        ({"near_duplicate_distance": 4}, "split.near_duplicate_distance was 3 and is 4"),
        ({"query_share": 0.3}, "split.query_share was 0.2 and is 0.3"),
        ({"train_share": 0.7, "test_share": 0.2}, "split.train_share was 0.8 and is 0.7"),
    ],
)
def test_other_params_are_not_continued(written, changes, expected):
    with pytest.raises(HemlineError, match=expected):
        read_previous(written[0], catalog=catalog_of(), params=replace(PARAMS, **changes))


def test_another_catalog_is_not_continued(written):
    with pytest.raises(HemlineError, match="counts the images of another catalog"):
        read_previous(written[0], catalog=catalog_of(origin="second"), params=PARAMS)


def test_splits_of_another_version_are_not_continued(written, tmp_path):
    path, previous = written
    files.write_table(previous.splits, path, schema=tables.SPLITS)
    with pytest.raises(HemlineError, match="another version of hemline"):
        read_previous(path, catalog=catalog_of(), params=PARAMS)

    files.write_table(previous.unanswerable, path, schema=tables.UNANSWERABLE)
    with pytest.raises(HemlineError, match="another version of hemline"):
        read_previous(path, catalog=catalog_of(), params=PARAMS)

    shutil.copyfile(__file__, path)
    with pytest.raises(HemlineError, match="is not a Parquet file"):
        read_previous(path, catalog=catalog_of(), params=PARAMS)
