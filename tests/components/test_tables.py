"""The tables on disk: what is written is read back, whole or not at all."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.tables import Catalog

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round")),
        Attribute(name="länge", values=("kurz", "mittel", "lang")),
    ),
)
ROWS = {
    "images": (tables.IMAGES, (0, "a b/ä.png", 2**40, "f" * 64, 8, 6, None)),
    "labels": (tables.LABELS, (2**40, 1, 2)),
    "quarantine": (tables.QUARANTINE, ("x.png", "missing", "no such file")),
    "splits": (tables.SPLITS, (3, 0, 1, "valid", "query")),
    "triplets": (tables.TRIPLETS, (32767, 1, 5, 6, 2**40)),
    "batches": (tables.BATCHES, (0, 70_000, 5)),
}


def table_of(schema, *rows):
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)


def triplets(epoch, count):
    return table_of(tables.TRIPLETS, *[(epoch, 0, i, i + 1, i + 2) for i in range(count)])


@pytest.mark.parametrize(("schema", "row"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("num_rows", [0, 1, 3])
def test_a_table_comes_back_as_written(tmp_path, schema, row, num_rows):
    table = table_of(schema, *[row] * num_rows)
    files.write_table(table, tmp_path / "t.parquet", schema=schema)

    assert files.read_table(tmp_path / "t.parquet", schema=schema).equals(table)


def test_columns_are_brought_into_the_order_and_types_of_the_schema(tmp_path):
    shuffled = pa.table({"value": [2], "extra": ["x"], "image": [7], "attribute": [1]})
    files.write_table(shuffled, tmp_path / "t.parquet", schema=tables.LABELS)

    read = files.read_table(tmp_path / "t.parquet", schema=tables.LABELS)
    assert read.equals(table_of(tables.LABELS, (7, 1, 2)))


def test_a_value_that_the_schema_cannot_hold_is_refused(tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        files.write_table(
            pa.table({"image": [0], "attribute": [0], "value": [2**15]}),
            tmp_path / "t.parquet",
            schema=tables.LABELS,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_comes_back_as_written(tmp_path):
    catalog = Catalog(
        schema=SCHEMA,
        images=table_of(*ROWS["images"]),
        labels=table_of(*ROWS["labels"]),
        quarantine=table_of(*ROWS["quarantine"]),
    )
    tables.write_catalog(catalog, tmp_path / "new" / "catalog")

    assert tables.read_catalog(tmp_path / "new" / "catalog") == catalog


def test_embeddings_are_half_floats_of_a_fixed_length(tmp_path):
    schema = tables.embeddings_schema(4)
    vector = np.array([0.5, -1, 0.25, 0], np.float16)
    table = table_of(schema, (0, "a.png", "neck", vector, "toy", 3))
    files.write_table(table, tmp_path / "e.parquet", schema=schema)

    read = files.read_table(tmp_path / "e.parquet", schema=schema)
    assert read["embedding"].to_pylist() == [vector.tolist()]
    with pytest.raises(HemlineError, match="another version"):
        files.read_table(tmp_path / "e.parquet", schema=tables.embeddings_schema(5))


def test_attribute_schema_finds_names_and_sizes():
    assert SCHEMA.names == ["neck", "länge"]
    assert SCHEMA.max_num_values == 3
    assert SCHEMA.index("länge") == 1
    with pytest.raises(HemlineError, match="no attribute 'hem'; there are neck, länge"):
        SCHEMA.index("hem")


def test_row_groups_are_epochs(tmp_path):
    path, counts = tmp_path / "t.parquet", [3, 0, 5]
    files.write_row_groups(
        (triplets(epoch, count) for epoch, count in enumerate(counts)),
        path,
        schema=tables.TRIPLETS,
    )

    assert files.num_row_groups(path, schema=tables.TRIPLETS) == 3
    for epoch, count in enumerate(counts):
        read = files.read_row_group(path, epoch, schema=tables.TRIPLETS)
        assert read.equals(triplets(epoch, count))


def test_a_large_epoch_stays_one_row_group(tmp_path):
    count = 2**20 + 1  # Parquet's writer would by itself begin a new group after 2**20 rows
    files.write_table(
        pa.table({"epoch": np.zeros(count), "batch": np.zeros(count), "image": np.arange(count)}),
        tmp_path / "b.parquet",
        schema=tables.BATCHES,
    )

    assert files.num_row_groups(tmp_path / "b.parquet", schema=tables.BATCHES) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"t\.parquet is missing; `dvc repro`"):
        files.read_table(tmp_path / "t.parquet", schema=tables.LABELS)
    with pytest.raises(HemlineError, match=r"schema\.json is missing; `dvc repro`"):
        tables.read_schema(tmp_path / "schema.json")


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1" + b"\0" * 20])
def test_a_file_that_is_not_parquet_is_named(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)

    with pytest.raises(HemlineError, match=r"t\.parquet is not a Parquet file"):
        files.read_table(tmp_path / "t.parquet", schema=tables.LABELS)


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "schema.json").write_text("{")

    with pytest.raises(HemlineError, match=r"schema\.json is not JSON"):
        tables.read_schema(tmp_path / "schema.json")


@pytest.mark.parametrize(
    "columns",
    [
        {"image": pa.array([0]), "attribute": pa.array([0], pa.int16())},
        {name: pa.array([0]) for name in tables.LABELS.names},  # int64 throughout
    ],
)
def test_other_columns_or_types_are_refused(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")

    with pytest.raises(HemlineError, match=r"expected \['image', 'attribute', 'value'\]"):
        files.read_table(tmp_path / "t.parquet", schema=tables.LABELS)


def test_replacing_replaces_when_the_block_ends_well(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_generator_that_fails_halfway_leaves_the_old_table(tmp_path):
    path = tmp_path / "t.parquet"
    files.write_table(triplets(0, 2), path, schema=tables.TRIPLETS)

    def failing():
        yield triplets(0, 5)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        files.write_row_groups(failing(), path, schema=tables.TRIPLETS)
    assert files.read_table(path, schema=tables.TRIPLETS).num_rows == 2
    assert list(tmp_path.iterdir()) == [path]


def test_quarantine_rows_are_sorted_and_single():
    rows = [("b.png", "missing", "x"), ("a.png", "truncated", "y"), ("b.png", "missing", "x")]

    assert tables.quarantine_table(rows)["path"].to_pylist() == ["a.png", "b.png"]


def test_a_reason_outside_the_vocabulary_is_our_own_mistake():
    with pytest.raises(AssertionError, match="vocabulary"):
        tables.quarantine_table([("a.png", "ugly", "")])


def test_csv_has_a_header_and_the_schemas_columns(tmp_path):
    rows = [{"num_queries": 12, "attribute": "neck", "map": 61.5, "random_map": 20.5}]
    files.write_csv(rows, tmp_path / "m.csv", schema=tables.MAP_PER_ATTRIBUTE)

    assert (tmp_path / "m.csv").read_text().splitlines() == [
        '"attribute","map","random_map"',
        '"neck",61.5,20.5',
    ]
