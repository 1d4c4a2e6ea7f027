"""Parts of embeddings: every image once, only what is new is read, and runs that stop resume."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import flip_a_bit, write_files
from embedded_folders import lay_out_as_older
from embedding_runs import (
    ATTRIBUTES,
    RECIPE,
    NotingReader,
    assert_exact,
    list_again,
    noted,
    picture,
    readable,
    run,
)

from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    MANIFEST,
    OLDER_LAYOUT,
    part_path,
    read_embeddings,
)
from components.embedding.part_files import listed_files, record_path
from components.errors import HemlineError
from components.images.decode import PIXELS_VERSION


def test_every_readable_image_is_embedded_once(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    assert run(list_again(str(folder), out, NotingReader(notes=notes)), out) == 22
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.attributes == tuple(ATTRIBUTES)
    assert embeddings.root == str(folder)
    assert [part.num_images for part in embeddings.parts] == [8, 8, 4]
    rows = pq.read_table(part_path(out, "hem / cuff", embeddings.parts[0].key), partitioning=None)
    assert set(rows["attribute"].to_pylist()) == {"hem / cuff"}
    assert set(rows["model_version"].to_pylist()) == {1}
    assert rows["path"].to_pylist() == embeddings.items()["path"][:8].to_pylist()


def test_a_second_run_reads_nothing(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    notes.unlink()
    assert run(list_again(str(folder), out, NotingReader(notes=notes)), out) == 22
    assert not noted(notes)
    assert before == {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}


def test_new_and_changed_images_alone_are_read(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    numbers = numbers_by_path(out)
    notes.unlink()
    write_files(folder, {"00a.png": picture(30), "07.png": picture(31) + b"trailing"})
    (folder / "05.png").unlink()
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    # what could not be read is tried again with its part
    assert noted(notes).keys() - {"broken.jpg", "empty.png"} == {"00a.png", "07.png"}
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    after = numbers_by_path(out)
    assert after.pop("00a.png") == 22, "after those that could not be read, too"
    assert after == {path: number for path, number in numbers.items() if path != "05.png"}


def test_a_part_that_lost_a_file_is_made_again(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    notes.unlink()
    embeddings = read_embeddings(out)
    part_path(out, "collar", embeddings.parts[1].key).unlink()
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert noted(notes).total() == 8, "the images of that part"
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})


def test_a_flipped_bit_is_found_when_its_file_is_read(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    embeddings = read_embeddings(out)
    for path in listed_files(embeddings):
        assert files.checksum(path) == embeddings.written(path)
    part = part_path(out, "collar", embeddings.parts[1].key)
    flip_a_bit(part)
    list(embeddings.vectors("hem / cuff"))
    with pytest.raises(HemlineError, match=r"part-00001-.* is damaged .*: remove .*`hemline embed"):
        list(embeddings.vectors("collar"))
    (folder / "09.png").unlink()
    with pytest.raises(HemlineError, match=r"part-00001-.* is damaged"):  # nor is it taken over
        run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    part.unlink()
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    flip_a_bit(out / ITEMS)
    with pytest.raises(HemlineError, match=r"items\.parquet is damaged"):
        read_embeddings(out).items()


def test_a_record_that_was_damaged_since_is_not_taken_for_whole(folder, tmp_path: Path) -> None:
    """A later run, which keeps the part, keeps its checksums."""
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    before = read_embeddings(out)
    path = record_path(out, before.parts[0].key)
    table = files.read_table(path, schema=tables.EMBEDDING_RECORD)
    about = files.read_about(path, schema=tables.EMBEDDING_RECORD) | {"more": 1}
    files.write_table(table, path, schema=tables.EMBEDDING_RECORD, about=about)
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert read_embeddings(out) == before
    assert "is damaged" in files.problem_of(path, before.written(path))


def test_embeddings_of_an_older_hemline_are_read_and_kept(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    manifest = files.read_json(out / MANIFEST)
    del manifest["crc32"]
    files.write_json(manifest, out / MANIFEST)
    for part in manifest["parts"]:
        path = record_path(out, part["key"])
        table = files.read_table(path, schema=tables.EMBEDDING_RECORD)
        about = {"recipe": RECIPE.digest}
        files.write_table(table, path, schema=tables.EMBEDDING_RECORD, about=about)
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    notes.unlink()
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert not noted(notes)
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.written(part_path(out, "collar", embeddings.parts[0].key)) is None


@pytest.mark.parametrize("is_changed", [False, True])
def test_an_older_layout_is_read_and_becomes_the_present_one(
    folder: Path, tmp_path: Path, is_changed: bool
) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    before = read_embeddings(out)
    vectors = {attribute: [*before.vectors(attribute)] for attribute in ATTRIBUTES}
    written = {path.name: path.read_bytes() for path in out.glob("vectors/*")}
    older = lay_out_as_older(out)
    assert (before.layout, older.layout) == (LAYOUT, OLDER_LAYOUT)
    for attribute in ATTRIBUTES:
        for now, then in zip(vectors[attribute], older.vectors(attribute), strict=True):
            np.testing.assert_array_equal(now.embeddings_nD, then.embeddings_nD)
    for path in listed_files(older):
        assert files.checksum(path) == older.written(path)
    notes.unlink()
    if is_changed:  # the rest of its part is copied
        write_files(folder, {"07.png": picture(31) + b"trailing"})
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert noted(notes).keys() - {"broken.jpg", "empty.png"} == (
        {"07.png"} if is_changed else {*()}
    )
    assert not [*out.glob("attribute=*")]
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    if not is_changed:
        assert read_embeddings(out) == before
        assert {path.name: path.read_bytes() for path in out.glob("vectors/*")} == written


def test_single_precision_is_stored_on_demand(folder: Path, tmp_path: Path) -> None:
    """It holds what the network gave; the halves are those numbers, rounded."""
    out, notes, recipe = tmp_path / "out", tmp_path / "notes", replace(RECIPE, storage="float32")
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    halves = [part.embeddings_nD for part in read_embeddings(out).vectors("collar")]
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    assert set(noted(notes).values()) == {2}, "embedded again: halves lack half of the digits"
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.storage == "float32"
    singles = [part.embeddings_nD for part in embeddings.vectors("collar")]
    for half, single in zip(halves, singles, strict=True):
        assert (half.dtype, single.dtype) == (np.float16, np.float32)
        assert (single != half).any()
        np.testing.assert_array_equal(half, single.astype(np.float16))
    write_files(folder, {"07.png": picture(31) + b"trailing"})
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    again = [part.embeddings_nD for part in read_embeddings(out).vectors("collar")]
    np.testing.assert_array_equal(again[1], singles[1], "kept")


def test_what_a_killed_writer_leaves_lies_not_among_the_vectors(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """Polars refuses a folder in which a file has another suffix, even a hidden one."""
    out, notes = tmp_path / "out", tmp_path / "notes"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as a killed process leaves files
        patch.setattr("os.fsync", die)
        with pytest.raises(KeyboardInterrupt):
            run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert [*out.glob("parts/.*.tmp")]
    assert not [*out.glob("vectors/*")]
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert not [*out.glob("parts/.*.tmp")]
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})


def test_what_an_earlier_decoder_read_is_embedded_again(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    with monkeypatch.context() as earlier:
        earlier.setattr("components.embedding.part_files.PIXELS_VERSION", PIXELS_VERSION - 1)
        run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    assert set(noted(notes).values()) == {2}
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})


def test_another_model_embeds_all_again(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    run(
        list_again(str(folder), out, NotingReader(notes=notes)),
        out,
        recipe=replace(RECIPE, model_version=2, model_sha256="1" * 64),
    )
    assert set(noted(notes).values()) == {2}
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.model_version == 2


def test_a_graph_that_normalises_in_bf16_gives_lengths_of_one(folder, tmp_path: Path) -> None:
    """As those do that hemline 0.1 exported."""
    out, notes, recipe = tmp_path / "out", tmp_path / "notes", replace(RECIPE, precision="bf16")
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    vectors = [part.embeddings_nD for part in read_embeddings(out).vectors("collar")]
    lengths = np.linalg.norm(np.concatenate(vectors).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=6e-4)  # float16's own rounding


def test_one_attribute_alone(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    recipe = replace(RECIPE, attributes={"hem / cuff": 1})
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.attributes == ("hem / cuff",)


def test_parts_of_other_sizes_hold_the_same(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, images_per_part=1000)
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert len(embeddings.parts) == 1


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    folder, out = write_files(tmp_path / "in", {"a.jpg": b"x"}), tmp_path / "out"
    with pytest.raises(HemlineError, match=r"no image can be read.*a\.jpg.*not_an_image"):
        run(list_again(str(folder), out, NotingReader(notes=tmp_path / "notes")), out)
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize("num_batches", range(9))
def test_a_run_that_stops_resumes(folder: Path, tmp_path: Path, num_batches: int) -> None:
    """Stopped after any batch; parts that were done are not read again."""
    out, notes = tmp_path / "out", tmp_path / "notes"
    ticks = count()

    def stop(_: int) -> None:
        if next(ticks) == num_batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(list_again(str(folder), out, NotingReader(notes=notes)), out, on_progress=stop)
    assert not (out / "manifest.json").exists()
    num_parts = len([*out.glob("parts/part-*.parquet")])
    assert num_parts == max(0, num_batches - 1) // 3, "three batches a part; stopped before writing"
    notes.unlink(missing_ok=True)
    assert run(list_again(str(folder), out, NotingReader(notes=notes)), out) == 22
    assert noted(notes).total() == 22 - 8 * num_parts
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})


def numbers_by_path(out: Path) -> dict[str, int]:
    items = read_embeddings(out).items()
    return dict(zip(items["path"].to_pylist(), items["image"].to_pylist(), strict=True))
