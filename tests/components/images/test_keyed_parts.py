"""Parts by image number and content."""

import json

import numpy as np
import pyarrow as pa
import pytest

from components.images.keyed_parts import content_key, parts_by_number, remove_unnamed


@pytest.mark.parametrize("images", [[], [0], [3, 4, 7, 8, 9], [5, 6, 100], [*range(12)]])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_part_has_all_images_of_its_numbers(images: list[int], size: int) -> None:
    table = pa.table({"image": pa.array(images, pa.int64()), "place": np.arange(len(images))})
    parts = parts_by_number(table, images_per_part=size)

    found = {index: rows["image"].to_pylist() for index, rows in parts}
    covered = {index: [n for n in images if n // size == index] for index in range(101)}
    assert found == {index: numbers for index, numbers in covered.items() if numbers}
    assert [*found] == sorted(found)
    assert [p for _, rows in parts for p in rows["place"].to_pylist()] == [*range(len(images))]


def test_a_key_is_the_sha256_of_lines() -> None:
    expected = "7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78"
    assert len({content_key(["a", "b"]), content_key(["b", "a"]), content_key(["ab"])}) == 3
    assert content_key(["a", "b"]) == expected


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["", "a b/c.jpg", "~!#[]^"],
        ["a", None],
        ['"', "\\", "\n", "\x7f", "é"],
        [f"{number}.jpg" for number in range(2**16 + 1)],
        [*range(-1, 2**16)],
    ],
)
def test_a_column_counts_as_its_values_in_json(values: list) -> None:
    kind = pa.int64() if values and isinstance(values[0], int) else pa.string()
    column = pa.chunked_array([values[:1], values[1:]], kind)
    assert content_key(["a", column]) == content_key(["a", json.dumps(values)])


def test_files_that_are_not_named_are_removed_and_no_others(tmp_path) -> None:
    names = ("shard-0", "shard-1", "shard-2", "manifest.json", "quarantine.parquet")
    for name in (*names, ".shard-9.123.tmp", ".manifest.json.123.tmp"):
        (tmp_path / name).touch()
    remove_unnamed(tmp_path, "shard-*", named={tmp_path / "shard-0", tmp_path / "shard-2"})

    assert {path.name for path in tmp_path.iterdir()} == {*names} - {"shard-1"}
