"""Preprocessing killed in the middle: nothing is lost, and the bytes come out the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from builders import encoded, images_table, noise, write_files
from programs import begun

from components.images.preprocess import preprocess
from components.images.store import read_shards

NUM_IMAGES, PER_SHARD, SIZE = 48, 4, 16
PROJECT = Path(__file__).parents[3]

DRIVER = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
import ray
from components.images.preprocess import preprocess

if __name__ == "__main__":
    root, store = map(Path, sys.argv[1:])
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    preprocess(
        pq.read_table(root / "images.parquet"), root, store,
        image_size_px=16, images_per_shard=4, num_workers=1, on_progress=lambda _: None,
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


def run(data, store, *, num_workers=0):
    root, table = data
    preprocess(
        table,
        root,
        store,
        image_size_px=SIZE,
        images_per_shard=PER_SHARD,
        num_workers=num_workers,
        on_progress=lambda _: None,
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
        lambda: subprocess.Popen(command, cwd=PROJECT), when=lambda: bool(read_shards(store))
    )
    its_processes = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    for process in its_processes:
        if process.is_running():
            process.kill()
    psutil.wait_procs(its_processes, timeout=10)
    num_made = len(read_shards(store))
    assert 0 < num_made < NUM_IMAGES / PER_SHARD
    made = {shard.file: (store / shard.file).stat().st_mtime_ns for shard in read_shards(store)}

    run(data, store)
    assert contents(store) == uninterrupted
    assert {file: (store / file).stat().st_mtime_ns for file in made} == made


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced(data, uninterrupted, tmp_path):
    store = tmp_path / "store"
    job = threading.Thread(target=run, args=(data, store), kwargs={"num_workers": 1})
    job.start()
    deadline = time.monotonic() + 60
    while not read_shards(store):
        assert job.is_alive(), "it ended before its worker could be killed"
        assert time.monotonic() < deadline, "no shard was made"
        time.sleep(0.01)
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::Map")
    ]
    assert workers, "no worker was decoding"
    for process in workers:
        process.kill()
    assert job.is_alive()
    job.join(timeout=60)

    assert not job.is_alive()
    assert contents(store) == uninterrupted
