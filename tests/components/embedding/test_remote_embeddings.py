"""Published embeddings: whole or not there, fetched once, and compared with their checksums."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from embedded_folders import unit_vectors, write_embedded_folder
from fsspec.implementations.memory import MemoryFileSystem

from components import files
from components.embedding.embeddings import Embeddings, read_embeddings
from components.embedding.part_files import listed_files
from components.embedding.remote_embeddings import (
    check_published,
    fetch_embeddings,
    publish_embeddings,
)
from components.errors import HemlineError

ATTRIBUTES = ("collar", "hem / cuff")


class ObjectStore(MemoryFileSystem):
    """As S3 is: a folder is there when something lies in it, and cannot be made.

    `kill_before` counts writes down; at 0 the writer ends.
    """

    protocol = "shelves"
    kill_before: int | None = None

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def put_file(self, *arguments: Any, **options: Any) -> None:
        self._count()
        super().put_file(*arguments, **options)

    def pipe_file(self, *arguments: Any, **options: Any) -> None:
        self._count()
        super().pipe_file(*arguments, **options)

    def mv(self, *arguments: Any, **options: Any) -> None:
        self._count()
        super().mv(*arguments, **options)

    def rm_file(self, path: str) -> None:
        self._count()
        super().rm_file(path)

    def _count(self) -> None:
        cls = type(self)
        if cls.kill_before is not None:
            cls.kill_before -= 1
            if cls.kill_before < 0:
                raise KeyboardInterrupt


fsspec.register_implementation("shelves", ObjectStore)


@pytest.fixture(params=["file", "memory", "shelves"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield {
        "file": f"file://{tmp_path}/published/hemline-1",
        "memory": "memory://bucket/hemline-1",
        "shelves": "shelves://bucket/hemline-1",
    }[request.param]
    ObjectStore.kill_before = None
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def embedded(folder: Path, num_images: int) -> Embeddings:
    """Returns embeddings in parts of three; a part's vectors are those of its first image."""
    vectors = {name: unit_vectors(12, 8)[:num_images] for name in ATTRIBUTES}
    sizes = [3] * (num_images // 3) + [num_images % 3]
    return write_embedded_folder(folder, vectors, part_sizes=sizes)


def assert_equal(copy: Embeddings, expected: Embeddings) -> None:
    assert copy.items().equals(expected.items())
    assert copy.parts == expected.parts
    for name in ATTRIBUTES:
        for ours, theirs in zip(copy.vectors(name), expected.vectors(name), strict=True):
            np.testing.assert_array_equal(ours.embeddings_nD, theirs.embeddings_nD)


def test_what_is_published_comes_back_in_every_byte(url: str, tmp_path: Path) -> None:
    made = embedded(tmp_path / "made", 7)
    assert publish_embeddings(made, url) == len(listed_files(made))
    check_published(url)
    folder = fetch_embeddings(url, tmp_path / "cache")
    assert folder.is_relative_to(tmp_path / "cache")
    copy = read_embeddings(folder)
    assert_equal(copy, made)
    for path in listed_files(made):
        same = folder / path.relative_to(made.folder)
        assert same.read_bytes() == path.read_bytes()
        assert copy.written(same) is not None, "also of what an older hemline wrote"


def test_only_what_is_new_is_uploaded_and_fetched(url: str, tmp_path: Path) -> None:
    made = embedded(tmp_path / "made", 7)
    publish_embeddings(made, url)
    assert publish_embeddings(made, url) == 0
    folder = fetch_embeddings(url, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    assert fetch_embeddings(url, tmp_path / "cache") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before
    gone = read_embeddings(folder).part_path("collar", made.parts[0].key)
    gone.unlink()
    fetch_embeddings(url, tmp_path / "cache")
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == {gone}


def test_what_is_published_no_more_is_removed_everywhere(url: str, tmp_path: Path) -> None:
    made = embedded(tmp_path / "made", 7)
    publish_embeddings(made, url)
    before = read_embeddings(fetch_embeddings(url, tmp_path / "cache"))
    system, root = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{root}/vectors.txt", b"of somebody else")
    other = embedded(tmp_path / "other", 4)
    publish_embeddings(other, url)
    folder = fetch_embeddings(url, tmp_path / "cache")
    assert_equal(read_embeddings(folder), other)
    assert len(system.find(root)) == len(listed_files(other)) + 2, "with the manifest and theirs"
    assert {*folder.rglob("*.parquet")} == {*listed_files(read_embeddings(folder))}
    assert_equal(before, made)  # a page that was opened with it goes on
    publish_embeddings(embedded(tmp_path / "third", 10), url)
    third = fetch_embeddings(url, tmp_path / "cache")
    assert {*third.parent.iterdir()} == {folder, third, third.parent / ".lock"}


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_a_fetch_that_was_cut_short_spoils_no_copy(url: str, tmp_path: Path) -> None:
    old, new = embedded(tmp_path / "old", 7), embedded(tmp_path / "new", 10)
    publish_embeddings(old, url)
    open_copy = read_embeddings(fetch_embeddings(url, tmp_path / "cache"))
    publish_embeddings(new, url)
    system, root = fsspec.core.url_to_fs(url)
    last = max(name for name in system.find(root) if "/vectors/" in name)
    system.rm_file(last)
    with pytest.raises(HemlineError, match=r"hemline-1 lacks vectors/part-"):
        fetch_embeddings(url, tmp_path / "cache")
    assert_equal(open_copy, old)
    publish_embeddings(old, url)
    assert_equal(read_embeddings(fetch_embeddings(url, tmp_path / "cache")), old)
    publish_embeddings(new, url)
    assert_equal(read_embeddings(fetch_embeddings(url, tmp_path / "cache")), new)


@pytest.mark.parametrize("url", ["shelves"], indirect=True)
def test_a_killed_publication_leaves_the_old_or_the_new(url: str, tmp_path: Path) -> None:
    old, new = embedded(tmp_path / "old", 7), embedded(tmp_path / "new", 10)
    seen = set()
    for write in range(99):
        MemoryFileSystem.store.clear()
        publish_embeddings(old, url)
        ObjectStore.kill_before = write
        try:
            publish_embeddings(new, url)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            ObjectStore.kill_before = None
        check_published(url)
        found = read_embeddings(fetch_embeddings(url, tmp_path / f"cache-{write}"))
        expected = {part.parts: part for part in (old, new)}[found.parts]
        assert_equal(found, expected)
        seen.add(found.num_images)
        publish_embeddings(new, url)
        assert_equal(read_embeddings(fetch_embeddings(url, tmp_path / f"cache-{write}")), new)
    assert seen == {7, 10}
    assert write > len(listed_files(new)), "every write"


@pytest.mark.parametrize("url", ["shelves"], indirect=True)
def test_the_first_publication_counts_when_it_is_whole(url: str, tmp_path: Path) -> None:
    made = embedded(tmp_path / "made", 7)
    ObjectStore.kill_before = len(listed_files(made))
    with pytest.raises(KeyboardInterrupt):
        publish_embeddings(made, url)
    ObjectStore.kill_before = None
    told = r"shelves://bucket/hemline-1 has no manifest\.json: `hemline promote --embeddings-root`"
    for read in (lambda: fetch_embeddings(url, tmp_path / "cache"), lambda: check_published(url)):
        with pytest.raises(HemlineError, match=told):
            read()


def test_a_reader_beside_a_writer_sees_one_of_both(url: str, tmp_path: Path) -> None:
    versions = [embedded(tmp_path / str(size), size) for size in (4, 7, 10)]
    publish_embeddings(versions[0], url)
    is_done = threading.Event()

    def write() -> None:
        for number in range(12):
            publish_embeddings(versions[number % 3], url)
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not is_done.is_set():
        found = read_embeddings(fetch_embeddings(url, tmp_path / "cache"))
        assert_equal(found, {each.parts: each for each in versions}[found.parts])
    writer.join()


def test_damage_and_loss_at_the_url_are_told(url: str, tmp_path: Path) -> None:
    publish_embeddings(embedded(tmp_path / "made", 7), url)
    system, root = fsspec.core.url_to_fs(url)
    (items,) = (name for name in system.find(root) if "items-" in name)
    whole = system.cat_file(items)
    system.pipe_file(items, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(HemlineError, match=r"hemline-1/items-\w{8}\.parquet is damaged .* again"):
        fetch_embeddings(url, tmp_path / "cache")
    assert not [*(tmp_path / "cache").rglob("manifest.json")], "the copy is not taken for whole"
    system.rm_file(items)
    told = r"hemline-1 lacks items-\w{8}\.parquet: `hemline promote --embeddings-root` .* again"
    for read in (lambda: fetch_embeddings(url, tmp_path / "cache"), lambda: check_published(url)):
        with pytest.raises(HemlineError, match=told):
            read()


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_a_manifest_writes_nothing_outside_of_the_copy(url: str, tmp_path: Path) -> None:
    publish_embeddings(embedded(tmp_path / "made", 7), url)
    system, root = fsspec.core.url_to_fs(url)
    manifest = files.parse_json(system.cat_file(f"{root}/manifest.json"))
    manifest["crc32"] |= {"../../../items.parquet": "00000000"}
    system.pipe_file(f"{root}/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(HemlineError, match=r"names a file outside of its folder"):
        fetch_embeddings(url, tmp_path / "cache")


def test_credentials_are_neither_taken_nor_told(tmp_path: Path) -> None:
    made = embedded(tmp_path / "made", 4)
    with pytest.raises(HemlineError) as told:
        publish_embeddings(made, "ftp://user:s3cret@127.0.0.1/shop")
    assert "leave them out" in str(told.value)
    with pytest.raises(HemlineError) as unread:
        fetch_embeddings("ftp://user:s3cret@127.0.0.1:9/shop", tmp_path / "cache")
    assert "ftp://127.0.0.1:9/shop cannot be read" in str(unread.value)
    for error in (told, unread):
        assert "s3cret" not in str(error.value)


def test_a_driver_that_is_not_installed_is_told(tmp_path: Path) -> None:
    with pytest.raises(HemlineError, match=r"hdfs3?://|nowhere://"):
        fetch_embeddings("nowhere://bucket/hemline-1", tmp_path / "cache")
