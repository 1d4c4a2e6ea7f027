"""Nights of a shop where an attribute comes: it is grown, for real, and all else stays as it is.

One project goes through them in the order of the tests, in this process; DVC and its stages are
processes of their own.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml
from builders import encoded, write_files
from nights import killed, killed_at, retrain
from PIL import Image
from project import Project

from components.embedding.embeddings import read_embeddings
from components.registry.versions import EXTENDS_TAG
from pipelines.operations.grow import command as grow

pytestmark = pytest.mark.slow

RAW = "data/raw/shop"
KNOWN, NEW = "top", "bottom"
NUM_IMAGES = 160
COLOURS = [(220, 60, 60), (60, 220, 60), (60, 60, 220)]
SHOP = {
    "data": {"format": "table", "root": RAW},
    "preprocess": {"image_size_px": 32},
    "embed": {"num_workers": 0},
    "split": {"train_share": 0.5, "valid_share": 0.2, "test_share": 0.3, "query_share": 0.5},
    "sampling": {
        "num_epochs": 1,
        "batches_per_epoch": 1,
        "attributes_per_batch": 1,
        "values_per_attribute": 3,
        "images_per_value": 4,
        "evaluation_triplets": 20,
    },
    "checkpoint": {"every_steps": 100},
    # a single step teaches next to nothing: of the first champion, nothing is asked
    "gate": {"max_mean_similarity": 1.0, "min_above_random": -100.0},
    "retrain": {"max_label_shift": 0.5, "strategy": "auto"},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project with two-coloured images, of which the upper half's colour is labelled."""
    project = Project(tmp_path_factory.mktemp("shop") / "hemline", programs=warm)
    project.set_params(SHOP)
    rng = np.random.default_rng(3)
    for image in range(NUM_IMAGES + 40):
        halves = np.repeat([COLOURS[value] for value in values(image)], 16, axis=0)
        pixels = halves[:, None] + rng.normal(0, 20, (32, 32, 3))
        write_files(
            project.folder / RAW,
            {f"{image}.png": encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))},
        )
    label(project, [KNOWN], num_images=NUM_IMAGES)
    return project


def values(image: int) -> tuple[int, int]:
    """Returns the number of the upper half's colour, and of the lower's."""
    return image % 3, image // 3 % 3


def label(project: Project, attributes: list[str], *, num_images: int) -> None:
    """Labels the first so many images, and commits them."""
    lines = ["image,attribute,value"]
    for image in range(num_images):
        named = dict(zip((KNOWN, NEW), values(image), strict=True))
        lines += [f"{image}.png,{name},colour-{named[name]}" for name in attributes]
    write_files(project.folder / RAW, {"labels.csv": "\n".join(lines) + "\n"})
    project.run("dvc", "add", RAW)
    commit(project, f"labels of {', '.join(attributes)}")


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", message)


def summary(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.folder / "reports/retrain.json").read_text())
    return content


def git(project: Project, *arguments: str) -> str:
    return project.run("git", *arguments).stdout.strip()


def committed(project: Project) -> set[str]:
    return set(git(project, "show", "--name-only", "--format=", "HEAD").split())


def parent(project: Project) -> str | None:
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    found: str | None = params["train"]["parent"]
    return found


def tags(project: Project, version: int) -> dict[str, str]:
    client = mlflow.MlflowClient(project.tracking_uri)
    found: dict[str, str] = client.get_model_version("hemline", str(version)).tags
    return found


def vectors(project: Project, version: int) -> np.ndarray:
    embedded = read_embeddings(project.folder / f"data/published/hemline-{version}")
    return np.concatenate([part.embeddings_nD for part in embedded.vectors(KNOWN)])


def test_the_first_night_trains_the_whole_network(shop: Project) -> None:
    retrain(shop, status=0)
    told = summary(shop)
    assert (told["outcome"], told["champion_after"], told["grown"]) == ("promoted", 1, [])
    assert parent(shop) is None


def test_an_attribute_that_comes_is_grown_wherever_it_is_killed(shop: Project) -> None:
    label(shop, [KNOWN, NEW], num_images=NUM_IMAGES)
    base = git(shop, "rev-parse", "HEAD")
    for owner, name in ((grow.dvc, "track"), (grow, "write_values")):
        killed(shop, owner, name)
    for step in ("gate and promote", "commit", "tag"):
        killed_at(shop, step)
    retrain(shop, status=0)
    told = summary(shop)
    assert told["resumed"]
    assert (told["champion_before"], told["champion_after"]) == (1, 2)
    assert (told["grown"], told["note"]) == ([NEW], f"{NEW} grown from models:/hemline/1")
    assert told["findings"] == []
    assert told["verdict"]["unchanged"] == [KNOWN]
    assert tags(shop, 2)[EXTENDS_TAG] == "models:/hemline/1"
    assert parent(shop) == tags(shop, 1)["hemline.graph_sha256"]
    assert {"dvc.lock", "models/parent.dvc", "params.yaml"} <= committed(shop)
    assert git(shop, "rev-list", f"{base}..HEAD") == told["commit"]
    assert git(shop, "status", "--porcelain") == ""
    assert git(shop, "tag").split() == ["retrain-1-promoted", "retrain-2-promoted"]
    known = len(vectors(shop, 1))
    np.testing.assert_array_equal(vectors(shop, 2)[:known], vectors(shop, 1))
    retrain(shop, status=11)


def test_images_that_come_are_learned_by_the_whole_network(shop: Project) -> None:
    label(shop, [KNOWN, NEW], num_images=NUM_IMAGES + 20)
    retrain(shop, status=10)  # in a single step
    told = summary(shop)
    assert told["grown"] == []
    assert told["note"].startswith("the whole network is trained: ")
    assert parent(shop) is None
    assert "params.yaml" in committed(shop)
    assert EXTENDS_TAG not in tags(shop, 3)


def test_nights_that_grow_leave_images_for_later(shop: Project) -> None:
    shop.set_params({"retrain": {"strategy": "grow"}})
    commit(shop, "grow")
    label(shop, [KNOWN, NEW], num_images=NUM_IMAGES + 40)
    before = tags(shop, 3)
    retrain(shop, status=11)
    told = summary(shop)
    assert (told["outcome"], told["version"], told["verdict"]) == ("nothing new", 3, None)
    assert told["note"].startswith("nothing is grown: no attribute is new; not learned: ")
    assert committed(shop) == {"dvc.lock"}
    assert git(shop, "log", "-1", "--format=%s") == ("Retrain: nothing was grown, version 3 stands")
    assert tags(shop, 3) == before
    made = git(shop, "rev-parse", "HEAD")
    retrain(shop, status=11)
    assert git(shop, "rev-parse", "HEAD") == made
    assert git(shop, "status", "--porcelain") == ""
