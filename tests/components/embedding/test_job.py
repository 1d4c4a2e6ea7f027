"""Batch embedding with real Ray: every image once, and only what is new is read."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders import encoded, images_table, noise, write_files
from embedding_runs import (
    ATTRIBUTES,
    RECIPE,
    SIZE_PX,
    NotingReader,
    assert_exact,
    list_again,
    noted,
    run,
)

from components.embedding.embeddings import read_embeddings
from components.embedding.source import stored_images
from components.errors import HemlineError
from components.images.preprocess import preprocess
from components.images.remote_store import StoreLocation

pytestmark = pytest.mark.usefixtures("ray_session")


def picture(seed: int) -> bytes:
    return encoded(noise(40, 36, seed=seed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures, one of them in a folder, and two files that are none."""
    names = {f"{number:02d}.png": picture(number) for number in range(19)}
    broken = {"broken.jpg": b"\xff\xd8 not really", "empty.png": b"", "notes.txt": b"no image"}
    return write_files(tmp_path / "in", {**names, "deep/it's 100%.png": picture(19), **broken})


def readable(folder: Path) -> dict[str, Path]:
    unread = {"broken.jpg", "empty.png"}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*.??g")}
    return {name: path for name, path in found.items() if name not in unread}


def test_every_readable_image_is_embedded_once(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    assert run(list_again(str(folder), out, NotingReader(notes=notes)), out) == 22
    catalogue = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert catalogue.attributes == tuple(ATTRIBUTES)
    assert catalogue.root == str(folder)
    assert [part.num_images for part in catalogue.parts] == [8, 8, 4]
    rows = pq.read_table(catalogue.part_path("hem / cuff", catalogue.parts[0]), partitioning=None)
    assert set(rows["attribute"].to_pylist()) == {"hem / cuff"}
    assert set(rows["model_version"].to_pylist()) == {1}
    assert rows["path"].to_pylist() == catalogue.items()["path"][:8].to_pylist()


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
    catalogue = read_embeddings(out)
    catalogue.part_path("collar", catalogue.parts[1]).unlink()
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
    catalogue = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert catalogue.model_version == 2


def test_one_attribute_alone(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    recipe = replace(RECIPE, attributes={"hem / cuff": 1})
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, recipe=recipe)
    catalogue = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert catalogue.attributes == ("hem / cuff",)


def test_parts_of_other_sizes_hold_the_same(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    run(list_again(str(folder), out, NotingReader(notes=notes)), out, images_per_part=1000)
    catalogue = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert len(catalogue.parts) == 1


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    folder, out = write_files(tmp_path / "in", {"a.jpg": b"x"}), tmp_path / "out"
    with pytest.raises(HemlineError, match=r"no image can be read.*a\.jpg.*not_an_image"):
        run(list_again(str(folder), out, NotingReader(notes=tmp_path / "notes")), out)
    assert not (out / "manifest.json").exists()


def test_the_store_gives_what_its_files_give(folder: Path, tmp_path: Path) -> None:
    paths = sorted(readable(folder))
    images = images_table("0" * 64 for _ in paths)
    images = images.set_column(1, "path", [paths])
    preprocess(
        images,
        folder,
        tmp_path / "store",
        image_size_px=SIZE_PX,
        images_per_shard=6,
        num_workers=2,
        on_progress=lambda _: None,
    )
    location = StoreLocation(address=str(tmp_path / "store"), cache=tmp_path / "cache")
    out = tmp_path / "out"
    assert run(stored_images(location, images), out) == 20
    catalogue = assert_exact(out, readable(folder), set())
    assert catalogue.root is None


def numbers_by_path(out: Path) -> dict[str, int]:
    items = read_embeddings(out).items()
    return dict(zip(items["path"].to_pylist(), items["image"].to_pylist(), strict=True))
