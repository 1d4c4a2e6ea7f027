"""A node of the cluster goes in the middle of an epoch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from node_loss import NUM_EPOCHS, STEPS_PER_EPOCH
from safetensors.torch import load_file

from components.training.state import BEST_WEIGHTS, read_history

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    paths = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "node_loss.py"), str(folder)],
        check=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    return folder


def rows(folder: Path) -> list[tuple[str, int]]:
    """Returns what was logged, and by how many workers."""
    lines = (folder / "rows").read_text().splitlines()
    return [(name, int(workers)) for name, workers, _ in map(str.split, lines)]


def test_on_another_node_training_goes_on_to_the_same_bits(folder: Path) -> None:
    whole, again = folder / "undisturbed", folder / "another"
    assert len(rows(again)) > len(rows(whole)), "it was disturbed"
    assert {*rows(again)} == {*rows(whole)}
    assert read_history(again / "state") == read_history(whole / "state")
    weights, others = (load_file(each / "state" / BEST_WEIGHTS) for each in (whole, again))
    assert all(weights[name].equal(others[name]) for name in weights)


def test_with_fewer_workers_training_goes_on_with_the_same_batches(folder: Path) -> None:
    logged = rows(folder / "fewer")
    assert logged[0][1] == 2
    assert logged[-1][1] == 1
    steps = [int(name.removeprefix("step-")) for name, _ in logged if name.startswith("step-")]
    assert sorted({*steps}) == [*range(1, NUM_EPOCHS * STEPS_PER_EPOCH + 1)]
    lost = next(i for i, (_, workers) in enumerate(logged) if workers == 1)
    assert logged[lost][0] == "step-5", "the checkpoint of step 4 is the last one"
    assert len(read_history(folder / "fewer" / "state")) == NUM_EPOCHS
