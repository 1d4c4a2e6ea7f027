"""The tables on disk and the catalog: what is written is read back."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.tables import Catalog, Numbering

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round")),
        Attribute(name="länge", values=("kurz", "mittel", "lang")),
    ),
)
ROWS = {
    "images": (tables.IMAGES, (0, "a b/ä.png", 2**40, "f" * 64, 8, 6, None, "shop")),
    "labels": (tables.LABELS, (2**40, 1, 2, "test", "query")),
    "labels without a split": (tables.LABELS, (3, 0, 1, None, None)),
    "published triplets": (tables.PUBLISHED_TRIPLETS, ("valid", 1, 5, 6, 2**40)),
    "quarantine": (tables.QUARANTINE, ("x.png", "missing", "no such file")),
    "hashes": (tables.IMAGE_HASHES, (0, 2**64 - 1)),
    "splits": (tables.SPLITS, (3, 0, 1, "valid", "query", 2)),
    "leaks": (tables.LEAKS, ("near_duplicate", 3, 4, "ä.png", "test")),
    "regions": (tables.REGIONS, (3, 1, 0.5, 0.25, 11.0, 12.0)),
    "boxes": (tables.BOXES, (3, 0.5, 0.25, 11.0, 12.0)),
    "landmarks": (tables.LANDMARKS, (3, 1, 0.5, 7.0, "occluded")),
    "absent landmarks": (tables.LANDMARKS, (3, 1, None, None, "absent")),
    "items": (tables.LABELS, (2**40, 1, 34_000, "test", "query")),
    "unanswerable": (tables.UNANSWERABLE, (3, 0, 1, "valid")),
    "triplets": (tables.TRIPLETS, (32767, 1, 5, 6, 2**40)),
    "batches": (tables.BATCHES, (0, 70_000, 5)),
}


def table_of(schema, *rows):
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)


CATALOG = Catalog(
    schema=SCHEMA,
    numbering=Numbering(origin="0f" * 32, next_image=7),
    images=table_of(*ROWS["images"]),
    labels=table_of(*ROWS["labels"], ROWS["labels without a split"][1]),
    triplets=table_of(*ROWS["published triplets"]),
    regions=table_of(*ROWS["regions"]),
    boxes=table_of(*ROWS["boxes"]),
    landmarks=table_of(*ROWS["landmarks"], ROWS["absent landmarks"][1]),
    quarantine=table_of(*ROWS["quarantine"]),
    left_out={"repeated labels": 3, "question rows": 2**40},
)


@pytest.mark.parametrize(("schema", "row"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("num_rows", [0, 1, 3])
def test_a_table_comes_back_as_written(tmp_path, schema, row, num_rows):
    table = table_of(schema, *[row] * num_rows)
    files.write_table(table, tmp_path / "t.parquet", schema=schema)

    assert files.read_table(tmp_path / "t.parquet", schema=schema).equals(table)


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_embeddings_are_floats_of_a_fixed_length(tmp_path, storage):
    schema = tables.embeddings_schema(4, storage=storage)
    vector = np.array([0.5, -1, 0.25, 0], storage)
    table = table_of(schema, (0, "a.png", "neck", vector, "toy", 3))
    files.write_table(table, tmp_path / "e.parquet", schema=schema)

    read = files.read_table(tmp_path / "e.parquet", schema=schema)
    assert read["embedding"].to_pylist() == [vector.tolist()]
    with pytest.raises(HemlineError, match="another version"):
        files.read_table(
            tmp_path / "e.parquet", schema=tables.embeddings_schema(5, storage=storage)
        )


def test_a_catalog_comes_back_as_written(tmp_path):
    tables.write_catalog(CATALOG, tmp_path / "new" / "catalog")

    assert tables.read_catalog(tmp_path / "new" / "catalog") == CATALOG


@pytest.mark.parametrize(
    "change",
    [
        {"numbering": Numbering(origin="0e" * 32, next_image=7)},
        {"numbering": Numbering(origin="0f" * 32, next_image=8)},
        {"left_out": {}},
        {"triplets": tables.PUBLISHED_TRIPLETS.empty_table()},
        {"regions": tables.REGIONS.empty_table()},
        {"boxes": tables.BOXES.empty_table()},
        {"landmarks": tables.LANDMARKS.empty_table()},
    ],
)
def test_a_catalog_that_is_written_again_is_the_new_one(tmp_path, change):
    changed = replace(CATALOG, **change)
    assert changed != CATALOG
    for catalog in (CATALOG, changed):
        tables.write_catalog(catalog, tmp_path)

    assert tables.read_catalog(tmp_path) == changed


@pytest.mark.parametrize(
    "name",
    [
        "schema.json",
        "images.parquet",
        "labels.parquet",
        "triplets.parquet",
        "regions.parquet",
        "quarantine.parquet",
        "left_out.json",
    ],
)
def test_a_catalog_that_lacks_a_file_is_not_read(tmp_path, name):
    tables.write_catalog(CATALOG, tmp_path)
    assert len(list(tmp_path.iterdir())) == 9
    (tmp_path / name).unlink()

    with pytest.raises(HemlineError, match=f"{name} is missing"):
        tables.read_catalog(tmp_path)


def test_images_without_their_numbering_are_of_another_version(tmp_path):
    tables.write_catalog(CATALOG, tmp_path)
    files.write_table(CATALOG.images, tmp_path / "images.parquet", schema=tables.IMAGES)

    with pytest.raises(HemlineError, match=r"images\.parquet does not say which numbers"):
        tables.read_catalog(tmp_path)


def test_quarantine_rows_are_sorted_and_single():
    rows = [("b.png", "missing", "x"), ("a.png", "truncated", "y"), ("b.png", "missing", "x")]

    assert tables.quarantine_table(rows)["path"].to_pylist() == ["a.png", "b.png"]


def test_a_reason_outside_the_vocabulary_is_our_own_mistake():
    with pytest.raises(AssertionError, match="vocabulary"):
        tables.quarantine_table([("a.png", "ugly", "")])


def test_equal_splits_have_the_same_digest(tmp_path):
    rows = [(0, 1, 2, "test", "query"), (3, 0, 1, "train", "train")]
    for name, kept in (("one", rows), ("same", rows), ("other", rows[:1])):
        table = splits_table(kept)
        files.write_table(table, tmp_path / name / tables.SPLITS_FILE, schema=tables.SPLITS)
        assert tables.read_splits(tmp_path / name).equals(table)
    one, same, other = (tables.split_digest(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other
    with pytest.raises(HemlineError, match=r"splits\.parquet is missing; `dvc checkout` brings it"):
        tables.split_digest(tmp_path)


def test_a_catalog_of_an_older_hemline_is_read(tmp_path):
    tables.write_catalog(CATALOG, tmp_path)
    for name in (tables.BOXES_FILE, tables.LANDMARKS_FILE):
        (tmp_path / name).unlink()
    narrow = pa.schema(
        [pa.field("value", pa.int16()) if x.name == "value" else x for x in tables.LABELS]
    )
    files.write_table(CATALOG.labels.cast(narrow), tmp_path / tables.LABELS_FILE, schema=narrow)
    images = CATALOG.images.drop_columns("domain")
    about = {"origin": "0f" * 32, "next_image": 7}
    files.write_table(images, tmp_path / tables.IMAGES_FILE, schema=images.schema, about=about)

    read = tables.read_catalog(tmp_path)
    assert read.labels.equals(CATALOG.labels)
    assert read.images.drop_columns("domain").equals(images)
    assert read.images["domain"].to_pylist() == [None]
    assert (read.boxes.num_rows, read.landmarks.num_rows) == (0, 0)


@pytest.mark.parametrize(
    "columns",
    [
        {"image": pa.int64(), "attribute": pa.int16(), "value": pa.string()},
        {"image": pa.int64(), "value": pa.int16()},
        {"image": pa.int64(), "attribute": pa.int32()},
        {"image": pa.int64(), "attribute": pa.int16(), "value": pa.int32()},
    ],
)
def test_other_columns_are_not_taken_for_older_ones(tmp_path, columns):
    schema = pa.schema(list(columns.items()))
    files.write_table(schema.empty_table(), tmp_path / "t.parquet", schema=schema)

    with pytest.raises(HemlineError, match="another version"):
        files.read_table(tmp_path / "t.parquet", schema=tables.LABELS)


def test_items_have_the_names_of_their_groups():
    schema = replace(SCHEMA, attributes=(*SCHEMA.attributes, Attribute(name="item", num_items=9)))
    images = table_of(
        tables.IMAGES,
        *[(n, f"{n}.png", 1, "f" * 64, 8, 6, group, None) for n, group in enumerate("abb")],
    )
    labels = table_of(
        tables.LABELS,
        *[(n, 2, item, None, None) for n, item in enumerate((8, 5, 5))],
        (0, 0, 1, None, None),
    )

    assert tables.item_names(images, labels, schema) == {8: "a", 5: "b"}
    assert tables.item_names(images, labels, SCHEMA) == {}
