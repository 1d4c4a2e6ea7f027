"""Batch embedding killed in the middle: what is done stays, and every image comes out once."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import encoded, noise, write_files
from embedding_runs import NotingReader, assert_exact, list_again, noted, run
from programs import TIMEOUT_S, begun, kill

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
NUM_IMAGES, NUM_KILLS = 66, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {f"{n:02d}.png": encoded(noise(40, 36, seed=n)) for n in range(NUM_IMAGES)}
    return write_files(tmp_path_factory.mktemp("in"), {**names, "broken.png": b"x"})


def program(name: str, *arguments: Path | int) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(map(str, (HERE.parents[2], HERE.parents[1], HERE)))
    return subprocess.Popen(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def assert_complete(folder: Path, out: Path) -> None:
    readable = {path.name: path for path in folder.glob("[0-9]*.png")}
    assert len(readable) == NUM_IMAGES
    assert_exact(out, readable, {"broken.png"})


def records(out: Path) -> set[str]:
    return {path.name for path in out.glob("parts/part-*.parquet")}


def kill_driver(folder: Path, out: Path, notes: Path, *, after: int) -> None:
    """Starts embedding, and kills it when it has read so many files and done one part more.

    It reads 12 files more than that, and waits: it cannot end before.
    """
    done = records(out)
    driver = begun(
        lambda: program("embedding_driver.py", folder, out, notes, after + 12),
        when=lambda: noted(notes).total() > after and bool(records(out) - done),
    )
    kill(driver)


def test_a_killed_driver_is_resumed(folder: Path, tmp_path: Path) -> None:
    """Killed at random moments; parts that were done are not read again."""
    out = tmp_path / "out"
    moments = random.Random(time.time_ns())
    for attempt in range(NUM_KILLS):
        kill_driver(folder, out, tmp_path / f"notes-{attempt}", after=moments.randint(6, 18))
        assert not (out / "manifest.json").exists()
    done = records(out)
    embedded = {f"{path.name.rpartition('-')[0]}.parquet" for path in out.glob("vectors/*")} & done
    assert embedded == done
    last = tmp_path / "notes-last"
    source = list_again(str(folder), out, NotingReader(notes=last))
    run(source, out, images_per_part=6)  # what lies on disk decides: no third Ray is needed
    assert_complete(folder, out)
    assert noted(last).total() == NUM_IMAGES + 1 - 6 * len(done), "six images a part"


def test_lost_actors_and_nodes_are_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = program("embedding_node_loss.py", folder, out, tmp_path / "notes")
    try:
        assert driver.wait(timeout=2 * TIMEOUT_S) == 0
    finally:
        kill(driver)
    assert (tmp_path / "node_lost").exists()
    assert_complete(folder, out)


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "unshare -m true"], check=False, capture_output=True).returncode
    != 0,
    reason="a node with a file system of its own takes rights of root",
)
def test_nodes_that_do_not_see_the_folder_lose_no_part(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = program("embedding_unshared_node.py", folder, out, tmp_path / "notes")
    try:
        assert driver.wait(timeout=2 * TIMEOUT_S) == 0
    finally:
        kill(driver)
    assert_complete(folder, out)
