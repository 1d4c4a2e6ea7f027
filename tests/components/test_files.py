"""Files on disk: what is written is read back, whole or not at all."""

import zlib
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import flip_a_bit

from components import files, tables
from components.errors import DamagedFileError, HemlineError

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int16())])


def table_of(*rows):
    records = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=SCHEMA)


def numbers(*values):
    return table_of(*[("x", value) for value in values])


def test_columns_are_brought_into_the_order_and_types_of_the_schema(tmp_path):
    shuffled = pa.table({"number": [2], "extra": ["x"], "name": ["a"]})
    files.write_table(shuffled, tmp_path / "t.parquet", schema=SCHEMA)

    assert files.read_table(tmp_path / "t.parquet", schema=SCHEMA).equals(table_of(("a", 2)))


def test_a_value_that_the_schema_cannot_hold_is_refused(tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        files.write_table(
            pa.table({"name": ["a"], "number": [2**15]}), tmp_path / "t.parquet", schema=SCHEMA
        )
    assert list(tmp_path.iterdir()) == []


def test_what_a_table_is_about_comes_back_and_leaves_the_table_as_it_is(tmp_path):
    about = {"origin": "ä" * 64, "next": 2**40, "params": {"shares": [0.8, 0.2], "none": None}}
    path = tmp_path / "t.parquet"
    files.write_table(numbers(1, 2), path, schema=SCHEMA, about=about)

    assert files.read_about(path, schema=SCHEMA) == about
    assert files.read_table(path, schema=SCHEMA).equals(numbers(1, 2))


def test_a_table_is_about_what_it_was_last_written_with(tmp_path):
    path = tmp_path / "t.parquet"
    files.write_table(numbers(1), path, schema=SCHEMA, about={"run": 1})
    again = files.read_table(path, schema=SCHEMA)
    files.write_table(again, path, schema=SCHEMA, about={"run": 2})
    assert files.read_about(path, schema=SCHEMA) == {"run": 2}

    files.write_table(again, path, schema=SCHEMA)
    assert files.read_about(path, schema=SCHEMA) == {}


def test_about_of_a_file_with_other_columns_is_refused(tmp_path):
    files.write_table(numbers(1), tmp_path / "t.parquet", schema=SCHEMA, about={"run": 1})

    with pytest.raises(HemlineError, match="another version"):
        files.read_about(tmp_path / "t.parquet", schema=tables.SPLITS)


def test_row_groups_are_epochs(tmp_path):
    path, epochs = tmp_path / "t.parquet", [numbers(1, 2, 3), numbers(), numbers(4)]
    files.write_row_groups(iter(epochs), path, schema=SCHEMA)

    assert files.num_row_groups(path, schema=SCHEMA) == 3
    for index, epoch in enumerate(epochs):
        assert files.read_row_group(path, index, schema=SCHEMA).equals(epoch)
    assert files.read_table(path, schema=SCHEMA).equals(numbers(1, 2, 3, 4))


def test_a_large_epoch_stays_one_row_group(tmp_path):
    count = 2**20 + 1  # Parquet's writer would by itself begin a new group after 2**20 rows
    files.write_table(
        pa.table({"epoch": np.zeros(count), "batch": np.zeros(count), "image": np.arange(count)}),
        tmp_path / "b.parquet",
        schema=tables.BATCHES,
    )

    assert files.num_row_groups(tmp_path / "b.parquet", schema=tables.BATCHES) == 1


@pytest.mark.parametrize("read", [files.read_table, files.read_about, files.num_row_groups])
def test_a_missing_table_is_named(tmp_path, read):
    with pytest.raises(HemlineError, match=r"t\.parquet is missing; `dvc repro`"):
        read(tmp_path / "t.parquet", schema=SCHEMA)


@pytest.mark.parametrize("read", [files.read_table, partial(files.read_row_group, index=1)])
def test_a_flipped_bit_in_a_table_is_found(tmp_path, read):
    path = tmp_path / "t.parquet"
    values = np.random.default_rng(0).permutation(2**15).tolist()  # which compress badly
    files.write_row_groups([numbers(1), numbers(*values)], path, schema=SCHEMA)
    read(path, schema=SCHEMA)
    for share in (0.1, 0.5, 0.9):
        flip_a_bit(path, share=share)
        with pytest.raises(DamagedFileError, match=r"t\.parquet is damaged .*: remove it; `dvc"):
            read(path, schema=SCHEMA)
        flip_a_bit(path, share=share)


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path, about = tmp_path / "t.parquet", {"model": "0123456789abcdef"}
    files.write_table(numbers(1, 2, 3), path, schema=SCHEMA, about=about)
    whole, num_found = path.read_bytes(), 0
    for place in range(0, len(whole), 4):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            rows = files.read_table(path, schema=SCHEMA)
            assert rows.equals(numbers(1, 2, 3)), place
            assert files.read_about(path, schema=SCHEMA) in (about, {}), place
        except HemlineError:
            num_found += 1
    assert num_found > 50


def test_a_table_of_an_older_hemline_is_read(tmp_path):
    pq.write_table(numbers(1, 2), tmp_path / "t.parquet")  # pages without checksums

    assert files.read_table(tmp_path / "t.parquet", schema=SCHEMA).equals(numbers(1, 2))


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1" + b"\0" * 20])
def test_a_file_that_is_not_parquet_is_named(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)

    with pytest.raises(HemlineError, match=r"t\.parquet is not a Parquet file"):
        files.read_table(tmp_path / "t.parquet", schema=SCHEMA)


@pytest.mark.parametrize(
    "columns",
    [
        {"name": ["a"]},
        {"name": ["a"], "number": [1]},  # int64
        {"number": pa.array([1], pa.int16()), "name": ["a"]},  # another order
    ],
)
def test_other_columns_types_or_orders_are_refused(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")

    with pytest.raises(HemlineError, match=r"expected \['name', 'number'\]; .* another version"):
        files.read_table(tmp_path / "t.parquet", schema=SCHEMA)


def test_json_comes_back_in_the_order_given(tmp_path):
    value = {"z": [1, None, 0.5], "a": {"länge": "kurz"}}
    files.write_json(value, tmp_path / "new" / "v.json")

    read = files.read_json(tmp_path / "new" / "v.json")
    assert read == value
    assert list(read) == ["z", "a"]


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"v\.json is missing; `dvc repro`"):
        files.read_json(tmp_path / "v.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_file_that_is_not_json_is_named(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content)

    with pytest.raises(HemlineError, match=r"v\.json is not JSON"):
        files.read_json(tmp_path / "v.json")


def test_csv_has_a_header_and_the_schemas_columns(tmp_path):
    rows = [{"num_queries": 12, "map": 61.5, "attribute": "neck", "random_map": 20.5}]
    files.write_csv(rows, tmp_path / "m.csv", schema=tables.MAP_PER_ATTRIBUTE)

    assert (tmp_path / "m.csv").read_text().splitlines() == [
        '"attribute","map","map_low","map_high","random_map","gain","gain_low","gain_high"',
        '"neck",61.5,,,20.5,,,',
    ]


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
    files.write_table(numbers(1, 2), path, schema=SCHEMA)

    def failing():
        yield numbers(3)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        files.write_row_groups(failing(), path, schema=SCHEMA)
    assert files.read_table(path, schema=SCHEMA).equals(numbers(1, 2))
    assert list(tmp_path.iterdir()) == [path]


def test_csv_comes_back_with_its_types(tmp_path):
    path = tmp_path / "t.csv"
    rows = [{"name": 'ä, "b"', "number": 3}, {"name": "1", "number": None}]
    files.write_csv(rows, path, schema=SCHEMA)
    assert files.read_csv(path, schema=SCHEMA).equals(pa.Table.from_pylist(rows, schema=SCHEMA))


@pytest.mark.parametrize(
    ("content", "message"),
    [("name,other\na,1\n", "number"), ("name,number\na,many\n", "many"), ("", "Empty")],
)
def test_csv_of_something_else_is_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(HemlineError, match=rf"t\.csv is not a table.*{message}"):
        files.read_csv(path, schema=SCHEMA)
    with pytest.raises(HemlineError, match="is missing"):
        files.read_csv(tmp_path / "none.csv", schema=SCHEMA)


def test_a_content_key_depends_on_params_and_content_alone(tmp_path):
    file, copy, other = (tmp_path / name for name in ("file", "copy", "other"))
    for path, content in ((file, "x"), (copy, "x"), (other, "y")):
        path.write_text(content)
    key = files.content_key({"train": {"seed": 1, "lr": 2}}, [file])
    assert key == files.content_key({"train": {"lr": 2, "seed": 1}}, [copy])
    assert key != files.content_key({"train": {"seed": 2, "lr": 2}}, [file])
    assert key != files.content_key({"train": {"seed": 1, "lr": 2}}, [other])


def test_the_checksum_is_the_crc_of_zip_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"123456789")
    assert files.checksum(path) == "cbf43926"  # the check value of CRC-32/ISO-HDLC
    path.write_bytes(bytes(3 * 2**20 + 1))  # longer than what is read at once
    assert files.checksum(path) == f"{zlib.crc32(bytes(3 * 2**20 + 1)):08x}"


def test_any_flipped_bit_is_a_problem_and_so_is_a_missing_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"some bytes")
    written = files.checksum(path)
    assert files.problem_of(path, written) == ""
    for share in (0, 0.3, 0.99):
        flip_a_bit(path, share=share)
        assert "is damaged (CRC-32" in files.problem_of(path, written)
        assert files.problem_of(path, None) == "", "an older hemline wrote no checksum"
        flip_a_bit(path, share=share)
        assert files.problem_of(path, written) == ""
    path.unlink()
    assert files.problem_of(path, None) == "is missing"
    with pytest.raises(HemlineError, match=r"file is missing: make it"):
        files.check(path, written, remedy="make it")


def test_a_file_that_was_found_whole_is_not_read_again(tmp_path, monkeypatch):
    path, read = tmp_path / "file", []
    path.write_bytes(b"x")
    written, checksum = files.checksum(path), files.checksum
    monkeypatch.setattr(files, "checksum", lambda path: read.append(path) or checksum(path))
    for _ in range(3):
        files.check(path, written, remedy="")
    assert read == [path]
