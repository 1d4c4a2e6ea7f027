"""A node of the cluster goes in the middle of an epoch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from node_loss import LOST_STEP, NUM_EPOCHS, UNDISTURBED
from programs import TIMEOUT_S, kill
from safetensors.torch import load_file

from components.training.state import BEST_WEIGHTS, read_curve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    program = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "node_loss.py"), str(folder)],
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",  # for a node that is no more
        },
    )
    try:
        assert program.wait(timeout=2 * TIMEOUT_S) == 0
    finally:
        kill(program)
    return folder


def rows(folder: Path) -> list[tuple[str, int]]:
    """Returns what was logged, and by how many workers."""
    lines = (folder / "rows").read_text().splitlines()
    return [(name, int(workers)) for name, workers, _ in map(str.split, lines)]


def as_if_lost(whole: list) -> list:
    """Returns the rows with the lost step's a second time: its checkpoint is just before it."""
    at = next(i for i, row in enumerate(whole) if f"step-{LOST_STEP}" in row)
    return [*whole[: at + 1], *whole[at:]]


def test_on_another_node_training_resumes_to_the_same_bits(folder: Path) -> None:
    whole, again = folder / UNDISTURBED, folder / "another"
    assert rows(again) == as_if_lost(rows(whole))
    assert read_curve(again / "state") == read_curve(whole / "state")
    weights, others = (load_file(each / "state" / BEST_WEIGHTS) for each in (whole, again))
    assert all(weights[name].equal(others[name]) for name in weights)


def test_with_fewer_workers_training_resumes_with_the_same_batches(folder: Path) -> None:
    logged = rows(folder / "fewer")
    names = [name for name, _ in rows(folder / UNDISTURBED)]
    assert [name for name, _ in logged] == as_if_lost(names)
    before = names.index(f"step-{LOST_STEP}") + 1
    assert [workers for _, workers in logged[:before]] == [2] * before
    assert {workers for _, workers in logged[before:]} == {1}
    assert len(read_curve(folder / "fewer" / "state")) == NUM_EPOCHS
