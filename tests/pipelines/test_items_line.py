"""The line over products with items: from photographs of the street to those of the shop."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from products import ITEM, Products
from project import Project

from components import tables
from components.embedding.embeddings import read_embeddings
from components.prototypes.prototypes import read_prototypes

pytestmark = pytest.mark.slow

PRODUCTS = Products()
PARAMS = {
    "data": {"format": "table", "root": "data/raw/products"},
    "sampling": {"attributes_per_batch": 2, "batches_per_epoch": 4},
    "model": {"name": "triplet_network"},
    "embed": {"num_workers": 0},
}


def run_line(folder: Path, warm: Path, *, exclude: Sequence[str] = ()) -> Project:
    """Returns a project where `dvc repro` has run."""
    project = Project(folder / "hemline", programs=warm)
    project.set_params(PARAMS)
    project.set_params({"data": {"exclude_attributes": [*exclude]}})
    PRODUCTS.write_table(project.folder / PARAMS["data"]["root"])
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    project.run("git", *author, "commit", "-qam", "products")
    project.run("dvc", "repro")
    return project


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    return run_line(tmp_path_factory.mktemp("items"), warm)


def answer(project: Project, *command: str) -> Any:
    """Returns what a command prints as JSON."""
    return json.loads(project.run("hemline", *command, "--format", "json").stdout)


def test_items_never_straddle_splits(line: Project) -> None:
    splits = tables.read_splits(line.folder / "data/splits").to_pandas()
    schema = tables.read_schema(line.folder / "data/catalog")
    of_items = splits[splits["attribute"] == schema.index(ITEM)]
    assert (of_items.groupby("value")["split"].nunique() == 1).all()


def test_values_have_prototypes_and_items_have_none(line: Project) -> None:
    found = read_prototypes(line.folder / "models/prototypes.parquet")
    assert {*found.attributes} == {*found.weights} == {*found.calibrations} == {"neck", "hem"}
    embedded = read_embeddings(line.folder / "data/embeddings")
    assert {*embedded.attributes} == {"neck", ITEM, "hem"}
    figures = json.loads((line.folder / "metrics/evaluation.json").read_text())
    assert ITEM not in figures["tags"]["attributes"]
    assert ITEM not in figures["manipulation"].get("attributes", {})


def test_search_by_item_names_products(line: Project) -> None:
    query = f"photos/{PRODUCTS.names[3]}/street-1.png"
    asked = ("search", "--id", query, "--attribute", ITEM, "--where", "domain=shop")
    found = answer(line, *asked)
    assert found["query"]["values"][ITEM] == [PRODUCTS.names[3]]
    for each in found["found"]:
        (name,) = each["values"][ITEM]
        assert each["path"].endswith(f"photos/{name}/{each['path'][-10:]}")
        assert "/shop-" in each["path"]
        agrees = name == PRODUCTS.names[3]
        assert each["verdict"] == ("agrees" if agrees else "differs")
    by_picture = answer(line, "search", "--image", f"data/raw/products/{query}", *asked[3:])
    assert by_picture["query"]["values"] == found["query"]["values"]
    assert [x["image"] for x in by_picture["found"]] == [x["image"] for x in found["found"]]


def test_lineage_and_card_count_items_and_domains(line: Project) -> None:
    version = answer(line, "summary")["model"]
    counts = answer(line, "lineage", version)["data_sets"][0]["counts"]
    assert (counts["items"], counts["shop images"], counts["street images"]) == (40, 78, 79)
    card = next(line.folder.glob("mlartifacts/**/model_card.md")).read_text()
    assert "By `item`, it finds other photographs of the same product" in card


def test_tags_and_neighbours_are_made_and_checked(line: Project) -> None:
    assert {*answer(line, "tag")["calibrations"]} == {"neck", "hem"}
    lists = answer(line, "neighbours", "--attribute", ITEM, "--top-k", "3")
    assert lists["comparisons"][0]["num_items"] == len(PRODUCTS.item_of)
    line.run("hemline", "check")


def test_products_are_measured_and_the_first_to_be_tried(line: Project) -> None:
    figures = json.loads((line.folder / "metrics/evaluation.json").read_text())
    assert ITEM in figures["attributes"]
    printed = line.run("hemline", "summary").stdout
    assert f"--attribute {ITEM} --where domain=shop" in " ".join(printed.split())
    assert f"items found   hit@20 {figures['attributes'][ITEM]['hit_at_20']:.1f} (" in printed
    card = next(line.folder.glob("mlartifacts/**/model_card.md")).read_text()
    assert "| item | 40 |" in card


def test_a_served_model_embeds_for_items_and_does_not_name_them(line: Project) -> None:
    """In a Python of its own, which has the files of the version alone."""
    photo = line.folder / "data/raw/products/photos/A-001/shop-1.png"
    version = answer(line, "summary")["model"]
    script = f"""
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model({version!r})
rows = pd.DataFrame({{"image": [{str(photo)!r}]}})
named = model.predict(rows, params={{"values": True}}).drop(columns="embedding")
print(named.to_json(orient="records"))
"""
    environment = f"MLFLOW_TRACKING_URI={line.tracking_uri}"
    printed = line.run("env", environment, "python", "-c", script).stdout.splitlines()[-1]
    rows = {row.pop("attribute"): row for row in json.loads(printed)}
    assert set(rows) == {"neck", ITEM, "hem"}
    assert rows["neck"]["value"] in ("v", "round")
    assert set(rows[ITEM].values()) == {None}


def test_vectors_of_items_are_searched_for_as_others(line: Project) -> None:
    parts = sorted((line.folder / "data/embeddings/vectors").glob("*-item.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in parts) == len(PRODUCTS.item_of)


def test_an_index_finds_the_products_that_exact_search_finds(line: Project) -> None:
    asked = ("search", "--id", "0", "--attribute", ITEM, "--top-k", "5")
    exact = answer(line, *asked, "--exact")["found"]
    line.run("hemline", "index", "--attribute", ITEM)
    by_index = answer(line, *asked)["found"]
    assert [each["path"] for each in by_index] == [each["path"] for each in exact]


def test_a_version_is_reproduced_bit_by_bit(line: Project) -> None:
    version = answer(line, "summary")["model"]
    found = answer(line, "reproduce", version, "--from-scratch")
    verdicts = {row["output"]: row["verdict"] for row in found["outputs"]}
    assert found["verdict"] == "identical"
    assert verdicts["models/network"] == verdicts["data/splits"] == "identical"


def test_a_data_set_of_products_alone_needs_no_values(tmp_path: Path, warm: Path) -> None:
    line = run_line(tmp_path, warm, exclude=["neck", "hem"])
    assert read_prototypes(line.folder / "models/prototypes.parquet").attributes == {}
    figures = json.loads((line.folder / "metrics/evaluation.json").read_text())
    assert [*figures["attributes"]] == [ITEM]
    assert figures["tags"] == {}
    assert [*figures["manipulation"]] == ["not_measured"]
    found = answer(line, "search", "--id", "0", "--attribute", ITEM, "--top-k", "3")["found"]
    assert len(found) == 3
    refused = line.run("hemline", "tag", check=False)
    assert refused.returncode == 1
    assert "no value of 'item' has a prototype: single products have none" in refused.stderr
