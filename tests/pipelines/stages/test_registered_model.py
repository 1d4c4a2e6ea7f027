"""The version that the stages registered, called as a consumer calls it."""

import shutil
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


def test_a_clone_registers_what_dvc_brought_and_searches_with_it(
    trained: Project, tmp_path: Path
) -> None:
    clone = trained.copy(tmp_path / "clone")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    clone.run("git", "add", "-A")
    clone.run("git", *author, "commit", "-qm", "results")
    (clone.folder / "notes.txt").write_text("a later commit\n")
    clone.run("git", "add", "-A")
    clone.run("git", *author, "commit", "-qm", "notes")
    (clone.folder / "mlflow.db").rename(tmp_path / "first.db")
    shutil.rmtree(clone.folder / "mlartifacts")
    asked = ("python", "-m", "pipelines", "summary")
    before = " ".join(clone.run(*asked).stdout.split())
    assert "`hemline register` registers the network that lies here" in before
    assert not (clone.folder / "mlflow.db").exists(), "asking makes no store"

    for _ in range(2):  # again: the same run and version
        told = clone.run("python", "-m", "pipelines", "register").stdout
    assert "registered models:/hemline/1" in told
    client = mlflow.MlflowClient(clone.tracking_uri)
    (version,) = client.search_model_versions("name='hemline'")
    first = mlflow.MlflowClient(f"sqlite:///{tmp_path}/first.db")
    named = files.read_json(clone.folder / "models/run.json")["run_id"]
    original, copy = first.get_run(named), client.get_run(version.run_id)
    assert copy.data.tags["hemline.origin_run"] == named
    commit = clone.run("git", "rev-parse", "HEAD~1").stdout.strip()
    assert copy.data.tags["mlflow.source.git.commit"] == commit, "the one with the results"
    assert version.tags["hemline.commit"] == commit
    same = ("hemline.split", "dvc.data/store", "dvc.data/splits", "dvc_out.models/network")
    for tag in same:
        assert copy.data.tags[tag] == original.data.tags[tag], tag
    params = {name: original.data.params[name] for name in copy.data.params}
    assert copy.data.params == params
    assert {"model.backbone", "train.seed", "data.root"} <= params.keys()
    scores = {name: value for name, value in copy.data.metrics.items() if "test/map" in name}
    assert scores
    assert {name: original.data.metrics[name] for name in scores} == scores
    assert copy.info.status == "FINISHED"
    lineage = clone.run("python", "-m", "pipelines", "lineage", "models:/hemline/1").stdout
    assert commit[:12] in lineage
    attribute = next(iter(files.read_json(clone.folder / "metrics/evaluation.json")["attributes"]))
    catalog = tables.read_catalog(clone.folder / "data/catalog")
    image = f"data/raw/wardrobe/{catalog.images['path'][0].as_py()}"
    found = ("--image", image, "--attribute", attribute, "--sheet", str(tmp_path / "a.png"))
    assert clone.run("python", "-m", "pipelines", "search", *found).stdout
    after = " ".join(clone.run(*asked).stdout.split())
    assert "models:/hemline/1 (challenger) in sqlite:" in after
