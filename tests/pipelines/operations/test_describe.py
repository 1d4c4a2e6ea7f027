"""Operation `describe`: what people and programs get to see of a catalog and of raw labels."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import PROJECT, png, write_files

from components import files, tables
from pipelines.shell.cli import main
from pipelines.shell.reporting import console

NUM_BROKEN = 25


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with pictures in table format, 25 of them broken, and their catalog."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"].update(format="table", root="pictures", max_quarantined_share=1.0)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    rows = [
        "image,attribute,value",
        *(f"{n}.png,neck,{'v' if n % 3 else '[b]v'}" for n in range(9)),
    ]
    rows += [f"broken-[red]{n:02}.png,neck,v" for n in range(NUM_BROKEN)]
    pictures = {f"pictures/{n}.png": png(n) for n in range(9)}
    broken = {f"pictures/broken-[red]{n:02}.png": "no picture" for n in range(NUM_BROKEN)}
    write_files(tmp_path, {**pictures, **broken, "pictures/labels.csv": "\n".join(rows)})
    run(["ingest", "--data", "pictures", "--catalog", "data/catalog"])
    return tmp_path


def run(arguments: list[str], *, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == status


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Returns what `hemline describe` prints; the message where it fails."""
    capsys.readouterr()
    run(["describe", *arguments], status=status)
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_values_that_differ_in_case_only_are_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "pictures/labels.csv").open("a") as file:
        file.write("\n0.png,neck,V")
    line = "neck: 'v' (6) and 'V' (1) differ in case or blanks only"
    run(["ingest", "--data", "pictures", "--catalog", "data/catalog"])
    assert line in capsys.readouterr().out
    assert line in shown(capsys)
    assert as_json(capsys)["lookalikes"] == [line]


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(shown(capsys, *arguments, "--format", "json"))
    return read


def cells(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_a_catalog_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys)

    assert "pictures: 9 images, 9 labels of 1 attributes with 2 values; no groups" in output
    # values, images, labels; fewest, median and most labels of a value
    assert ["neck", "2", "9", "9", "3", "4.5", "6"] in cells(output)
    assert ["neck", "v", "(6),", "[b]v", "(3)"] in cells(output), "brackets are no markup"
    assert "no published split or roles" in output
    assert ["ingest", "not_an_image", "25"] in cells(output)


def test_the_first_twenty_rows_of_the_quarantine_are_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shown(capsys)
    assert output.count("broken-[red]") == 20
    assert "the first 20 of 25 rows; --all lists them all" in output

    whole = shown(capsys, "--all")
    assert whole.count("broken-[red]") == NUM_BROKEN
    assert "--all" not in whole


def test_the_quarantine_of_the_store_beside_the_catalog_is_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = tables.quarantine_table([("3.png", "truncated", "after line 2")])
    files.write_table(row, Path("data/store/quarantine.parquet"), schema=tables.QUARANTINE)
    assert ["preprocess", "truncated", "1"] in cells(shown(capsys))

    shutil.copytree("data/catalog", "elsewhere/catalog")
    assert "preprocess" not in shown(capsys, "--catalog", "elsewhere/catalog")
    arguments = ("--catalog", "elsewhere/catalog", "--store", "data/store")
    assert ["preprocess", "truncated", "1"] in cells(shown(capsys, *arguments))


def test_json_is_the_only_output_and_holds_every_row(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = as_json(capsys)

    assert described["num_images"] == 9
    assert described["attributes"][0]["labels_per_value"] == {"[b]v": 3, "v": 6}
    assert len(described["quarantine"]) == NUM_BROKEN
    assert described["quarantine_counts"] == {"ingest": {"not_an_image": NUM_BROKEN}}


def test_labels_that_were_not_ingested_need_no_images(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("data")
    for picture in Path("pictures").glob("*.png"):
        picture.unlink()
    described = as_json(capsys, "--data-format", "table", "--root", "pictures")

    assert described["num_images"] == 9 + NUM_BROKEN
    assert described["attributes"][0]["labels_per_value"] == {"[b]v": 3, "v": 6 + NUM_BROKEN}
    assert described["quarantine"] == []


def published(folder: Path) -> tuple[str, ...]:
    """Writes a data set of ASEN's index files and returns the arguments that describe it."""
    meta = {"toy": {"ATTRIBUTES": ["neck"], "ATTRIBUTES_NUM": {"neck": 2}}}
    index = {
        f"toy/{name}_{split}.txt": content
        for split in ("valid", "test")
        for name, content in {
            "filenames": "".join(f"{split}{n}.jpg\n" for n in range(5)),
            "query": "0 0 1\n",
            "candidate": "1 0 0\n2 0 1\n3 0 1\n4 0 0\n",
        }.items()
    }
    write_files(folder, {"meta.json": json.dumps(meta), **index})
    return ("--data-format", "published", "--root", str(folder), "--dataset", "toy")


def test_published_splits_and_roles_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown_cells = cells(shown(capsys, *published(tmp_path)))

    assert ["test", "all", "5", "5"] in shown_cells
    assert shown_cells.count(["query", "1", "1"]) == 2
    assert shown_cells.count(["gallery", "4", "4"]) == 2


def test_all_values_of_one_attribute_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shown(capsys, *published(tmp_path), "--attribute", "neck")

    assert ["0", "4", "40.00"] in cells(output)
    assert ["1", "6", "60.00"] in cells(output)
    assert "published splits" not in output


@pytest.mark.parametrize("width", [80, 160])
def test_no_line_is_wider_than_the_console(
    folder: Path, capsys: pytest.CaptureFixture[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", width)
    lines = shown(capsys, "--all").splitlines()[1:]  # the first is text, not a table

    assert max(map(len, lines)) <= width


def test_what_steers_a_terminal_is_written_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = 'image,attribute,value\na.png,neck,"\x1b[31mred"\nb.png,neck,v\n'
    write_files(tmp_path / "pictures", {"labels.csv": rows})
    output = shown(capsys, "--data-format", "table", "--root", str(tmp_path / "pictures"))

    assert "\x1b" not in output
    assert r"\x1b[31mred (1)" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no catalog data/catalog: `dvc repro ingest` makes it, or --data-format and --root"),
        (["--catalog", "x", "--root", "y"], "give one or the other"),
        (["--store", "x", "--data-format", "table"], "give one or the other"),
        (["--root", "x"], "needs both --data-format and --root"),
        (["--data-format", "table"], "needs both --data-format and --root"),
        (["--dataset", "x"], "needs both --data-format and --root"),
        (
            ["--data-format", "csv", "--root", "x"],
            "no format 'csv'; there are published, fashionai",
        ),
        (["--data-format", "table", "--root", "x"], "no folder x"),
        (["--data-format", "published", "--root", "."], "published needs --dataset"),
        (["--data-format", "table", "--root", ".", "--dataset", "x"], "formats take none"),
        (["--format", "json", "--attribute", "x"], "not both"),
    ],
)
def test_what_cannot_be_described_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert message in shown(capsys, *arguments, status=1)


def test_an_unknown_attribute_and_a_store_that_is_not_there_are_errors(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = shown(capsys, "--attribute", "hem", status=1)
    assert "--attribute: pictures has no 'hem'; it has neck" in message
    assert "x/quarantine.parquet is missing" in shown(capsys, "--store", "x", status=1)
