"""Stage `triplets`: drawn ones, and the published ones of a catalog."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from builders import PROJECT, images_table, labels_table, splits_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.tables import Catalog, Numbering
from pipelines.shell.cli import main

IMAGES_OF = {"train": range(8), "valid": range(8, 14), "test": range(14, 20)}
# anchor, positive, negative: images of even numbers are v, of odd ones round; one leaves its split
PUBLISHED = [("train", 0, 2, 1), ("train", 3, 5, 2), ("train", 4, 6, 19)]
PUBLISHED += [("valid", 8, 10, 9), ("test", 15, 17, 14), ("test", 14, 16, 19)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a catalog of published triplets, and its splits."""
    monkeypatch.chdir(tmp_path)
    attribute = Attribute(name="neck[red]", values=("v", "round"))
    labels = [(image, 0, image % 2) for image in range(20)]
    triplets = [(split, 0, *images) for split, *images in PUBLISHED]
    catalog = Catalog(
        schema=AttributeSchema(dataset="toy", attributes=(attribute,)),
        numbering=Numbering(origin="0", next_image=20),
        images=images_table(str(image) for image in range(20)),
        labels=labels_table(labels),
        triplets=table_of(triplets, tables.PUBLISHED_TRIPLETS),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )
    tables.write_catalog(catalog, Path("catalog"))
    roles = {"train": "train", "valid": "query", "test": "query"}
    rows = [
        (image, 0, image % 2, split, roles[split])
        for split, images in IMAGES_OF.items()
        for image in images
    ]
    splits = splits_table(rows)
    files.write_table(splits, Path("splits/splits.parquet"), schema=tables.SPLITS)
    return tmp_path


def table_of(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=schema)


def run(source: str, *, status: int = 0) -> None:
    """Runs the stage with two epochs of triplets that are drawn or published."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"]["format"] = "zappos50k"
    params["train"]["objective"] = "triplet"
    params["sampling"].update(
        method="triplets",
        triplets=source,
        num_epochs=2,
        triplets_per_epoch=10,
        evaluation_triplets=5,
    )
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(SystemExit) as stopped:
        main(["triplets", "--catalog", "catalog", "--splits", "splits", "--triplets", "triplets"])
    assert stopped.value.code == status


def images(split: str, epoch: int = 0) -> list[tuple[int, int, int]]:
    table = files.read_row_group(Path(f"triplets/{split}.parquet"), epoch, schema=tables.TRIPLETS)
    return [(row["anchor"], row["positive"], row["negative"]) for row in table.to_pylist()]


def test_published_triplets_are_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("published")

    assert images("valid") == [(8, 10, 9)]
    assert images("test") == [(15, 17, 14), (14, 16, 19)]
    assert sorted(images("train")) == sorted(images("train", 1)) == [(0, 2, 1), (3, 5, 2)]
    expected = "train: 1 published triplets that reach out of the split: neck[red] 1\n"
    assert capsys.readouterr().out == expected


def test_drawn_triplets_need_no_published_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("catalog/triplets.parquet").unlink()
    run("drawn")

    assert [len(images("train", epoch)) for epoch in (0, 1)] == [10, 10]
    assert len(images("valid")) == len(images("test")) == 5
    assert capsys.readouterr().out == ""


def test_a_catalog_without_published_triplets_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tables.PUBLISHED_TRIPLETS.empty_table()
    path = Path("catalog/triplets.parquet")
    files.write_table(none, path, schema=tables.PUBLISHED_TRIPLETS)
    run("published", status=1)

    message = capsys.readouterr().err
    assert message.startswith("hemline: split train: the data set publishes no triplets")
    assert "sampling.triplets drawn" in message
