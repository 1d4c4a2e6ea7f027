"""Preprocessing killed in the middle: nothing is lost, and the bytes come out the same."""

import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from builders import encoded, images_table, noise, write_files
from programs import begun, kill

from components.images.preprocess import preprocess
from components.images.store import read_shards

NUM_IMAGES, PER_SHARD, SIZE = 48, 4, 16
PROJECT = Path(__file__).parents[3]

DRIVER = """
import sys
import time
from pathlib import Path
import pyarrow.parquet as pq
import ray
from components.images.preprocess import preprocess

if __name__ == "__main__":
    root, store = map(Path, sys.argv[1:])
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    preprocess(
        pq.read_table(root / "images.parquet"), root, store,
        image_size_px=16, images_per_shard=4, num_workers=1,
        on_progress=lambda num_images: num_images and time.sleep(1000),  # until it is killed
    )
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images that take 20 ms each to decode, and the rows of the catalog for them."""
    root = tmp_path_factory.mktemp("data")
    slow = encoded(noise(900, 900), compress_level=1)
    files = {f"{image}.png": slow for image in range(NUM_IMAGES)}
    files["7.png"] = slow[:-5000]
    write_files(root, files)
    table = images_table([f"{image:064x}" for image in range(NUM_IMAGES)])
    pq.write_table(table, root / "images.parquet")
    return root, table


def run(data, store, *, num_workers=0, on_progress=lambda _: None):
    root, table = data
    preprocess(
        table,
        root,
        store,
        image_size_px=SIZE,
        images_per_shard=PER_SHARD,
        num_workers=num_workers,
        on_progress=on_progress,
    )


def contents(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    store = tmp_path_factory.mktemp("uninterrupted")
    run(data, store)
    return contents(store)


def test_a_killed_driver_is_resumed(data, uninterrupted, tmp_path):
    store = tmp_path / "store"
    command = [sys.executable, "-c", DRIVER, str(data[0]), str(store)]
    driver = begun(
        lambda: subprocess.Popen(command, cwd=PROJECT, start_new_session=True),
        when=lambda: bool(read_shards(store)),
    )
    kill(driver)
    assert len(read_shards(store)) == 1
    made = {shard.file: (store / shard.file).stat().st_mtime_ns for shard in read_shards(store)}

    run(data, store)
    assert contents(store) == uninterrupted
    assert {file: (store / file).stat().st_mtime_ns for file in made} == made


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced(data, uninterrupted, tmp_path):
    """It is killed when it has made a shard and decodes the next."""
    killed = []

    def kill_decoders(num_images):
        if num_images and not killed:
            processes = psutil.Process().children(recursive=True)
            killed.extend(x for x in processes if x.name().startswith("ray::Map"))
            for process in killed:
                process.kill()

    for attempt in range(3):  # on a busy machine all may be decoded before this process looks
        store = tmp_path / str(attempt)
        run(data, store, num_workers=1, on_progress=kill_decoders)
        assert contents(store) == uninterrupted
        if killed:
            return
    raise AssertionError("no worker was decoding")
