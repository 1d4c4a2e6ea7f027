"""The line with AHBN: products with boxes and landmarks, from training in stages to search."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from products import ITEM, SIDE_PX, Products
from project import Project

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.labelled import Box, LabelledImages, Landmark

pytestmark = pytest.mark.slow

PRODUCTS = Products()
NAMES = ("left hem", "right hem")
PARAMS = {
    "data": {"format": "table", "root": "data/raw/products"},
    "preprocess": {"crop": "box"},
    "sampling": {
        "attributes": [ITEM],
        "attributes_per_batch": 1,
        "values_per_attribute": 8,
        "batches_per_epoch": 4,
    },
    "model": {
        "name": "ahbn",
        "bilinear_dim": 64,
        "landmark_channels": 16,
        "num_hourglasses": 1,
    },
    "train": {
        "objective": "classification",
        "sampled_classes": 12,
        "classification_epochs": 1,
    },
    "embed": {"num_workers": 0},
}


def marked() -> LabelledImages:
    """Returns products, each in the lower half of its picture, with both ends of its hem."""
    labelled, half = PRODUCTS.labelled(), SIDE_PX / 2
    paths = [*PRODUCTS.item_of]
    return replace(
        labelled,
        boxes=[Box(path, 0, half, SIDE_PX, SIDE_PX) for path in paths],
        landmarks=[
            Landmark(path, name, x, SIDE_PX - 4.0, "visible")
            for path in paths
            for name, x in zip(NAMES, (8.0, SIDE_PX - 8.0), strict=True)
        ],
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    project = Project(tmp_path_factory.mktemp("ahbn") / "hemline", programs=warm)
    project.set_params(PARAMS)
    root = project.folder / PARAMS["data"]["root"]
    PRODUCTS.write(root)
    catalog = build_catalog(marked(), root, exclude_attributes=())
    tables.write_catalog(catalog, project.folder / "data/catalog")
    stages = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        if name != "ingest":
            project.run("bash", "-c", stage["cmd"])
    return project


def test_evaluation_says_how_far_landmarks_are(line: Project) -> None:
    found = json.loads((line.folder / "metrics/evaluation.json").read_text())["landmarks"]
    assert [*found["landmarks"]] == [*NAMES]
    assert 0 < found["error"] < 1.5
    assert found["mean_place_error"] == pytest.approx(0, abs=1e-6)  # the same in every picture
    splits = tables.read_splits(line.folder / "data/splits").to_pandas()
    num_images = splits[splits["split"] == "test"]["image"].nunique()
    assert found["num_visible"] == 2 * num_images


def test_the_learning_curve_has_every_loss(line: Project) -> None:
    rows = [*csv.DictReader((line.folder / "plots/training.csv").open())]
    for row in rows:
        assert all(float(row[f"{name}_loss"]) > 0 for name in ("ranking", "landmark"))
        assert float(row["classification_loss"]) > 0
    first, second = (float(row["loss"]) for row in rows)
    branches = [float(row["classification_loss"]) + float(row["landmark_loss"]) for row in rows]
    assert first == pytest.approx(branches[0], rel=1e-5), "the first epoch is that of branches"
    assert second == pytest.approx(branches[1] + float(rows[1]["ranking_loss"]), rel=1e-5)


def test_search_finds_products_with_the_registered_model(line: Project) -> None:
    query = f"data/raw/products/photos/{PRODUCTS.names[3]}/street-1.png"
    asked = ("search", "--image", query, "--attribute", ITEM, "--where", "domain=shop")
    found = json.loads(line.run("hemline", *asked, "--format", "json").stdout)["found"]
    assert found
    assert all("/shop-" in each["path"] for each in found)
