"""The version that the stages registered, called as a consumer calls it."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from project import Project

from components import files, tables
from components.evaluation.evaluation import held_out_images
from components.images.decode import decode
from components.images.store import ImageStore
from components.training.trained import read_trained_model

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(project: Project) -> Path:
    mlflow.set_tracking_uri(project.tracking_uri)
    return project.folder


def registered(folder: Path) -> dict[str, Any]:
    """Returns what names the version of the trained network that lies in the project."""
    content: dict[str, Any] = files.read_json(folder / "models/registration.json")
    return content


def test_predictions_from_files_are_what_the_evaluation_measured(folder: Path) -> None:
    splits = files.read_table(folder / "data/splits/splits.parquet", schema=tables.SPLITS)
    images = held_out_images(splits, "test")
    catalog = tables.read_catalog(folder / "data/catalog").images
    rows = np.searchsorted(catalog["image"].to_numpy(), images)
    paths = [folder / "data/raw/wardrobe" / path for path in catalog["path"].take(rows).to_pylist()]
    trained = read_trained_model(folder / "models/network")
    stored = ImageStore(folder / "data/store").gather(images)
    decoded = [decode(path.read_bytes(), image_size_px=trained.image_size_px) for path in paths]
    np.testing.assert_array_equal(np.stack(decoded), stored)

    model = mlflow.pyfunc.load_model(registered(folder)["uri"])
    found = model.predict(pd.DataFrame({"image": [str(path) for path in paths]}))
    names = trained.schema.names
    with torch.inference_mode():
        asked = torch.arange(len(names)).expand(len(images), -1)
        expected = trained.embed(torch.from_numpy(stored), asked).flatten(0, 1).numpy()
    assert list(found["attribute"]) == names * len(images)
    cosines = np.einsum("rd,rd->r", np.stack(list(found["embedding"])), expected)
    assert cosines.min() >= 0.9999


def test_the_card_tells_the_figures_of_the_evaluation(folder: Path) -> None:
    figures = files.read_json(folder / "metrics/evaluation.json")
    number = str(registered(folder)["version"])
    version = mlflow.MlflowClient().get_model_version("hemline", number)
    for name, row in figures["attributes"].items():
        told = f" {row['map']:.2f} | {row['map_low']:.2f} to {row['map_high']:.2f} |"
        line = next(
            line for line in version.description.split("\n") if line.startswith(f"| {name}")
        )
        assert told in line
    commit = mlflow.MlflowClient().get_run(version.run_id).data.tags["mlflow.source.git.commit"]
    assert f"| git commit | {commit}" in version.description  # and whether the tree differed
