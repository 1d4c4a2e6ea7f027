"""Stages in a folder of a benchmark's own, where the project's params and labels are changed.

A folder has catalog, splits, batches and network; images and their numbers are the project's, from
`data/store`. JSON is YAML, so that params are written as it.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components import files
from components.evaluation.encode import encode
from components.images.store import ImageStore
from components.params import resolved
from components.training.trained import read_trained_model

PROJECT = Path("data").absolute()
STORE, SCHEMA = PROJECT / "store", PROJECT / "catalog"
PARAMS_FILE = "params.yaml"


def sections_of(seed: int) -> dict[str, dict[str, Any]]:
    """Returns the project's params, but for the seed and a parent."""
    sections = resolved(Path(PARAMS_FILE))
    sections["train"] |= {"seed": seed, "parent": None}
    return sections


def trained(folder: Path, sections: Mapping[str, Mapping[str, Any]]) -> Path:
    """Returns a folder after training there what params say; one that has been trained is kept."""
    if not is_trained(folder):
        begin(folder, sections, like=PROJECT)  # images keep their numbers, labels their split
        catalog, splits = f"--catalog={folder / 'catalog'}", f"--splits={folder / 'splits'}"
        run(folder, "ingest", catalog)
        run(folder, "split", catalog, f"--store={STORE}", splits)
        draw(folder)
        train(folder)
    return folder


def is_trained(folder: Path) -> bool:
    """Returns whether a folder's network was trained to the end."""
    return (folder / "cpu.json").exists()


def begin(
    folder: Path, sections: Mapping[str, Mapping[str, Any]], *, like: Path | None = None
) -> None:
    """Empties a folder and writes params there; like another's, which has catalog and splits."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files.write_text(json.dumps(sections), folder / PARAMS_FILE)
    if like:
        for each in ("catalog", "splits"):
            shutil.copytree(like / each, folder / each)


def draw(folder: Path) -> None:
    """Draws the batches of a folder."""
    names = ("catalog", "splits", "triplets")
    run(folder, "triplets", *(f"--{name}={folder / name}" for name in names))


def train(folder: Path) -> None:
    """Trains, or grows, what the params of a folder say, and writes how long that took."""
    inputs = [f"--{name}={folder / name}" for name in ("catalog", "splits", "triplets", "parent")]
    outputs = [f"--model={folder / 'network'}", f"--run={folder / 'run.json'}"]
    command = ["train", f"--store={STORE}", *inputs, *outputs, f"--curve={folder / 'curve.csv'}"]
    for name, arguments in {"start.json": [*command, "--dry-run"], "cpu.json": command}.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(folder, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        files.write_json(took, folder / name)


def run(folder: Path, *arguments: str) -> None:
    """Runs a stage on the params of a folder, in this project."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, "-m", "pipelines", *arguments, "--params", str(folder / PARAMS_FILE)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def embedded(folder: Path, images: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns what a folder's network makes of images, for every attribute [n, N, D]."""
    model = read_trained_model(folder / "network")
    return encode(
        model.embed,
        ImageStore(STORE),
        images,
        num_attributes=len(model.schema.names),
        device=torch.device("cpu"),
    )
