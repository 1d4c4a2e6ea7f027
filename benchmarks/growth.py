"""Growing a network by an attribute that it was trained without, beside training it with it.

    python -m benchmarks.growth [--attributes gender color] [--seeds 3 4 5] [--labels 50 200 1000]

In a project, after `dvc repro triplets`. For each attribute and seed the network of params.yaml is
trained without the attribute, and grown by it; for each seed it is also trained with all. Each is
a `python -m pipelines train`, measured on the test split; CPU times are those of the whole process,
with its start, and less those of a dry run. Networks that were trained stay in --out, for the next
time. With --labels, the attribute is also grown from so many labelled images.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks.machine import machine
from components import files, tables
from components.evaluation.encode import encode
from components.evaluation.evaluation import held_out_images
from components.evaluation.growth import evaluate_growth
from components.images.store import ImageStore
from components.params import resolved
from components.training.trained import (
    WEIGHTS_FILE,
    read_description,
    read_trained_model,
    save_weights,
    write_trained_model,
)

PARAMS, STORE = Path("params.yaml"), Path("data/store").absolute()
SCHEMA = Path("data/catalog")
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Prints a line for each attribute and seed, in percent, and the mean of each attribute."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attributes", nargs="+", default=tables.read_schema(SCHEMA).names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3])
    parser.add_argument("--labels", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path(".hemline/growth"))
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    print(f"{machine()}; full training, growing: MAP on the test split, percent")
    columns = ["seed", "random", "best known", "all known", "grown", "full", "% of full"]
    columns += ["% CPU", "with start"]
    print(f"{'':18}" + "".join(f"{name:>11}" for name in columns), flush=True)
    for name in arguments.attributes:
        shares = [one(name, seed, arguments.labels, out) for seed in arguments.seeds]
        print(f"{name:18}{'mean':>11}{'':55}{np.mean(shares):>11.1f}", flush=True)


def one(name: str, seed: int, numbers: Sequence[int], out: Path) -> float:
    """Prints what growing gives, and returns its share of full training's gain, in percent."""
    full = trained(out, excluded=None, seed=seed)
    parent = trained(out, excluded=name, seed=seed)
    grown = grow(parent, full, name, out / f"{name}-{seed}-grown")
    theirs, ours = measured(full, full, name), measured(grown, full, name)
    random = ours["own"]["random_map"]
    share = 100 * (ours["own"]["map"] - random) / (theirs["own"]["map"] - random)
    figures = [random, ours["best_known"]["map"], ours["all_known"]["map"], ours["own"]["map"]]
    start = cpu_s(grown, "start.json")
    cpu = [100 * (cpu_s(grown) - less) / (cpu_s(full) - less) for less in (start, 0)]
    figures += [theirs["own"]["map"], share, *cpu]
    print(f"{name:18}{seed:>11}" + "".join(f"{figure:>11.1f}" for figure in figures), flush=True)
    for number in numbers:
        few = grow(parent, full, name, out / f"{name}-{seed}-{number}", num_labels=number)
        row = measured(few, full, name)["own"]
        interval = f"({row['map_low']:.1f} to {row['map_high']:.1f})"
        print(f"{name:18}{seed:>11}  from {number} labels: {row['map']:.1f} {interval}", flush=True)
    return share


def trained(out: Path, *, excluded: str | None, seed: int) -> Path:
    """Returns the folder of a network that was trained without an attribute, or with all."""
    folder = out / f"{excluded or 'all'}-{seed}"
    if (folder / "cpu.json").exists():
        return folder
    sections = resolved(PARAMS)
    if excluded:
        sections["data"]["exclude_attributes"] = [*sections["data"]["exclude_attributes"], excluded]
    sections["train"] |= {"seed": seed, "parent": None}
    prepare(folder, sections)
    train(folder)
    return folder


def grow(parent: Path, full: Path, name: str, folder: Path, num_labels: int | None = None) -> Path:
    """Returns the folder of a network that was grown from another by an attribute."""
    shutil.rmtree(folder, ignore_errors=True)
    sections = json.loads((full / "params.yaml").read_text())
    sections["train"]["parent"] = version = files.sha256(parent / "network" / WEIGHTS_FILE)
    folder.mkdir(parents=True)
    files.write_text(json.dumps(sections), folder / "params.yaml")
    for each in ("catalog", "splits", "triplets"):
        shutil.copytree(full / each, folder / each)
    if num_labels is not None:
        keep_labels(folder, name, num_labels)
    model = read_trained_model(parent / "network")
    save_weights(model.network.for_inference(), folder / "weights")
    write_trained_model(
        folder / "parent",
        folder / "weights",
        description=read_description(parent / "network"),
        schema=model.schema,
        image_size_px=model.image_size_px,
        crop=model.crop,
    )
    named = {"name": "hemline", "version": 0, "uri": "models:/hemline/0", "graph_sha256": version}
    files.write_json(named, folder / "parent" / tables.PARENT_VERSION)
    train(folder)
    return folder


def keep_labels(folder: Path, name: str, number: int) -> None:
    """Leaves so many training images a label of an attribute, drawn by a fixed seed."""
    splits = tables.read_splits(folder / "splits")
    attribute = tables.read_schema(folder / "catalog").index(name)
    is_own = pc.and_(pc.equal(splits["split"], "train"), pc.equal(splits["attribute"], attribute))
    images = np.unique(splits.filter(is_own)["image"].to_numpy())
    kept = np.random.default_rng(0).choice(images, number, replace=False)
    is_kept = pc.or_(pc.invert(is_own), pc.is_in(splits["image"], pa.array(kept)))
    path = folder / "splits" / tables.SPLITS_FILE
    files.write_table(splits.filter(is_kept), path, schema=tables.SPLITS)


def prepare(folder: Path, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes catalog, splits and batches of params; the images' numbers are the project's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files.write_text(json.dumps(sections), folder / "params.yaml")  # JSON is YAML
    where = {name: f"{folder / name}" for name in ("catalog", "splits", "triplets")}
    catalog, splits = ["--catalog", where["catalog"]], ["--splits", where["splits"]]
    run(folder, "ingest", *catalog)
    run(folder, "split", *catalog, "--store", str(STORE), *splits)
    run(folder, "triplets", *catalog, *splits, "--triplets", where["triplets"])


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
    command = [
        sys.executable,
        "-m",
        "pipelines",
        *arguments,
        "--params",
        f"{folder / 'params.yaml'}",
    ]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def cpu_s(folder: Path, name: str = "cpu.json") -> float:
    """Returns the CPU seconds of a training, or of its dry run."""
    return float(files.read_json(folder / name))


def measured(folder: Path, full: Path, name: str) -> dict[str, Any]:
    """Returns the figures of an attribute on the test split, as if it had been grown."""
    model = read_trained_model(folder / "network")
    splits = tables.read_splits(full / "splits")
    images = held_out_images(splits, "test")
    embeddings = encode(
        model.embed,
        ImageStore(STORE),
        images,
        num_attributes=len(model.schema.names),
        device=torch.device("cpu"),
    )
    known = [each for each in model.schema.names if each != name]
    found = evaluate_growth(splits, "test", images, embeddings, schema=model.schema, known=known)
    row: dict[str, Any] = found[name]
    return row


if __name__ == "__main__":
    main()
