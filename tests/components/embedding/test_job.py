"""Batch embedding with real Ray: every image once; `test_making.py` has the rest without it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders import encoded, images_table, noise, write_files
from embedding_runs import (
    ATTRIBUTES,
    SIZE_PX,
    NotingReader,
    assert_exact,
    list_again,
    noted,
    on_ray,
    run,
)

from components.embedding.source import stored_images
from components.images.preprocess import preprocess
from components.images.remote_store import StoreLocation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


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
    source = list_again(str(folder), out, NotingReader(notes=notes))
    assert run(source, out, embed=on_ray) == 22
    assert set(noted(notes).values()) == {1}
    catalogue = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert catalogue.attributes == tuple(ATTRIBUTES)
    assert catalogue.root == str(folder)
    assert [part.num_images for part in catalogue.parts] == [8, 8, 4]
    rows = pq.read_table(catalogue.part_path("hem / cuff", catalogue.parts[0]), partitioning=None)
    assert set(rows["attribute"].to_pylist()) == {"hem / cuff"}
    assert set(rows["model_version"].to_pylist()) == {1}
    assert rows["path"].to_pylist() == catalogue.items()["path"][:8].to_pylist()


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
    assert run(stored_images(location, images), out, embed=on_ray) == 20
    catalogue = assert_exact(out, readable(folder), set())
    assert catalogue.root is None
