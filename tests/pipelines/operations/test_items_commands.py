"""Commands over a data set with items: products are found, named and counted, never listed."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from builders import PROJECT
from documents import check_document
from products import ITEM, Products

from components import files, tables
from pipelines.shell.cli import main

PRODUCTS = Products(8)
FIRST, LAST = PRODUCTS.names[0], PRODUCTS.names[-1]
QUERY = f"photos/{FIRST}/street-1.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("items")
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    catalog = PRODUCTS.catalog(folder / "raw")
    tables.write_catalog(catalog, folder / "data/catalog")
    PRODUCTS.embed(folder / "data/embeddings", catalog)
    splits = catalog.labels.to_pandas().assign(split="train", role="train")
    files.write_table(
        tables.pa.Table.from_pandas(splits),
        folder / "data/splits" / tables.SPLITS_FILE,
        schema=tables.LABELS,
    )
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments])
    assert (stopped.value.code or 0) == status


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    run(*arguments, "--format", "json")
    answer = json.loads(capsys.readouterr().out)
    check_document(arguments[0], answer)
    return answer


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    run(*arguments, status=1)
    return " ".join(capsys.readouterr().err.split())


def test_a_search_names_the_product_of_query_and_results(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answered(capsys, "search", "--id", QUERY, "--attribute", ITEM, "--top-k", "5")
    assert found["query"]["values"] == {"neck": ["v"], ITEM: [FIRST], "hem": ["short"]}
    assert [each["values"][ITEM] for each in found["found"][:4]] == [[FIRST]] * 3 + [["A-001"]]
    assert [each["verdict"] for each in found["found"]] == ["agrees"] * 3 + ["differs"] * 2


def test_the_table_and_the_sheet_name_products(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    run("search", "--id", QUERY, "--attribute", ITEM, "--top-k", "4", "--sheet", str(sheet))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"query: raw/{QUERY} ({FIRST})"
    assert sum(FIRST in line and "✓" in line for line in lines) == 3
    assert sum("A-001" in line and "✗" in line for line in lines) == 1
    assert sheet.stat().st_size


@pytest.mark.parametrize(
    ("condition", "photos"),
    [
        ("domain=shop", {f"{name}/{photo}" for name in (FIRST,) for photo in ("shop-1", "shop-2")}),
        (f"item={LAST}", {f"{LAST}/street-1"}),
    ],
)
def test_results_are_of_a_domain_or_of_a_product(
    capsys: pytest.CaptureFixture[str], condition: str, photos: set[str]
) -> None:
    asked = ("search", "--id", QUERY, "--attribute", ITEM, "--top-k", "2", "--where", condition)
    found = answered(capsys, *asked)["found"]
    assert {each["path"] for each in found} == {f"raw/photos/{photo}.png" for photo in photos}


def test_an_unknown_product_is_refused_without_a_list_of_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("search", "--id", QUERY, "--attribute", ITEM, "--where", "item=B-1")
    assert "item has no item 'B-1'; the first are A-000, A-001, A-002" in refused(capsys, *asked)


def test_another_product_cannot_be_asked_for_without_a_picture(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refused(capsys, "search", "--id", QUERY, "--change", f"item={LAST}")
    assert "item cannot be changed: its values are single products, which have no" in message
    assert "--attribute item" in message


def test_with_another_value_products_need_not_be_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answered(capsys, "search", "--id", QUERY, "--change", "neck=round", "--top-k", "3")
    assert found["attributes"] == {"neck": 1.0, "hem": 1.0}
    assert {each["verdict"] for each in found["found"]} == {"agrees"}
    kept = answered(
        capsys, "search", "--id", QUERY, "--change", "neck=round", "--keep", ITEM, "--top-k", "3"
    )
    assert kept["attributes"] == {"neck": 1.0, ITEM: 1.0}


def test_tags_name_values_and_no_products(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "tags"))
    answer = answered(capsys, "tag", *out)
    assert [*answer["calibrations"]] == ["neck", "hem"]
    assert {row["accuracy"] for row in answer["accuracy"]} == {100}
    assert set(pd.read_parquet(tmp_path / "tags/values")["attribute"]) == {"neck", "hem"}
    message = refused(capsys, "tag", "--attribute", ITEM, *out)
    assert "no value of 'item' has a prototype: single products have none" in message
    assert message.endswith("give --attribute with one of neck, hem")


def test_neighbours_by_item_are_photographs_of_the_product(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "neighbours"
    asked = ("neighbours", "--attribute", ITEM, "--top-k", "3", "--out", str(out))
    (comparison,) = answered(capsys, *asked)["comparisons"]
    assert comparison["num_items"] == len(PRODUCTS.item_of)
    paths = tables.read_catalog(Path("data/catalog")).images["path"].to_pylist()
    rows = pd.read_parquet(out / "nearest")
    rows = rows[rows["item"] != paths.index(f"photos/{LAST}/street-1.png")]  # alone of its product
    same = [
        PRODUCTS.item_of[paths[item]] == PRODUCTS.item_of[paths[neighbour]]
        for item, neighbour in zip(rows["item"], rows["neighbour"], strict=True)
    ]
    assert all(same)


def test_items_and_domains_are_described_by_their_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    described = answered(capsys, "describe")
    assert described["items"] == {"attribute": ITEM, "num_items_by_images": {"1": 1, "4": 7}}
    assert described["domains"] == {"shop": 14, "street": 15}
    run("describe")
    printed = capsys.readouterr().out
    assert "item: 8 items, 3.6 images each; 1 with one image" in printed
    assert "images by domain: shop 14, street 15" in printed
    assert "3 attributes with 13 values" in printed
    assert not any(name in printed for name in PRODUCTS.names)
    run("describe", "--attribute", ITEM)
    rows = capsys.readouterr().out.splitlines()
    assert [line.split() for line in rows if line.split()[:1] == ["4"]] == [["4", "7"]]
