"""The line over pictures that are cropped to their boxes: all that decodes sees the same."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from project import Project

from components.embedding.embeddings import read_embeddings
from components.images.decode import decode
from components.images.store import ImageStore

pytestmark = pytest.mark.slow

PRODUCTS = "data/raw/products"
PARAMS = {
    "data": {"format": "table", "root": PRODUCTS},
    "preprocess": {"crop": "box"},
    "sampling": {"attributes": ["item"], "attributes_per_batch": 1, "batches_per_epoch": 4},
    "model": {"name": "triplet_network"},
    "embed": {"num_workers": 0, "storage": "float32"},
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    project = Project(tmp_path_factory.mktemp("cropped") / "hemline", programs=warm)
    project.set_params(PARAMS)
    drawn = ("--items", "30", "--photos-per-item", "4", "--image-size", "96")
    project.run("python", "-m", "pipelines", "wardrobe", "--out", PRODUCTS, *drawn)
    forget_boxes(project.folder / PRODUCTS / "labels.csv", every=7)
    project.run("dvc", "repro")
    return project


def forget_boxes(table: Path, *, every: int) -> None:
    """Empties the cells of the boxes of some rows."""
    with table.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    for row in rows[::every]:
        row.update({name: "" for name in row if name.startswith("box_")})
    write_rows(table, rows)


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def vectors_of(folder: Path) -> dict[str, np.ndarray]:
    """Returns the vectors of items by path."""
    embedded = read_embeddings(folder)
    images = embedded.items()
    path_of = dict(zip(images["image"].to_pylist(), images["path"].to_pylist(), strict=True))
    return {
        path_of[image]: vector
        for part in embedded.vectors("item")
        for image, vector in zip(part.images_n.tolist(), part.embeddings_nD, strict=True)
    }


def test_store_model_and_version_record_the_crop(line: Project) -> None:
    for name in ("data/store/manifest.json", "models/network/model.json"):
        assert json.loads((line.folder / name).read_text())["crop"] == "box"
    (package,) = line.folder.glob("mlartifacts/**/package.json")
    assert json.loads(package.read_text())["crop"] == "box"


def test_files_are_embedded_as_the_store_was(line: Project) -> None:
    """With the catalog's boxes, and whole where it knows none."""
    line.run("hemline", "embed", "--images", PRODUCTS, "--embeddings", "from_files")
    stored, read = (vectors_of(line.folder / name) for name in ("data/embeddings", "from_files"))
    assert stored.keys() == read.keys()
    for path, vector in stored.items():
        np.testing.assert_array_equal(read[path], vector, err_msg=path)


def test_a_region_asks_as_its_box_does(line: Project) -> None:
    """The embedded picture's copy is found with a similarity of 1."""
    with (line.folder / PRODUCTS / "labels.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["box_left"])
    left, top, right, bottom = (
        float(row[f"box_{edge}"]) for edge in ("left", "top", "right", "bottom")
    )
    whole = next((line.folder / PRODUCTS).rglob(Path(row["image"]).name))
    other = line.folder / "other.png"  # of another content, so that it is no copy
    other.write_bytes(whole.read_bytes() + b"0")
    asked = f"{other}#xywh={left},{top},{right - left},{bottom - top}"
    search = ("hemline", "search", "--image", asked, "--attribute", "item", "--format", "json")
    nearest = json.loads(line.run(*search).stdout)["found"][0]
    assert nearest["path"].endswith(row["image"])
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)


def test_another_box_decodes_and_embeds_its_image_again(line: Project, tmp_path: Path) -> None:
    project = line.copy(tmp_path / "hemline")
    table = project.folder / PRODUCTS / "labels.csv"
    with table.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    row = next(row for row in rows if row["box_left"])
    row.update({"box_left": "1", "box_top": "2", "box_right": "33", "box_bottom": "44"})
    write_rows(table, rows)
    before = vectors_of(project.folder / "data/embeddings")
    project.run("dvc", "repro", "ingest")
    folders = ("--catalog", "data/catalog", "--store", "data/store")
    assert "1 decoded" in project.run("hemline", "preprocess", *folders).stdout
    project.run("hemline", "embed")
    after = vectors_of(project.folder / "data/embeddings")
    changed = {path for path in after if not np.array_equal(before[path], after[path])}
    assert len(changed) == 1
    assert changed.pop().endswith(row["image"])
    data = next((project.folder / PRODUCTS).rglob(Path(row["image"]).name)).read_bytes()
    expected = decode(data, image_size_px=64, crop="box", box=(1, 2, 33, 44))
    store = ImageStore(project.folder / "data/store")
    assert (store.gather(store.images) == expected).all(axis=(1, 2, 3)).sum() == 1


def test_a_store_of_another_crop_is_refused(line: Project, tmp_path: Path) -> None:
    project = line.copy(tmp_path / "hemline")
    project.set_params({"preprocess": {"crop": "centre"}})
    project.run("dvc", "repro", "preprocess")
    refused = project.run("hemline", "embed", check=False)
    assert refused.returncode == 1
    said = " ".join(refused.stderr.split())
    assert "sees pictures with crop box, and the store has them with crop centre" in said
    assert "set preprocess.crop to box and run `dvc repro preprocess`" in said
