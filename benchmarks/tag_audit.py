"""How many of the labels that an audit lists are wrong, where some were planted wrong.

    python -m benchmarks.tag_audit                      # in a project where `dvc repro` has run
    python -m benchmarks.tag_audit --project ../demo

Two in a hundred labels of every split are replaced by another value of their attribute, drawn
evenly. Network, prototypes and calibrations are then made from these labels in a temporary folder,
as the stages make them, and all labels are audited. The images, the split and the params are the
project's. Precision at 50 is the share of planted ones among the first 50; at random it would be
the planted share. Wrong labels that the data set had before count as right ones. Accuracy and
calibration are those against the labels as they were.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
import yaml

from benchmarks.machine import machine
from components import files, tables
from components.attributes import AttributeSchema
from components.embedding.embeddings import Vectors
from components.evaluation.encode import encode
from components.images.store import ImageStore
from components.prototypes.making import make_prototypes
from components.prototypes.prototypes import Calibration, Prototypes, ValueVectors
from components.prototypes.tags import calibrate
from components.tagging.audit import SPLITS, accuracies, doubts, labelled_tags, most_doubtful
from components.training.trained import identity, read_trained_model

TOP = 50
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Prints accuracy and calibration of each attribute, and precision at 50 of the audit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path(), help="where `dvc repro` has run")
    parser.add_argument("--share", type=float, default=0.02, help="of the labels planted wrong")
    asked = parser.parse_args()
    data = asked.project.absolute() / "data"
    print(machine())
    schema = tables.read_catalog(data / "catalog").schema
    right = tables.read_splits(data / "splits")
    planted, is_planted = plant(right, schema, asked.share)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(asked.project / "params.yaml", data, planted, Path(folder))
        vectors, prototypes = embed(trained, data / "store", planted)
    print(f"{'attribute':<20}{'test items':>11}{'right':>8}{'frequent':>10}{'ECE':>6}  percent")
    for name in schema.names:
        on_test = accuracies(labelled_tags([vectors[name]], prototypes, right, schema, name))[-1]
        shares = (on_test.accuracy, on_test.most_frequent, on_test.calibration_error)
        print(
            "{:<20}{:>11}{:>8.1f}{:>10.1f}{:>6.1f}".format(
                name, on_test.num_items, *(100 * share for share in shares)
            )
        )
    for audited in (("valid", "test"), ("train",), SPLITS):
        found = [
            doubt
            for name in schema.names
            for doubt in doubts(
                labelled_tags([vectors[name]], prototypes, planted, schema, name), splits=audited
            )
        ]
        first = most_doubtful(found, TOP)
        hits = [(doubt.image, doubt.attribute) in is_planted for doubt in first]
        print(f"precision at {TOP}, labels of {' and '.join(audited)}: {100 * np.mean(hits):.0f} %")


def plant(
    splits: pa.Table, schema: AttributeSchema, share: float
) -> tuple[pa.Table, set[tuple[int, str]]]:
    """Returns splits with wrong labels, and which they are: image and name of the attribute."""
    rng, labels = np.random.default_rng(0), splits.to_pandas()
    for split in SPLITS:
        rows = np.flatnonzero(labels["split"] == split)
        chosen = rng.choice(rows, round(share * len(rows)), replace=False)
        attributes = labels["attribute"].to_numpy()[chosen]
        numbers = np.array([len(schema.attributes[place].values) for place in attributes])
        values = labels["value"].to_numpy()[chosen]
        wrong = (values + rng.integers(1, numbers)) % numbers
        labels.loc[chosen, "value"] = wrong.astype(np.int16)
    is_other = labels["value"].to_numpy() != splits["value"].to_numpy()
    rows = labels[is_other]
    names = [schema.names[place] for place in rows["attribute"]]
    planted = set(zip(rows["image"].tolist(), names, strict=True))
    return pa.Table.from_pandas(labels, schema=tables.SPLITS, preserve_index=False), planted


def train(params: Path, data: Path, splits: pa.Table, folder: Path) -> Path:
    """Returns the folder of a network that was trained on these labels, in this process' cores."""
    content = yaml.safe_load(params.read_text())
    content["train"]["num_workers"] = 0
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    shutil.copytree(data / "splits", folder / "splits")
    files.write_table(splits, folder / "splits" / tables.SPLITS_FILE, schema=tables.SPLITS)
    inputs = ["--catalog", str(data / "catalog"), "--splits", "splits", "--triplets", "triplets"]
    outputs = ["--model", "network", "--run", "run.json", "--curve", "curve.csv"]
    for stage in (
        ["triplets", *inputs],
        ["train", *inputs, "--store", str(data / "store"), *outputs],
    ):
        subprocess.run(
            [sys.executable, "-m", "pipelines", *stage],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return folder / "network"


def embed(model: Path, store: Path, splits: pa.Table) -> tuple[dict[str, Vectors], Prototypes]:
    """Returns every labelled image's embeddings by attribute, and the prototypes."""
    trained = read_trained_model(model)
    schema, images = trained.schema, np.unique(splits["image"].to_numpy())
    embeddings = encode(
        trained.embed,
        ImageStore(store),
        images,
        num_attributes=len(schema.attributes),
        device=torch.device("cpu"),
    )
    training = splits.to_pandas().query("split == 'train'")
    made = make_prototypes(training, schema, images, embeddings)
    valid = splits.to_pandas().query("split == 'valid'")
    calibrations = [
        calibration(valid[valid["attribute"] == place], found, images, embeddings[:, place])
        for place, found in enumerate(made)
    ]
    vectors = {
        name: Vectors(images, embeddings[:, place]) for place, name in enumerate(schema.names)
    }
    return vectors, Prototypes(
        attributes=dict(zip(schema.names, made, strict=True)),
        weights=dict.fromkeys(schema.names, 1.0),
        calibrations=dict(zip(schema.names, calibrations, strict=True)),
        model=identity(model),
    )


def calibration(
    labels: pd.DataFrame,
    found: ValueVectors,
    images: np.ndarray,
    embeddings_nD: np.ndarray,
) -> Calibration:
    """Returns the calibration of an attribute, fitted on its validation labels."""
    has_nV = np.zeros((len(images), len(found.values)), bool)
    has_nV[np.searchsorted(images, labels["image"]), labels["value"]] = True
    return calibrate(embeddings_nD, has_nV, found)


if __name__ == "__main__":
    main()
