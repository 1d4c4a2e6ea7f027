"""`hemline neighbours`: by each attribute, by several together, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import PROJECT, images_table, labels_table
from documents import check_document
from embedded_folders import unit_vectors, write_embedded_folder

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.tables import Catalog, Numbering
from pipelines.shell.cli import main

NUM_ITEMS = 40


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of a catalog in which every second item has a label of the collar."""
    monkeypatch.chdir(tmp_path)
    vectors = {
        name: unit_vectors(NUM_ITEMS, 8, seed=place)
        for place, name in enumerate(("collar", "length"))
    }
    write_embedded_folder(tmp_path / "data/embeddings", vectors)
    attributes = tuple(Attribute(name=name, values=("a", "b")) for name in vectors)
    catalog = Catalog(
        schema=AttributeSchema(dataset="d", attributes=attributes),
        numbering=Numbering(origin="o", next_image=NUM_ITEMS),
        images=images_table([f"{number:064d}" for number in range(NUM_ITEMS)]),
        labels=labels_table(
            [(number, 0, number % 4 // 2) for number in range(0, NUM_ITEMS, 2)]
            + [(number, 1, 0) for number in range(NUM_ITEMS)]
        ),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )
    tables.write_catalog(catalog, tmp_path / "data/catalog")


def run(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["neighbours", *arguments])
    assert (stopped.value.code or 0) == status


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    run(*arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


def test_each_attribute_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    run("--top-k", "3")
    assert capsys.readouterr().out.splitlines() == [
        "collar: 120 neighbours of 40 items, exact",
        "length: 120 neighbours of 40 items, exact",
        "lists made: 80, merged with what changed: 0, kept: 0",
        "table: data/neighbours/nearest",
    ]
    table = pd.read_parquet("data/neighbours/nearest")
    assert {*table["attribute"]} == {"collar", "length"}
    assert (table.loc[table["attribute"] == "collar", "neighbour"] % 2 == 0).all()  # labelled
    run("--top-k", "3")
    assert "lists made: 0, merged with what changed: 0, kept: 80" in capsys.readouterr().out


def test_json_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answered(capsys, "--attribute", "collar", "--where", "collar=b", "--out", "there")
    check_document("neighbours", answer)
    assert answer["neighbours"] == "there/nearest"
    table = pd.read_parquet("there/nearest")
    assert {*table["neighbour"]} == {*range(2, NUM_ITEMS, 4)}
    assert len({*table["item"]}) == NUM_ITEMS


def test_several_together(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--attribute", "length", "--attribute", "collar=2", "--together", "--all-items"]
    (comparison,) = answered(capsys, *arguments)["comparisons"]
    assert comparison["weights"] == {"length": 1.0, "collar": 2.0}
    assert {*pd.read_parquet("data/neighbours/nearest")["attribute"]} == {"length + collar=2"}


def test_a_weight_without_a_sum_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run("--attribute", "collar=2", status=1)
    assert "add --together" in capsys.readouterr().err
    run("--attribute", "collar=2", "--together", status=1)
    assert "--together sums several attributes" in capsys.readouterr().err
    assert not Path("data/neighbours").exists()


def test_an_unknown_attribute_or_condition_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run("--attribute", "sleeve", status=1)
    assert (
        "no attribute 'sleeve'; images are embedded for collar, length" in capsys.readouterr().err
    )
    run("--where", "colour=red", status=1)
    assert "no column 'colour'" in capsys.readouterr().err
    assert not Path("data/neighbours").exists()


@pytest.mark.slow
def test_on_ray_it_is_the_same_table() -> None:
    run()
    command = [sys.executable, "-m", "pipelines", "neighbours", "--num-workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([*command, "--out", "by ray"], env=environment, check=True)
    folders = (Path("data/neighbours/nearest"), Path("by ray/nearest"))
    here, there = ({path.name: path.read_bytes() for path in each.iterdir()} for each in folders)
    assert here == there
    assert len(here) == 2


def test_a_file_in_the_place_of_the_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").touch()
    run("--out", "taken", status=1)
    assert capsys.readouterr().err.splitlines()[-1].startswith("hemline: taken")
    assert Path("taken").read_bytes() == b""
