"""`hemline tag`: the table, what labels say of it, the audit, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from builders import PROJECT
from documents import check_document
from PIL import Image
from shops import NUM_ITEMS, SCHEMA, Shop

from components import files, tables
from pipelines.shell import reporting
from pipelines.shell.cli import main


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    made = Shop(tmp_path)
    made.embed("data/embeddings", made.export("package", seed=0), version=1)
    labels = made.catalog.labels.to_pandas()
    labels["split"] = ["train" if image % 3 else "test" for image in labels["image"]]
    labels["role"] = ["train" if image % 3 else "query" for image in labels["image"]]
    path = tmp_path / "data/splits" / tables.SPLITS_FILE
    files.write_table(tables.pa.Table.from_pandas(labels), path, schema=tables.LABELS)
    return made


def run(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tag", *arguments])
    assert (stopped.value.code or 0) == status


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    run(*arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


def test_tags_of_all_items_and_how_often_they_are_right(
    capsys: pytest.CaptureFixture[str], shop: Shop
) -> None:
    answer = answered(capsys)
    check_document("tag", answer)
    table = pd.read_parquet("data/tags/values")
    assert table.groupby("attribute")["item"].nunique().to_dict() == dict.fromkeys(
        SCHEMA.names, NUM_ITEMS
    )
    labels = shop.catalog.labels.to_pandas()
    for row in answer["accuracy"]:
        place = SCHEMA.names.index(row["attribute"])
        its = labels[(labels["attribute"] == place)]
        its = its[(its["image"] % 3 == 0) == (row["split"] == "test")]
        tags = table[table["attribute"] == row["attribute"]].set_index("item")["value"]
        given = its["value"].map(dict(enumerate(SCHEMA.attributes[place].values)))
        right = (tags.loc[its["image"]].to_numpy() == given.to_numpy()).mean()
        assert row["accuracy"] == pytest.approx(100 * right)
    assert answer["doubts"] == []


def test_the_audit_lists_labels_and_draws_them(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answered(capsys, "--audit", "--top", "4", "--sheet", "doubts.png")
    check_document("tag", answer)
    assert [each["rank"] for each in answer["doubts"]] == [1, 2, 3, 4]
    odds = [each["log_odds"] for each in answer["doubts"]]
    assert odds == sorted(odds, reverse=True)
    assert all(each["value"] not in each["labels"] for each in answer["doubts"])
    assert all(Path(each["path"]).is_file() for each in answer["doubts"])
    with Image.open("doubts.png") as sheet:
        assert sheet.width > 4 * 180
    run("--audit", "--top", "4")
    out = capsys.readouterr().out
    assert "labels that the model contradicts most" in out
    assert ("labels of train are fitted" in out) == any(x["is_fitted"] for x in answer["doubts"])


def test_the_audit_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting.console, "_width", 80)
    run("--audit", "--top", "4")
    _, _, audit = capsys.readouterr().out.partition("labels that the model contradicts most\n")
    table = [line for line in audit.splitlines() if line[0] in "┏┃┡│└"]
    assert max(map(len, table)) <= 80
    cells = [[cell.strip() for cell in line.split("│")] for line in table[3:-1]]
    assert [row[1] for row in cells if row[1]] == ["1", "2", "3", "4"]
    assert all(bool(row[8]) == bool(row[1]) for row in cells), "a path has one line"
    assert "paths are relative to raw" in audit


def test_an_attribute_that_is_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    once = answered(capsys, "--audit", "--attribute", SCHEMA.names[0])
    assert answered(capsys, "--audit", *["--attribute", SCHEMA.names[0]] * 2) == {
        **once,
        "num_made": 0,
    }


@pytest.mark.parametrize("option", ["--catalog", "--splits"])
def test_without_a_catalog_or_splits_items_have_tags_all_the_same(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """As where embeddings were fetched, and nothing else."""
    run(option, "nowhere", "--format", "json")
    captured = capsys.readouterr()
    assert (answer := json.loads(captured.out))["accuracy"] == []
    assert answer["num_items"] == NUM_ITEMS
    assert "no labels to compare with: nowhere/" in captured.err.replace("\n", " ")
    run(option, "nowhere", "--audit", "--out", "other", status=1)
    assert "is missing" in capsys.readouterr().err
    assert not Path("other").exists()


def test_the_audit_of_held_out_labels(capsys: pytest.CaptureFixture[str]) -> None:
    doubts = answered(capsys, "--audit", "--split", "test")["doubts"]
    assert {each["split"] for each in doubts} == {"test"}
    assert not any(each["is_fitted"] for each in doubts)
    assert all(each["image"] % 3 == 0 for each in doubts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "are for --audit"),
        (["--top", "9"], "are for --audit"),
        (["--attribute", "sleeve"], "no attribute 'sleeve'; images are embedded for"),
        (["--audit", "--split", "tset"], "no split 'tset'; there are train, valid, test"),
    ],
)
def test_what_cannot_be_done_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    run(*arguments, status=1)
    assert message in capsys.readouterr().err
    assert not Path("data/tags").exists()


def test_a_file_in_the_place_of_the_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").touch()
    run("--out", "taken", status=1)
    assert capsys.readouterr().err.splitlines()[-1].startswith("hemline: taken")
    assert Path("taken").read_bytes() == b""
