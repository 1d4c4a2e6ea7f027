"""Parts of embeddings: every image once, only what is new is read, and runs that stop resume."""

import hashlib
import json
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import write_files
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

from components.embedding.embeddings import part_path, read_embeddings
from components.errors import HemlineError


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


def test_another_model_embeds_all_again(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    run(
        list_again(str(folder), out, NotingReader(notes=notes)),
        out,
        recipe=replace(RECIPE, model_version=2),
    )
    assert set(noted(notes).values()) == {2}
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.model_version == 2


def test_a_graph_that_normalises_in_bf16_gives_lengths_of_one(folder, tmp_path: Path) -> None:
    """As those do that hemline 0.1 exported; its parts, whose lengths differ, are made again."""
    out, notes, recipe = tmp_path / "out", tmp_path / "notes", replace(RECIPE, precision="bf16")
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    vectors = [part.embeddings_nD for part in read_embeddings(out).vectors("collar")]
    lengths = np.linalg.norm(np.concatenate(vectors).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=6e-4)  # float16's own rounding
    as_before = hashlib.sha256(json.dumps(asdict(recipe)).encode()).hexdigest()
    assert recipe.digest != as_before
    assert RECIPE.digest == hashlib.sha256(json.dumps(asdict(RECIPE)).encode()).hexdigest()


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
