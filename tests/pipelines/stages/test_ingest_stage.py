"""What ingest prints of a data set of products, and what it says where one is damaged."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import encoded, noise, write_files

from components import tables
from pipelines.shell.cli import main

ROOT = Path(__file__).parents[3]
FOLDERS = ("TOPS/T_Shirt", "DRESSES/Lace_Dress")
STATUSES = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingest(folder: Path, **data: Any) -> int | str | None:
    """Returns the exit status of ingest, with these params of the section `data`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(root="pictures", **data)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(SystemExit) as stopped:
        main(["ingest"])
    return stopped.value.code


def write_pairs(folder: Path) -> None:
    """Writes six products of a consumer's and two shop images, two of each status."""
    rows, files = [], {}
    for item in range(6):
        name, status = f"id_{item:08d}", STATUSES[item % 3]
        images = [
            f"img/{FOLDERS[item % 2]}/{name}/{x}.jpg" for x in ("comsumer_01", "shop_01", "shop_02")
        ]
        rows += [f"{images[0]}  {shop}   {name}   {status}" for shop in images[1:]]
        files |= {path: encoded(noise(20, 30, seed=3 * item + n)) for n, path in enumerate(images)}
    partition = "\n".join([str(len(rows)), "pairs", *rows])
    first, *_, last = files
    boxes = "\n".join(["2", "boxes", f"{first} 1 2 2 3 15 99", f"{last} 3 2 7 3 7 9"])
    write_files(
        folder / "pictures",
        {
            **files,
            "Eval/list_eval_partition.txt": partition,
            "Anno/list_bbox_consumer2shop.txt": boxes,
        },
    )


@pytest.mark.parametrize(("shop_gallery", "number"), [("test", 4), ("valid_and_test", 8)])
def test_the_size_of_a_shops_gallery_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str], shop_gallery: str, number: int
) -> None:
    write_pairs(folder)
    status = ingest(folder, format="deepfashion_consumer_to_shop", shop_gallery=shop_gallery)
    printed = " ".join(capsys.readouterr().out.split())
    assert status == 0
    assert f"shop images that answer test (data.shop_gallery {shop_gallery}): {number}" in printed
    assert "boxes without an area in their picture: 1" in printed
    catalog = tables.read_catalog(folder / "data/catalog")
    assert catalog.boxes.num_rows == 1
    assert catalog.schema.attributes[catalog.schema.identity].num_items == 6


@pytest.mark.parametrize(
    ("data_format", "file"),
    [
        ("deepfashion_inshop", "list_eval_partition.txt"),
        ("deepfashion_consumer_to_shop", "list_eval_partition.txt"),
        ("street2shop", "train_pairs_dresses.json"),
    ],
)
def test_a_folder_of_another_layout_is_one_readable_message(
    folder: Path, capsys: pytest.CaptureFixture[str], data_format: str, file: str
) -> None:
    write_files(folder / "pictures", {"a.jpg": encoded(noise(20, 30))})
    assert ingest(folder, format=data_format) == 1
    said = capsys.readouterr().err
    assert said.startswith("hemline: ")
    assert f"{file} is missing" in " ".join(said.split())
