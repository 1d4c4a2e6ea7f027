"""What a user gets wrong: one readable message and exit status 1, or a quarantine row."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from builders import flip_a_bit
from PIL import Image

from components import tables
from pipelines.shell.cli import main

ROOT = Path(__file__).parents[3]


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


def status_of(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return stopped.value.code


def quarantine(folder: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(folder / "catalog/quarantine.parquet").to_pylist()
    return [(row["path"], row["reason"]) for row in rows]


def set_share(folder: Path, share: float) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["data"]["max_quarantined_share"] = share
    write_params(folder, params)


INGEST = ["ingest", "--catalog", "catalog"]
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


def test_an_attribute_whose_other_values_are_in_quarantine_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(folder, [(f"{x}.png", "cut", ("décolleté", "x")[x % 2]) for x in range(6)])
    labels = folder / "pictures/labels.csv"
    labels.write_bytes(labels.read_text().encode("latin-1"))  # as a table editor may save it
    message = message_of(INGEST, capsys)
    assert "'cut' has the single value 'x'" in message
    assert r"quarantine: images/0.png: bad_name: not UTF-8: images/0.png,cut,d\xe9collet" in message


def test_a_corrupt_image_and_a_path_that_leaves_go_to_quarantine(folder: Path) -> None:
    write_pictures(folder, [*ROWS, ("../../secret.png", "sleeve", "long")])
    (folder / "secret.png").write_bytes((folder / "pictures/images/0.png").read_bytes())
    (folder / "pictures/images/1.png").write_bytes(b"no picture")
    assert status_of(INGEST) == 0
    assert quarantine(folder) == [
        ("../secret.png", "outside_root"),
        ("images/1.png", "not_an_image"),
    ]
    assert pq.read_table(folder / "catalog/images.parquet").num_rows == 5


def test_too_many_unusable_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    for number in range(2, 6):
        (folder / f"pictures/images/{number}.png").write_bytes(b"")
    message = message_of(INGEST, capsys)
    assert "4 of 6 images (66.7%)" in message
    assert "allowed are 50.0% (data.max_quarantined_share)" in message
    assert "catalog/quarantine.parquet lists them" in message
    assert len(quarantine(folder)) == 4


def test_images_that_are_away_for_a_moment_do_not_lose_their_numbers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(folder, ROWS)
    status_of(INGEST)
    before = pq.read_table(folder / "catalog/images.parquet")
    away = [f"{number}.png" for number in range(4)]
    for name in away:
        (folder / "pictures/images" / name).rename(folder / name)
    assert "4 of 6 images" in message_of(INGEST, capsys)
    for name in away:
        (folder / name).rename(folder / "pictures/images" / name)
    header, *lines = (folder / "pictures/labels.csv").read_text().splitlines()
    (folder / "pictures/labels.csv").write_text("\n".join([header, *reversed(lines)]))
    assert status_of(INGEST) == 0
    assert pq.read_table(folder / "catalog/images.parquet").equals(before)
    assert quarantine(folder) == []


def test_a_damaged_catalog_is_not_numbered_from_scratch(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(folder, [(f"{x}.png", "colour", ("red", "blue")[x % 2]) for x in range(40)])
    ingest = ["ingest", "--data", "pictures", "--catalog", "catalog"]
    assert status_of(ingest) == 0
    flip_a_bit(folder / "catalog/images.parquet", share=0.3)
    message = message_of(ingest, capsys)
    assert "catalog/images.parquet is damaged" in message
    assert "`dvc checkout catalog` brings it back" in message


def test_the_share_counts_images_not_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Image 0 has a label and three rows in quarantine, image x none: 2 of 7 images."""
    write_pictures(folder, ROWS)
    with (folder / "pictures/labels.csv").open("a") as file:
        file.write("0.png,,v\n0.png,nan,u\n0.png,,long\nx.png,,long\n")
    set_share(folder, 2 / 7)
    assert status_of(INGEST) == 0
    assert len(quarantine(folder)) == 4
    set_share(folder, 2 / 7 - 0.001)
    assert "2 of 7 images (28.6%) cannot be used, or one of their labels" in message_of(
        INGEST, capsys
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "pictures/labels.csv is empty"),
        ("image;attribute;value\n0.png;sleeve;long\n", "labels.csv line 1: the separator seems"),
        ("image,attribute,value\n0.png,sleeve\n", "labels.csv line 2: expected 3 cells"),
        ("image,sleeve,split\n0.png,long,dev\n", "line 2: split 'dev' is unknown; allowed are tr"),
        ("image,sleeve,group\n0.png,long,a\n0.png,long,b\n", "group of image images/0.png is 'b'"),
        ("image,sleeve,sleeve\n0.png,long,long\n", "two columns are named 'sleeve'"),
        ("image,attribute,value\n0.png,[red],[/red]\n", "'[red]' has the single value '[/red]'"),
        ("image,attribute,value\n0.png,sleeve,nan\n", "none of 0 labelled images can be used"),
    ],
)
def test_a_table_that_is_not_of_the_format(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    write_pictures(folder, ROWS)
    (folder / "pictures/labels.csv").write_text(content)
    assert expected in message_of(INGEST, capsys)


def test_a_table_in_utf_16(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    path = folder / "pictures/labels.csv"
    path.write_text(path.read_text(), "utf-16")
    assert "labels.csv is not a CSV file in UTF-8: line 1" in message_of(INGEST, capsys)


def test_a_table_in_both_forms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    pq.write_table(pa.table({"image": ["0.png"]}), folder / "pictures/labels.parquet")
    assert "has labels.csv and labels.parquet; remove one" in message_of(INGEST, capsys)


def test_labels_and_names_that_cannot_be_used_go_to_quarantine(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(folder, [*ROWS, ("a 'b\".png", "sleeve", "long")])
    (folder / "pictures/images/\udce4.png").write_bytes(b"")
    picture = folder / "pictures/images/0.png"
    rows = f"./0.png,sleeve,NaN\n../../secret.png,sleeve,long\n{picture},sleeve,long\n".encode()
    with (folder / "pictures/labels.csv").open("ab") as file:
        file.write(rows + b"\xe4.png,,v\n\xe4.png,sleeve,long\n")
    assert status_of(INGEST) == 0
    assert quarantine(folder) == [
        ("../secret.png", "outside_root"),
        (str(picture), "outside_root"),
        ("images/\\xe4.png", "bad_name"),
        ("images/\\xe4.png", "unknown_attribute"),
    ]
    paths = pq.read_table(folder / "catalog/images.parquet")["path"].to_pylist()
    assert paths == [*(f"images/{n}.png" for n in range(6)), "images/a 'b\".png"]
    assert "7 images, 7 labels of 1 attributes; 4 rows in quarantine" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["long", "wide"])
def test_missing_labels_are_counted_apart_from_images_that_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["data"]["max_quarantined_share"] = 0.1
    write_params(folder, params)
    images = [f"{number}.png" for number in range(25)]
    values = ["" if number % 6 == 0 else ("long", "short")[number % 2] for number in range(25)]
    write_pictures(
        folder, [(image, "sleeve", value) for image, value in zip(images, values, strict=True)]
    )
    if form == "wide":
        rows = [("image", "sleeve"), *zip(images, values, strict=True)]
        with (folder / "pictures/labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    for number in (1, 2):
        (folder / f"pictures/images/{number}.png").write_bytes(b"broken")
    assert status_of(INGEST) == 0
    assert quarantine(folder) == [
        ("images/1.png", "not_an_image"),
        ("images/2.png", "not_an_image"),
    ]
    assert "rows without a label: 5" in capsys.readouterr().out

    (folder / "pictures/images/3.png").write_bytes(b"broken")
    assert "3 of 20 images (15.0%) cannot be used" in message_of(INGEST, capsys)


def write_fashionai(folder: Path, lines: list[str]) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["data"]["format"] = "fashionai"
    write_params(folder, params)
    write_pictures(folder, ROWS)
    (folder / "pictures/Annotations").mkdir()
    (folder / "pictures/Annotations/label.csv").write_text("".join(f"{x}\n" for x in lines))


FASHIONAI_ROWS = [
    f"images/{n}.png,neck_design_labels,{('nynnn', 'nnnny')[n % 2]}" for n in range(6)
]


def test_rows_of_fashionai_that_cannot_be_used_go_to_quarantine(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [
        "images/0.png,hem_labels,ny",
        "images/1.png,neck_design_labels,nyn",
        "images/2.png,neck_design_labels,nnnny",
        "images/3.png,lapel_design_labels,?",
    ]
    write_fashionai(folder, FASHIONAI_ROWS + others)
    assert status_of(INGEST) == 0
    assert quarantine(folder) == [
        ("images/0.png", "unknown_attribute"),
        ("images/1.png", "unknown_value"),
        ("images/2.png", "conflicting_values"),
    ]
    out = capsys.readouterr().out
    assert "5 images, 5 labels of 1 attributes; 3 rows in quarantine" in out
    assert "rows without a label: 1" in out


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "Annotations/label.csv is empty"),
        (
            [row.replace(",", ";") for row in FASHIONAI_ROWS],
            "label.csv line 1: the separator seems",
        ),
        (["images/0.png,neck_design_labels"], "label.csv line 1: expected path,attribute,letters"),
        (["images/0.png,hem_labels,ny"], "images/0.png: unknown_attribute: Annotations/label.csv"),
    ],
)
def test_annotations_that_are_not_of_the_format(
    folder: Path, capsys: pytest.CaptureFixture[str], lines: list[str], expected: str
) -> None:
    write_fashionai(folder, lines)
    assert expected in message_of(INGEST, capsys)


def test_too_few_images_to_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder, ROWS)
    with pytest.raises(SystemExit):
        main(INGEST)
    store = folder / "store"
    store.mkdir()
    pq.write_table(
        pq.read_table(folder / "catalog/quarantine.parquet"), store / "quarantine.parquet"
    )
    hashes = pa.table({"image": range(len(ROWS)), "perceptual_hash": range(len(ROWS))})
    pq.write_table(hashes.cast(tables.IMAGE_HASHES), store / "hashes.parquet")
    arguments = ["split", "--catalog", "catalog", "--store", "store", "--splits", "splits"]
    assert "images are too few" in message_of(arguments, capsys)


def test_a_stage_before_its_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["triplets", "--catalog", "catalog", "--splits", "splits", "--triplets", "out"]
    assert "catalog/schema.json is missing; `dvc repro` makes it" in message_of(arguments, capsys)
