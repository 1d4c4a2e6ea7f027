"""What a user gets wrong: one readable message and exit status 1, or a quarantine row."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from pipelines.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the project's params, for data in table format."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(format="table", root="pictures", max_quarantined_share=0.5)
    write_params(tmp_path, params)
    return tmp_path


def write_params(folder: Path, params: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def write_pictures(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    (folder / "pictures/images").mkdir(parents=True)
    for number, (image, _, _) in enumerate(rows):
        path = folder / "pictures/images" / image
        if not image.startswith(".."):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(path)
    with (folder / "pictures/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "attribute", "value"), *rows])


def message_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("hemline: ")
    assert "Traceback" not in message
    return message


INGEST = ["ingest", "--data", "pictures", "--catalog", "catalog"]
ROWS = [(f"{n}.png", "sleeve", ("long", "short")[n % 2]) for n in range(6)]


def test_a_missing_data_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = message_of(INGEST, capsys)
    assert "data.root" in message
    assert "pictures" in message


def test_an_unknown_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"]["learning_rte"] = 0.1
    write_params(folder, params)
    assert "train.learning_rte: unknown key" in message_of(INGEST, capsys)


def test_a_wrong_type(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"]["margin"] = "wide"
    write_params(folder, params)
    message = message_of(INGEST, capsys)
    assert "train.margin" in message
    assert "'wide'" in message


def test_an_attribute_with_one_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, [*ROWS, ("9.png", "collar", "rib")])
    message = message_of(INGEST, capsys)
    assert "'collar' has the single value 'rib'" in message
    assert "data.exclude_attributes" in message


def test_a_corrupt_image_and_a_path_that_leaves_go_to_quarantine(folder: Path) -> None:
    write_pictures(folder, [*ROWS, ("../../secret.png", "sleeve", "long")])
    (folder / "secret.png").write_bytes((folder / "pictures/images/0.png").read_bytes())
    (folder / "pictures/images/1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stopped:
        main(INGEST)
    assert stopped.value.code == 0
    rows = pq.read_table(folder / "catalog/quarantine.parquet").to_pylist()
    assert {row["path"]: row["reason"] for row in rows} == {
        "images/../../secret.png": "outside_root",
        "images/1.png": "not_an_image",
    }
    assert pq.read_table(folder / "catalog/images.parquet").num_rows == 5


def test_too_many_unusable_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    for number in range(2, 6):
        (folder / f"pictures/images/{number}.png").write_bytes(b"")
    message = message_of(INGEST, capsys)
    assert "4 of 6 images (66.7%)" in message
    assert "data.max_quarantined_share" in message
    assert (folder / "catalog/quarantine.parquet").exists()


def test_too_few_images_to_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    with pytest.raises(SystemExit):
        main(INGEST)
    store = folder / "store"
    store.mkdir()
    pq.write_table(
        pq.read_table(folder / "catalog/quarantine.parquet"), store / "quarantine.parquet"
    )
    arguments = ["split", "--catalog", "catalog", "--store", "store", "--splits", "splits"]
    assert "images are too few" in message_of(arguments, capsys)


def test_a_stage_before_its_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["triplets", "--catalog", "catalog", "--splits", "splits", "--triplets", "out"]
    assert "catalog/schema.json is missing; `dvc repro` makes it" in message_of(arguments, capsys)
