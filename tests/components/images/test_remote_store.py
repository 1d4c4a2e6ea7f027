"""A published store: copied once to a node, brought up to date, and never half seen."""

import hashlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from builders import flip_a_bit
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from components.errors import HemlineError
from components.images.remote_store import StoreLocation, publish_store
from components.images.store import (
    ImageStore,
    Shard,
    StoredImages,
    shard_file,
    write_manifest,
    write_shard,
)
from pipelines.shell.cli import ENVIRONMENT

SIZE, PER_SHARD = 8, 3
PROJECT = Path(__file__).parents[3]


def pixels_of(image, version):
    rng = np.random.default_rng([image, version])
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def write_store(folder, versions):
    """Writes a store of shards of three images; `versions` says what each shard shows."""
    folder.mkdir(exist_ok=True)
    shards = []
    for index, version in enumerate(versions):
        images = np.arange(PER_SHARD) + index * PER_SHARD
        pixels = np.stack([pixels_of(image, version) for image in images])
        path = folder / shard_file(index)
        batch = StoredImages(images.tolist(), ["00" * 32] * PER_SHARD, pixels)
        crc32 = write_shard(path, [batch], image_size_px=SIZE, recipe="r")
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        shards.append(
            Shard(file=path.name, key=key, num_images=PER_SHARD, quarantined=(), crc32=crc32)
        )
    write_manifest(folder, shards, image_size_px=SIZE)
    return folder


def assert_shows(folder, versions):
    store = ImageStore(folder)
    assert store.images.tolist() == list(range(PER_SHARD * len(versions)))
    for image, shown in enumerate(store.gather(store.images)):
        assert np.array_equal(shown, pixels_of(image, versions[image // PER_SHARD]))


class ObjectStore(MemoryFileSystem):
    """As S3 is: a folder is there when something lies in it, and cannot be made."""

    protocol = "objects"

    def makedirs(self, path, exist_ok=False):
        pass


fsspec.register_implementation("objects", ObjectStore)


@pytest.fixture(params=["file", "memory", "objects"])
def url(request, tmp_path):
    yield {
        "file": f"file://{tmp_path}/published/store",
        "memory": "memory://bucket/store",
        "objects": "objects://bucket/store",
    }[request.param]
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def location(url, tmp_path):
    return StoreLocation(address=url, cache=tmp_path / "cache")


def test_a_folder_is_used_where_it_lies(tmp_path):
    location = StoreLocation(address=str(tmp_path / "store"), cache=tmp_path / "cache")

    assert location.local() == tmp_path / "store"
    assert not (tmp_path / "cache").exists()


def test_a_published_store_is_copied_as_it_is(location, tmp_path):
    store = write_store(tmp_path / "store", [0, 0])
    assert publish_store(store, location.address) == 2
    copy = location.local()

    assert_shows(copy, [0, 0])
    for path in store.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()


def test_only_what_changed_is_uploaded_and_fetched(location, tmp_path):
    publish_store(write_store(tmp_path / "store", [0, 0, 0]), location.address)
    copy = location.local()
    before = {path.name: path.stat().st_mtime_ns for path in copy.glob("shard-*")}
    time.sleep(0.02)  # more than a tick of the file system's clock
    assert publish_store(write_store(tmp_path / "store", [0, 1, 0, 2]), location.address) == 2

    assert location.local() == copy
    assert_shows(copy, [0, 1, 0, 2])
    after = {path.name: path.stat().st_mtime_ns for path in copy.glob("shard-*")}
    kept = {name for name in before if after[name] == before[name]}
    assert kept == {shard_file(0), shard_file(2)}


def test_shards_that_are_gone_are_removed_everywhere(location, tmp_path):
    publish_store(write_store(tmp_path / "store", [0, 0, 0]), location.address)
    copy = location.local()
    (tmp_path / "store" / shard_file(2)).unlink()
    publish_store(write_store(tmp_path / "store", [0, 1]), location.address)
    location.local()

    assert_shows(copy, [0, 1])
    assert len(list(copy.glob("shard-*"))) == 2
    system, root = fsspec.core.url_to_fs(location.address)
    assert len(system.ls(root, detail=False)) == 3, "two shards and the manifest"


def test_what_else_lies_at_the_url_stays(location, tmp_path):
    publish_store(write_store(tmp_path / "store", [0, 0]), location.address)
    system, root = fsspec.core.url_to_fs(location.address)
    others = {f"{root}/{name}" for name in ("shard-list.arrow", "labels.csv", "raw/a.jpg")}
    system.makedirs(f"{root}/raw")
    for other in others:
        system.pipe_file(other, b"mine")
    publish_store(write_store(tmp_path / "store", [1]), location.address)

    assert others < set(system.find(root))
    assert len(system.find(root)) == 2 + len(others), "a shard and the manifest"


def test_an_interrupted_copy_is_resumed_and_never_half_seen(location, tmp_path):
    publish_store(write_store(tmp_path / "store", [0, 0]), location.address)
    copy = location.local()
    publish_store(write_store(tmp_path / "store", [1, 1]), location.address)
    system, root = fsspec.core.url_to_fs(location.address)
    last = max(name for name in system.ls(root, detail=False) if "shard-00001" in name)
    hidden = last.replace("shard", "hidden")
    system.mv(last, hidden)
    with pytest.raises(HemlineError, match="publish the store again"):
        location.local()
    assert ImageStore(copy).images.tolist() == [0, 1, 2], "what is named is there"

    system.mv(hidden, last)
    assert_shows(location.local(), [1, 1])


def test_a_damaged_upload_is_made_good(location, tmp_path):
    store = write_store(tmp_path / "store", [0, 0])
    publish_store(store, location.address)
    system, root = fsspec.core.url_to_fs(location.address)
    cut = min(name for name in system.ls(root, detail=False) if "shard" in name)
    system.pipe_file(cut, system.cat_file(cut)[:-10])

    assert publish_store(store, location.address) == 1
    assert_shows(location.local(), [0, 0])


def test_a_flipped_bit_is_neither_published_nor_fetched(location, tmp_path):
    store = write_store(tmp_path / "store", [0, 0])
    publish_store(store, location.address)
    system, root = fsspec.core.url_to_fs(location.address)
    name = min(name for name in system.ls(root, detail=False) if "shard" in name)
    data = bytearray(system.cat_file(name))
    data[-300] ^= 1
    system.pipe_file(name, bytes(data))
    with pytest.raises(HemlineError, match=r"shard-00000-.* is damaged .*: remove it there"):
        location.local()
    flip_a_bit(store / shard_file(0))
    system.rm_file(name)
    with pytest.raises(HemlineError, match=r"shard-00000\.arrow is damaged"):
        publish_store(store, location.address)


READER = """
import sys
from pathlib import Path
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore
folder = StoreLocation(address=sys.argv[1], cache=Path(sys.argv[2])).local()
print(len(ImageStore(folder)))
"""


@pytest.mark.slow
def test_processes_of_a_node_wait_for_one_copy(tmp_path):
    url = f"file://{tmp_path}/published"
    publish_store(write_store(tmp_path / "store", [0] * 20), url)
    command = [sys.executable, "-c", READER, url, str(tmp_path / "cache")]
    readers = [
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]

    assert [reader.communicate()[0].strip() for reader in readers] == ["60", "60"]


def test_readers_see_the_old_store_or_the_new_one(tmp_path):
    url = f"file://{tmp_path}/published"
    publish_store(write_store(tmp_path / "store", [0, 0]), url)
    stop = threading.Event()

    def publish_again_and_again():
        version = 0
        while not stop.is_set():
            version += 1
            publish_store(write_store(tmp_path / "other", [version, version]), url)

    publisher = threading.Thread(target=publish_again_and_again)
    publisher.start()
    try:
        for number in range(20):
            copy = StoreLocation(address=url, cache=tmp_path / f"{number}").local()
            first = ImageStore(copy).gather(np.array([0]))[0]
            version = next(v for v in range(10_000) if np.array_equal(first, pixels_of(0, v)))
            assert_shows(copy, [version] * 2)
    finally:
        stop.set()
        publisher.join()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("file:///nowhere/at/all", r"has no manifest\.json: `hemline preprocess --publish"),
        ("nosuch://bucket/store", "nosuch"),
        ("gs://bucket/store", "gcsfs"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, address, expected):
    with pytest.raises(HemlineError, match=expected) as error:
        StoreLocation(address=address, cache=tmp_path).local()
    assert address in str(error.value)


def test_an_s3_that_never_answers_is_an_error(silent_s3: str, tmp_path: Path) -> None:
    with pytest.raises(HemlineError, match="when its server answers, run") as error:
        StoreLocation(address="s3://bucket/store", cache=tmp_path).local()
    assert "s3://bucket/store cannot be read" in str(error.value)
    assert silent_s3 in str(error.value)


def test_commands_wait_three_minutes_for_an_s3_that_never_answers() -> None:
    """As docs/operations.md says; pauses between the attempts take some seconds."""
    attempts = int(ENVIRONMENT["AWS_MAX_ATTEMPTS"]) * S3FileSystem.retries
    assert attempts * S3FileSystem.read_timeout < 170
