"""`hemline grow` where only values are new: nothing is trained, and prototypes know them."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from builders import PROJECT, splits_table
from small_run import MODEL, NUM_IMAGES, SCHEMA, TRAIN, write_inputs

from components import files, tables
from components.attributes import Attribute
from components.errors import HemlineError
from components.images.store import ImageStore
from components.models.build import build_model
from components.params import TrainParams
from components.prototypes.prototypes import read_prototypes
from components.registry.versions import RegisteredVersion, write_registration
from components.tracking.runs import Tracking
from components.training.growth import grow
from components.training.state import BEST_WEIGHTS
from components.training.trained import (
    TrainedModel,
    read_trained_model,
    save_weights,
    write_trained_model,
)
from pipelines.operations.grow import command
from pipelines.operations.grow.command import prepare
from pipelines.stages.prototypes import prototypes

VERSION = RegisteredVersion(name="hemline", version=1)
GRAPH = "a1" * 32
IMAGES = np.arange(NUM_IMAGES)
COLLAR = SCHEMA.index("collar")
WITH_BOAT = replace(
    SCHEMA,
    attributes=(
        SCHEMA.attributes[0],
        Attribute(name="collar", values=("none", "round", "boat")),
    ),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of eight images, whose registry has a version that knows all of its values."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path / "data", num_epochs=1, steps_per_epoch=1)
    torch.manual_seed(0)
    network = build_model(num_values=[2, 2], **asdict(MODEL)).eval().for_inference()
    save_weights(network, Path("weights"))
    registered = Path("registered")
    write_trained_model(
        registered,
        Path("weights"),
        description={"model": asdict(MODEL)},
        schema=SCHEMA,
        image_size_px=ImageStore(Path("data/store")).image_size_px,
    )
    write_registration(VERSION, registered / tables.PARENT_VERSION, graph_sha256=GRAPH)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["model"] |= asdict(MODEL)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(command, "take_parent", lambda _, to, **__: shutil.copytree(registered, to))
    monkeypatch.setattr(command.dvc, "track", lambda _: None)
    return tmp_path


def label(boats: int, *, split: str = "train") -> None:
    """Gives the catalog the value `boat`, and the last so many images of a split a label of it."""
    files.write_json(WITH_BOAT.as_dict(), Path("data/catalog/schema.json"))
    rows = []
    for row in tables.read_splits(Path("data/splits")).to_pylist():
        is_boat = row["split"] == split and row["image"] >= NUM_IMAGES - boats
        value = 2 if is_boat and row["attribute"] == COLLAR else row["value"]
        rows.append((row["image"], row["attribute"], value, row["split"], row["role"]))
    path = Path("data/splits") / tables.SPLITS_FILE
    files.write_table(splits_table(rows), path, schema=tables.SPLITS)


def prepared(attributes: list[str] | None = None):
    where = Tracking(uri="sqlite:///none.db", artifact_root="none")
    return prepare(VERSION, attributes, params=Path("params.yaml"), where=where)


def parent_of_params() -> str | None:
    return yaml.safe_load(Path("params.yaml").read_text())["train"]["parent"]


def test_a_version_is_grown_by_values_alone(project):
    label(boats=3)
    growth = prepared()
    assert growth.text == "models:/hemline/1 is grown, which adds collar=boat (3 training images)"
    assert growth.new == []
    assert parent_of_params() == GRAPH
    assert (project / "models/parent" / tables.PARENT_VERSION).exists()


def test_nothing_is_trained_and_the_value_has_a_prototype(project):
    """Embeddings are the parent's to the bit; the vector is the mean of those with the value."""
    label(boats=3)
    growth = prepared()
    train_params = TrainParams(**TRAIN)
    grown = grow(growth, train_params, folder=project / "state", log=lambda *_, **__: None)
    write_trained_model(
        project / "network",
        project / "state" / BEST_WEIGHTS,
        description=grown.description,
        schema=growth.schema,
        image_size_px=growth.store.image_size_px,
    )
    ours = embeddings(read_trained_model(project / "network"))
    assert torch.equal(ours, embeddings(growth.parent.model))
    made = Path("prototypes.parquet")
    prototypes(
        model=project / "network",
        store="data/store",
        splits=Path("data/splits"),
        prototypes_file=made,
    )
    mean_D = ours[-3:, COLLAR].mean(dim=0)
    expected_D = (mean_D / mean_D.norm()).numpy()
    # float32: three numbers are added in another order
    np.testing.assert_allclose(read_prototypes(made).of("collar", "boat"), expected_D, atol=1e-6)


def embeddings(model: TrainedModel) -> torch.Tensor:
    """Returns a model's embeddings of all images for both attributes."""
    pixels = torch.from_numpy(ImageStore(Path("data/store")).gather(IMAGES))
    with torch.inference_mode():
        return model.embed(pixels, torch.arange(2).expand(NUM_IMAGES, -1))


@pytest.mark.parametrize("boats", [0, 3])
def test_values_that_no_training_image_has_are_nothing_to_grow(project, boats):
    label(boats=boats, split="valid")
    with pytest.raises(HemlineError, match="every value of its training images: there is nothing"):
        prepared()
    assert parent_of_params() is None
    assert not (project / "models/parent").exists()


def test_an_attribute_that_is_known_is_not_asked_for(project):
    """Its embedding stays: what is asked for would be another one."""
    label(boats=3)
    with pytest.raises(HemlineError, match="knows collar already"):
        prepared(["collar"])
