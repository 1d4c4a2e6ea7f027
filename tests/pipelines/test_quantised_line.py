"""A version in 8-bit integers: made, measured, registered, embedded with, searched and served.

The tests of this file follow one another on one project.
"""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from growing import NAMES, SIZE_PX, write_pictures
from project import Project

from components.embedding.embeddings import Embeddings, read_embeddings
from components.images.store import ImageStore
from components.registry.package import Inference, Package, read_package

pytestmark = pytest.mark.slow
pytest.importorskip("nncf", reason="the extra hemline[openvino] is not installed")

PARAMS = {
    "data": {"format": "table", "root": "data/raw/quarters"},
    "preprocess": {"image_size_px": SIZE_PX},
    "sampling": {
        "attributes_per_batch": 2,
        "batches_per_epoch": 4,
        "num_epochs": 1,
        "values_per_attribute": 3,
    },
    "train": {"flip_probability": 0.0},
    "embed": {
        "num_workers": 0,
        "images_per_part": 64,
        "runtime": "openvino",
        "precision": "int8",
    },
    "gate": {  # so little training may end anywhere
        "max_quantisation_drop": 100.0,
        "min_above_random": -100.0,
        "max_mean_similarity": 1.0,
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    project = Project(tmp_path_factory.mktemp("quantised") / "hemline", programs=warm)
    project.set_params(PARAMS)
    write_pictures(project.folder / "data/raw/quarters")
    project.run("git", "add", "params.yaml")
    project.run("git", "commit", "-qm", "quarters")
    project.run("dvc", "repro")
    return project


def package_of(project: Project, number: int) -> Package:
    mlflow.set_tracking_uri(project.tracking_uri)
    uri = f"models:/hemline/{number}"
    return read_package(Path(mlflow.artifacts.download_artifacts(uri)) / "artifacts")


def embeddings(project: Project) -> Embeddings:
    return read_embeddings(project.folder / "data/embeddings")


def test_what_integers_change_is_measured_and_on_the_card(project: Project) -> None:
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    found = figures["quantisation"]
    assert found["map"] == pytest.approx(figures["map"] + found["map_change"])
    assert found["attributes"].keys() == figures["attributes"].keys()
    for name, row in found["attributes"].items():
        assert row["map"] == pytest.approx(figures["attributes"][name]["map"] + row["map_change"])
    assert 0.9 < found["smallest_cosine"] < 0.99999
    card = (package_of(project, 1).folder / "model_card.md").read_text()
    assert f"MAP is {found['map']:.2f} ({found['map_change']:+.2f}" in card
    assert "has no such graph" not in card


def test_the_folder_is_in_integers_and_says_so(project: Project) -> None:
    package, embedded = package_of(project, 1), embeddings(project)
    assert embedded.inference == Inference("openvino", "int8")
    assert embedded.quantised == package.quantised_key
    store = ImageStore(project.folder / "data/store")
    in_integers = package.run_by(embedded.inference).load_network()
    in_floating_point = package.load_network()
    every = torch.arange(len(NAMES))
    for part in embedded.vectors("hem"):
        pixels = torch.from_numpy(store.gather(part.images_n))
        asked = every.expand(len(pixels), -1)
        expected = in_integers(pixels, asked)[:, NAMES.index("hem")].numpy()
        other = in_floating_point(pixels, asked)[:, NAMES.index("hem")].detach().numpy()
        np.testing.assert_allclose(part.embeddings_nD, expected, atol=1e-3)  # float16 of 1
        assert np.abs(part.embeddings_nD - other).max() > 5e-3


def test_a_query_is_embedded_as_the_folder_is(project: Project) -> None:
    """Its similarity with items is that of vectors in the folder, where it is one of them."""
    picture = project.folder / "data/raw/quarters/images/003.png"
    arguments = ["search", "--image", str(picture), "--attribute", "hem", "--top-k", "20"]
    found = json.loads(project.run("hemline", *arguments, "--format", "json").stdout)["found"]
    stored = stored_by_name(project)
    assert len(found) == 20
    for row in found:
        expected = stored[Path(row["path"]).name] @ stored["003.png"]
        assert row["similarity"] == pytest.approx(expected, abs=2e-3)


def test_it_is_served_in_integers(project: Project) -> None:
    mlflow.set_tracking_uri(project.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/hemline/1")
    picture = project.folder / "data/raw/quarters/images/003.png"
    served = model.predict(pd.DataFrame({"image": [str(picture)], "attribute": ["hem"]}))
    np.testing.assert_allclose(
        served["embedding"][0], stored_by_name(project)["003.png"], atol=1e-3
    )


def stored_by_name(project: Project) -> dict[str, np.ndarray]:
    """Returns the vectors of `hem` in the folder, by the names of the pictures."""
    embedded = embeddings(project)
    items = embedded.items().to_pandas().set_index("image")["path"]
    return {
        Path(items[image]).name: vector.astype(np.float32)
        for part in embedded.vectors("hem")
        for image, vector in zip(*part, strict=True)
    }


def test_a_graph_that_loses_too_much_stays_behind(project: Project) -> None:
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    figures["quantisation"]["map_change"] = -0.31
    (project.folder / "metrics/evaluation.json").write_text(json.dumps(figures))
    project.set_params({"gate": {"max_quantisation_drop": 0.3}})
    done = project.run("hemline", "register")
    assert "more than gate.max_quantisation_drop 0.3 allows" in " ".join(done.stderr.split())
    package = package_of(project, 2)
    assert not package.quantised_crc32
    assert "this version has no such graph" in (package.folder / "model_card.md").read_text()
    done = project.run("hemline", "embed")
    assert "models:/hemline/2 has no graph in 8-bit integers" in " ".join(done.stderr.split())
    assert embeddings(project).inference.runtime == "openvino"
    assert embeddings(project).inference.precision in {"bf16", "fp32"}


def test_without_int8_nothing_is_made(project: Project) -> None:
    project.set_params({"embed": {"runtime": "torch", "precision": "auto"}})
    project.run("dvc", "repro", "quantise")
    assert [path.name for path in (project.folder / "models/quantised").iterdir()] == [
        "quantised.json"
    ]
