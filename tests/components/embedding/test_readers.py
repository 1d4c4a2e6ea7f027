"""What docs/embedding.md says that other programs do with the folder of vectors, run from there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PROJECT
from embedded_folders import unit_vectors, write_embedded_folder

DIM, NUM_IMAGES = 512, 50
ATTRIBUTES = ("neckline_design", "01", "_fit", "hem / cuff", "2024-01-01", "a=1")
"""All but the first are names that a reader may take for a number, a date, a hidden folder, ..."""

BLOCKS = dict(
    re.findall(
        r"^With \*\*(.+?)\*\*.*?\n```python\n(.*?)```",
        (PROJECT / "docs/embedding.md").read_text(),
        flags=re.M | re.S,
    )
)
COLUMNS: dict[str, Callable[[Any], tuple[list[int], list[str]]]] = {
    "pandas": lambda rows: (rows["image"].tolist(), rows["attribute"].tolist()),
    "pyarrow": lambda rows: (rows["image"].to_pylist(), rows["attribute"].to_pylist()),
    "polars": lambda rows: (rows["image"].to_list(), rows["attribute"].to_list()),
    "DuckDB": lambda rows: tuple(zip(*rows.project("image, attribute").fetchall(), strict=True)),
    "Ray Data": lambda rows: tuple(
        zip(*((row["image"], row["attribute"]) for row in rows.take_all()), strict=True)
    ),
    "LanceDB": lambda rows: COLUMNS["pyarrow"](getattr(rows, "to_arrow", lambda: rows)()),
}


def test_the_page_has_a_block_for_each_program() -> None:
    assert BLOCKS.keys() == COLUMNS.keys()


@pytest.mark.parametrize("storage", ["float16", "float32"])
@pytest.mark.parametrize("program", [name for name in COLUMNS if name != "Ray Data"])
def test_the_folder_is_read_whole(program: str, storage: Any, tmp_path: Path, monkeypatch) -> None:
    assert_read(program, storage, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_folder_is_read_whole_by_ray(tmp_path: Path, monkeypatch, ray_session) -> None:
    assert_read("Ray Data", "float16", tmp_path, monkeypatch)


def assert_read(program: str, storage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    vectors = {
        name: unit_vectors(NUM_IMAGES, DIM, seed=seed) for seed, name in enumerate(ATTRIBUTES)
    }
    write_embedded_folder(
        folder / "data/embeddings", vectors, part_sizes=[20, 0, 30], storage=storage
    )
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[program], f"docs/embedding.md, {program}", "exec"), names)
    images, attributes = COLUMNS[program](names["rows"])
    found = sorted(zip(attributes, images, strict=True))
    assert found == sorted((name, image) for name in ATTRIBUTES for image in range(NUM_IMAGES))
    images, attributes = COLUMNS[program](names["neck"])
    assert {*attributes} == {"neckline_design"}
    assert sorted(images) == [*range(NUM_IMAGES)]
    assert np.issubdtype(names["numbers"].dtype, np.floating)
    expected = vectors["neckline_design"][[*images]]
    np.testing.assert_array_equal(names["numbers"].astype(np.float32), expected)
    if "nearest" in names:
        row = names["nearest"][0]
        assert (row["image"] if isinstance(row, dict) else row[0]) in (0, images[0])
        assert len(names["nearest"]) == 10
