"""Files of parts: in another folder too, once, and what counts as complete embeddings."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builders import flip_a_bit
from embedded_folders import lay_out_as_older

from components import files, tables
from components.embedding.earlier import take_parts
from components.embedding.embeddings import (
    LAYOUT,
    Embeddings,
    Part,
    part_path,
    read_embeddings,
    write_embeddings,
)
from components.embedding.part_files import (
    Recipe,
    holds,
    is_complete,
    made_rows,
    read_complete,
    read_record,
    record_path,
    remove_unnamed,
    write_part,
)
from components.errors import HemlineError

ATTRIBUTES = ("collar", "hem / cuff")
RECIPE = Recipe(
    model_name="hemline",
    model_version=2,
    model_sha256="0" * 64,
    image_size_px=32,
    attributes={name: place for place, name in enumerate(ATTRIBUTES)},
    precision="fp32",
)
PARTS = (Part(key="00000-a", num_images=3), Part(key="00001-b", num_images=0))


@pytest.fixture
def made(tmp_path: Path) -> Embeddings:
    """Embeddings with a part of images, and one of images that could not be read."""
    folder = tmp_path / "made"
    for part in PARTS:
        rows = [
            {"image": image, "path": f"{image}.png", "content": "c", "reason": None, "detail": None}
            for image in range(max(1, part.num_images))
        ]
        if part.num_images == 0:
            rows[0] |= {"reason": "missing", "detail": ""}
        record = pa.Table.from_pylist(rows, schema=tables.EMBEDDING_RECORD)
        vectors_mD = np.ones((part.num_images, 4), np.float16)
        vectors = {
            name: made_rows(record, name, vectors_mD, recipe=RECIPE)
            for name in (ATTRIBUTES if part.num_images else ())
        }
        write_part(folder, part.key, record, vectors, recipe=RECIPE)
    embeddings = Embeddings(
        folder=folder,
        model_name="hemline",
        model_version=2,
        model_sha256="0" * 64,
        precision="fp32",
        attributes=ATTRIBUTES,
        embedding_dim=4,
        root=None,
        digest="d",
        num_quarantined=1,
        parts=PARTS,
        layout=LAYOUT,
    )
    write_embeddings(embeddings)
    return embeddings


def parts_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("part-*.parquet")}


def test_all_parts_are_taken_and_no_manifest(made, tmp_path: Path) -> None:
    take_parts(made, tmp_path / "taken")
    assert parts_in(tmp_path / "taken") == parts_in(made.folder)
    assert len(parts_in(made.folder)) == len(ATTRIBUTES) + len(PARTS)
    assert not (tmp_path / "taken/manifest.json").exists()


def test_they_are_the_same_files_until_one_goes(made, tmp_path: Path) -> None:
    expected = parts_in(made.folder)
    take_parts(made, tmp_path / "taken")
    for path in made.folder.rglob("part-*"):
        assert path.samefile(tmp_path / "taken" / path.relative_to(made.folder))
    remove_unnamed(tmp_path / "taken", (), attributes=ATTRIBUTES)
    assert not parts_in(tmp_path / "taken")
    assert parts_in(made.folder) == expected


def test_what_is_written_anew_leaves_the_other_place(made, tmp_path: Path) -> None:
    """Nothing is written in place."""
    expected = parts_in(made.folder)
    take_parts(made, tmp_path / "taken")
    record = read_record(made.folder, PARTS[0].key)
    recipe = replace(RECIPE, model_version=3)
    vectors = {
        name: made_rows(record, name, np.zeros((3, 4), np.float16), recipe=recipe)
        for name in ATTRIBUTES
    }
    write_part(tmp_path / "taken", PARTS[0].key, record, vectors, recipe=recipe)
    assert parts_in(tmp_path / "taken") != expected
    assert parts_in(made.folder) == expected


def test_what_is_there_is_not_taken_again(made, tmp_path: Path, monkeypatch) -> None:
    take_parts(made, tmp_path / "taken")
    record = record_path(tmp_path / "taken", PARTS[1].key)
    record.unlink()
    linked: list[Path] = []
    monkeypatch.setattr(os, "link", lambda _, target: linked.append(target))
    take_parts(made, tmp_path / "taken")
    assert linked == [record]


def test_a_damaged_part_is_not_taken(made, tmp_path: Path) -> None:
    path = part_path(made.folder, "collar", PARTS[0].key)
    listed = replace(made, crc32={path.relative_to(made.folder).as_posix(): files.checksum(path)})
    flip_a_bit(path)
    with pytest.raises(HemlineError, match=r"part-00000-a-collar\.parquet is damaged"):
        take_parts(listed, tmp_path / "taken")
    assert not is_complete(tmp_path / "taken", PARTS[0].key, attributes=ATTRIBUTES)


def test_an_older_layout_is_taken_into_the_present_one(made, tmp_path: Path) -> None:
    expected = parts_in(made.folder)
    older = lay_out_as_older(made.folder)
    assert {name.partition("/")[0] for name in parts_in(made.folder)} == {
        "attribute=collar",
        "attribute=hem%20%2F%20cuff",
        "parts",
    }
    assert read_complete(made.folder) == older
    take_parts(older, tmp_path / "taken")
    assert parts_in(tmp_path / "taken") == expected


def test_a_part_without_its_record_is_incomplete(made, tmp_path: Path) -> None:
    take_parts(made, tmp_path / "taken")
    record_path(tmp_path / "taken", PARTS[0].key).unlink()
    assert not is_complete(tmp_path / "taken", PARTS[0].key, attributes=ATTRIBUTES)


@pytest.mark.parametrize("gone", ["vectors", "parts/part-00001-b.parquet"])
def test_embeddings_with_a_missing_file_are_incomplete(made, gone) -> None:
    assert read_complete(made.folder) == read_embeddings(made.folder)
    assert holds(made.folder, model_name="hemline", model_version=2)
    path = made.folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(HemlineError, match=r"files of the part 0000\d-[ab] are missing"):
        read_complete(made.folder)
    assert not holds(made.folder, model_name="hemline", model_version=2)


def test_a_folder_holds_the_embeddings_of_one_version(made, tmp_path: Path) -> None:
    assert not holds(made.folder, model_name="hemline", model_version=1)
    assert not holds(made.folder, model_name="other", model_version=2)
    assert not holds(tmp_path / "nothing", model_name="hemline", model_version=2)
    files.write_text("{}", made.folder / "manifest.json")
    assert not holds(made.folder, model_name="hemline", model_version=2)
