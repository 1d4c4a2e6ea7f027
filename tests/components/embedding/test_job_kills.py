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
from embedding_runs import NotingReader, assert_exact, list_again, noted, run
from programs import begun

pytestmark = pytest.mark.slow

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
        start_new_session=True,
    )


def assert_complete(folder: Path, out: Path) -> None:
    readable = {path.name: path for path in folder.glob("[0-9]*.png")}
    assert len(readable) == NUM_IMAGES
    assert_exact(out, readable, {"broken.png"})


def records(out: Path) -> set[str]:
    return {path.name for path in out.glob("parts/part-*.parquet")}


def kill_driver(folder: Path, out: Path, notes: Path, *, after_s: float) -> None:
    """Starts embedding, and kills it so long after it has done one part more."""
    done = records(out)
    driver = begun(
        lambda: program("embedding_driver.py", folder, out, notes),
        when=lambda: bool(records(out) - done),
    )
    time.sleep(after_s)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


def test_a_killed_driver_is_resumed(folder: Path, tmp_path: Path) -> None:
    """Killed at random moments; parts that were done are not read again."""
    out = tmp_path / "out"
    moments = random.Random(time.time_ns())
    for attempt in range(NUM_KILLS):
        kill_driver(folder, out, tmp_path / f"notes-{attempt}", after_s=moments.uniform(0, 0.6))
        assert not (out / "manifest.json").exists(), "it ended before it could be killed"
    done = records(out)
    embedded = {path.name for path in out.glob("attribute=*/part-*")} & done
    assert embedded == done
    last = tmp_path / "notes-last"
    source = list_again(str(folder), out, NotingReader(notes=last))
    run(source, out, images_per_part=6)  # what lies on disk decides: no third Ray is needed
    assert_complete(folder, out)
    assert noted(last).total() == NUM_IMAGES + 1 - 6 * len(done), "six images a part"


def test_lost_actors_and_nodes_are_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = program("embedding_node_loss.py", folder, out, tmp_path / "notes").wait(timeout=240)
    assert done == 0
    assert (tmp_path / "node_lost").exists()
    assert_complete(folder, out)
