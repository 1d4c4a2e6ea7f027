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
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.machine import machine
from benchmarks.stages import PARAMS_FILE, SCHEMA, begin, embedded, sections_of, train, trained
from components import files, tables
from components.evaluation.evaluation import held_out_images
from components.evaluation.growth import evaluate_growth
from components.training.trained import (
    WEIGHTS_FILE,
    read_description,
    read_trained_model,
    save_weights,
    write_trained_model,
)


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
    full = trained(out / f"all-{seed}", sections_of(seed))
    parent = network_without(name, out, seed=seed)
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


def network_without(name: str, out: Path, *, seed: int) -> Path:
    """Returns the folder of a network that was trained without an attribute."""
    sections = sections_of(seed)
    sections["data"]["exclude_attributes"] = [*sections["data"]["exclude_attributes"], name]
    return trained(out / f"{name}-{seed}", sections)


def grow(parent: Path, full: Path, name: str, folder: Path, num_labels: int | None = None) -> Path:
    """Returns the folder of a network that was grown from another by an attribute."""
    sections = json.loads((full / PARAMS_FILE).read_text())
    sections["train"]["parent"] = version = files.sha256(parent / "network" / WEIGHTS_FILE)
    begin(folder, sections, like=full)
    shutil.copytree(full / "triplets", folder / "triplets")
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


def cpu_s(folder: Path, name: str = "cpu.json") -> float:
    """Returns the CPU seconds of a training, or of its dry run."""
    return float(files.read_json(folder / name))


def measured(folder: Path, full: Path, name: str) -> dict[str, Any]:
    """Returns the figures of an attribute on the test split, as if it had been grown."""
    splits, schema = tables.read_splits(full / "splits"), tables.read_schema(full / "catalog")
    images = held_out_images(splits, "test")
    embeddings = embedded(folder, images)
    known = [each for each in schema.names if each != name]
    found = evaluate_growth(splits, "test", images, embeddings, schema=schema, known=known)
    row: dict[str, Any] = found[name]
    return row


if __name__ == "__main__":
    main()
