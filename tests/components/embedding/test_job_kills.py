"""Batch embedding killed in the middle: what is done stays, and every image comes out once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import encoded, noise, write_files
from embedding_runs import assert_exact, noted

HERE = Path(__file__).parent
NUM_IMAGES, NUM_KILLS = 66, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {f"{n:02d}.png": encoded(noise(40, 36, seed=n)) for n in range(NUM_IMAGES)}
    return write_files(tmp_path_factory.mktemp("in"), {**names, "broken.png": b"x"})


def program(name: str, *arguments: Path) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(map(str, (HERE.parents[2], HERE.parents[1], HERE)))
    return subprocess.Popen(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def assert_complete(folder: Path, out: Path) -> None:
    readable = {path.name: path for path in folder.glob("[0-9]*.png")}
    assert len(readable) == NUM_IMAGES
    assert_exact(out, readable, {"broken.png"})


def records(out: Path) -> set[str]:
    return {path.name for path in out.glob("parts/part-*.parquet")}


def test_a_killed_driver_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    """Killed at random moments; parts that were done are not read again."""
    out = tmp_path / "out"
    moments = random.Random(time.time_ns())
    done: set[str] = set()
    for attempt in range(NUM_KILLS):
        driver = program("embedding_driver.py", folder, out, tmp_path / f"notes-{attempt}")
        deadline = time.monotonic() + 60
        while not records(out) - done:
            assert driver.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "no part was done"
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        done = records(out)
        assert not (out / "manifest.json").exists(), "it ended before it could be killed"
    embedded = {path.name for path in out.glob("attribute=*/part-*")} & done
    assert embedded == done
    last = tmp_path / "notes-last"
    assert program("embedding_driver.py", folder, out, last).wait(timeout=120) == 0
    assert_complete(folder, out)
    assert noted(last).total() == NUM_IMAGES + 1 - 6 * len(done), "six images a part"


def test_lost_actors_and_nodes_are_made_up_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = program("embedding_node_loss.py", folder, out, tmp_path / "notes").wait(timeout=240)
    assert done == 0
    assert (out / "node_lost").exists()
    assert_complete(folder, out)
