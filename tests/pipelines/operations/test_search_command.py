"""`hemline search`: by one attribute or several, by picture or item, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from builders import PROJECT, flip_a_bit, images_table, labels_table, png, write_files
from embedded_folders import write_embedded_folder
from torch import Tensor, nn

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.networks import IMAGENET_PIXELS
from components.registry import versions
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, Ancestor, Lineage, Package, read_package
from components.registry.versions import RegisteredVersion
from components.search.request import Found, Query, SearchRequest
from components.tables import Catalog, Numbering
from components.tracking.runs import Tracking
from pipelines.operations.search.answer import Results, content_of, print_table
from pipelines.shell import reporting
from pipelines.shell.cli import main

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="collar", values=("none", "rib")),
        Attribute(name="length", values=("short", "long")),
    ),
)
# cosine of the query and each image; summed: 0.0, 0.8, 1.6, 1.5, 1.4
COSINES = {"collar": [0.9, 0.8, 0.7, 0.6, 0.5], "length": [-0.9, 0.0, 0.9, 0.9, 0.9]}


class AxisOfAttribute(nn.Module):
    """Gives every image the same axis for an attribute, and another one for the other."""

    pixel_statistics = IMAGENET_PIXELS

    def forward(self, images_B3SS: Tensor, attributes_BK: Tensor) -> Tensor:
        axis = torch.nn.functional.one_hot(attributes_BK, 2)
        return axis + 0 * images_B3SS.mean(dim=(1, 2, 3))[:, None, None]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("package")
    write_package(AxisOfAttribute(), folder, schema=SCHEMA, image_size_px=32)
    return read_package(folder)


@pytest.fixture
def passes(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, ...]]:
    """A project with embeddings; returns how many attributes each pass was asked for."""
    monkeypatch.chdir(tmp_path)
    pictures = {f"raw/{number}.png": png(number) for number in range(len(COSINES["collar"]))}
    write_files(tmp_path, {**pictures, "query.png": png(99)})
    params = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    tables.write_catalog(catalog(), tmp_path / "data/catalog")
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    graph = files.sha256(package.folder / NETWORK_FILE)
    write_embeddings(tmp_path / "data/embeddings", model_sha256=graph)
    network = package.load_network()  # of this test's own: hooks stay
    fresh = read_package(package.folder)  # a package keeps the network that it loaded
    monkeypatch.setattr(versions, "download", lambda version, tracking: fresh)
    shapes: list[tuple[int, ...]] = []
    network.graph.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[1].shape)))
    monkeypatch.setattr(Package, "load_network", lambda self: network)
    return shapes


def test_the_model_is_fetched_once_and_then_needs_no_registry(
    passes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--image", "query.png", "--attribute", "collar")

    def unreachable(version: RegisteredVersion, tracking: Tracking) -> Package:
        raise AssertionError("the registry was asked again")

    monkeypatch.setattr(versions, "download", unreachable)
    run("--image", "query.png", "--attribute", "collar")
    assert len(passes) == 2


def test_another_model_of_the_same_version_number_is_refused(
    passes: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As where two registries have a version 1 each."""
    write_embeddings(tmp_path / "others", model_sha256="f" * 64)
    message = refused(
        capsys, "--image", "query.png", "--attribute", "collar", "--embeddings", "others"
    )
    assert "is another model than the one that made others" in message
    assert "MLFLOW_TRACKING_URI" in message
    with pytest.raises(SystemExit) as stopped:
        main(["index", "--embeddings", "others"])
    assert stopped.value.code == 1
    assert "is another model than the one that made others" in capsys.readouterr().err
    assert not (tmp_path / "others/index").exists()
    assert not passes
    assert not [*(tmp_path / "cache").glob("**/*.pt2")]


@pytest.mark.usefixtures("passes")
def test_a_damaged_graph_is_not_called_another_model(
    package: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_a_bit(package.folder / NETWORK_FILE)
    message = refused(capsys, "--image", "query.png", "--attribute", "collar")
    flip_a_bit(package.folder / NETWORK_FILE)
    assert "network.pt2 is damaged" in message


def catalog() -> Catalog:
    numbers = range(len(COSINES["collar"]))
    return Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="o", next_image=len(numbers)),
        images=images_table([f"{number:064d}" for number in numbers]),
        labels=labels_table([(number, 0, number % 2) for number in numbers]),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )


def write_embeddings(
    folder: Path, *, root: str | None = None, model_sha256: str = "0" * 64
) -> None:
    vectors = {}
    for axis, (name, cosines) in enumerate(COSINES.items()):
        along = np.array(cosines)
        both = [along, np.sqrt(1 - along**2)]
        vectors[name] = np.stack([both[axis], both[1 - axis]], axis=1)
    write_embedded_folder(
        folder,
        vectors,
        root=root,
        columns={"price": [10, 20, 30, 40, 50]},
        model_sha256=model_sha256,
    )


def run(*arguments: str) -> None:
    """Runs a search that succeeds."""
    with pytest.raises(SystemExit) as stopped:
        main(["search", *arguments])
    assert not stopped.value.code


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a search that is an expected error; returns the message."""
    with pytest.raises(SystemExit) as stopped:
        main(["search", *arguments])
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[int, float]]:
    """Runs a search by collar; returns what the table shows: ranks and similarities."""
    run("--image", "query.png", "--attribute", "collar", *arguments)
    rows = re.findall(r"│\s+(\d+) │\s+(0\.\d{4}) │", capsys.readouterr().out)
    return [(int(rank), round(float(similarity), 1)) for rank, similarity in rows]


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Runs a search; returns the JSON that is all of the standard output."""
    run(*arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


def images(answer: dict[str, Any]) -> list[int]:
    return [item["image"] for item in answer["found"]]


def test_search_by_one_attribute(passes, capsys) -> None:
    assert shown(capsys, "--top-k", "2") == [(1, 0.9), (2, 0.8)]
    assert passes == [(1, 1)]


def test_rerank_takes_the_nearest_in_all_attributes(passes, capsys) -> None:
    """Images 2, 3 and 4 lead in general; by collar alone 0 and 1 do."""
    assert shown(capsys, "--top-k", "2", "--rerank", "3") == [(1, 0.7), (2, 0.6)]
    assert passes == [(1, 2)]  # one pass for both attributes


def test_rerank_of_all_is_the_search_by_one_attribute(passes, capsys) -> None:
    assert shown(capsys, "--top-k", "2", "--rerank", "5") == [(1, 0.9), (2, 0.8)]


def test_reranking_fewer_than_are_shown_is_an_error(passes, capsys) -> None:
    message = refused(capsys, "--image", "query.png", "--attribute", "collar", "--rerank", "9")
    assert "rerank 9 leaves fewer items than the 10 that are shown" in message
    assert "rerank a number from 10, or show fewer" in message
    assert passes == []


def test_several_attributes_are_summed_with_weights(passes, capsys) -> None:
    """Images by collar + 2 length: -0.9, 0.8, 2.5, 2.4, 2.3; length first makes the columns."""
    arguments = ["--attribute", "length=2", "--attribute", "collar", "--all-items", "--top-k", "2"]
    run("--image", "query.png", *arguments)
    table = capsys.readouterr().out
    assert "2 x length + collar, by models:/hemline/1" in table
    assert re.search(r"similarity ┃ + ┃ length +┃ collar +┃ image ┃ path", table)
    similarities = re.findall(r"│ +\d │ +(\d\.\d{4}) │", table)
    assert [round(float(similarity), 2) for similarity in similarities] == [2.5, 2.4]
    assert passes == [(1, 2)]


def test_an_item_is_a_query_without_the_model(passes, capsys) -> None:
    """By collar, image 1 is (0.8, 0.6): with 0 it is 0.72 + 0.26, with 2 0.56 + 0.43."""
    answer = answered(capsys, "--id", "1", "--attribute", "collar", "--top-k", "2")
    assert images(answer) == [2, 0]
    assert answer == answered(capsys, "--id", "raw/1.png", "--attribute", "collar", "--top-k", "2")
    assert passes == []
    assert not Path("search").exists()


def test_items_are_numbered_and_marked(passes, capsys) -> None:
    """Image 1 has the collar `rib`, as every second has."""
    run("--id", "1", "--attribute", "collar", "--top-k", "4")
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [(row[4], row[3], row[2], row[5]) for row in cells] == [
        ("2", "none", "✗", "2.png"),
        ("0", "none", "✗", "0.png"),
        ("3", "rib", "✓", "3.png"),
        ("4", "none", "✗", "4.png"),
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits_the_terminal_and_cuts_paths_in_the_middle(
    capsys, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(reporting.console, "_width", width)
    names = [f"{number}{'0123456789abcdef' * 4}.jpg" for number in range(5)]
    values = {"collar": ("round",), "length": ("three_quarter",)}
    query = Query(vectors={}, itself=[], values=values)
    results = Results(
        query=query,
        target=query,
        shown="query.png",
        image=None,
        request=SearchRequest(weights=dict.fromkeys(values, 1.0), top_k=5),
        model="models:/hemline/1",
        root=f"/{'deep/' * 20}images/",
        found=[
            Found(image=12345, path=f"same/{name}", similarity=0.5, values=values) for name in names
        ],
    )
    print_table(results)
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line[:1] in "┏┃┡│└"]
    assert len(table) == 3 + 5 + 1
    assert max(map(len, table)) <= width
    assert f"paths are relative to /{'deep/' * 20}images/same\n" in printed
    assert len(re.findall(r"│ \d0123\w+…\w+\.jpg │", printed)) == 5
    assert max(map(len, table)) >= width - 1  # no more than needed is cut
    assert content_of(results)["found"][0]["path"] == f"{results.root}same/{names[0]}"


@pytest.mark.slow
def test_a_search_by_an_item_waits_for_no_big_library(passes) -> None:
    program = (
        "import sys\n"
        "from pipelines.shell.cli import main\n"
        "try: main(['search', '--id', '1', '--attribute', 'collar'])\n"
        "except SystemExit: pass\n"
        "big = {'torch', 'torchvision', 'ray', 'mlflow', 'faiss', 'matplotlib'}\n"
        "print(big & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "│    1 │" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_json_says_all_that_was_asked_and_found(passes, capsys) -> None:
    arguments = ["--attribute", "collar=0.5", "--where", "price<=30", "--where", "collar=none"]
    assert answered(capsys, "--image", "raw/2.png", *arguments) == {
        "query": {"shown": "raw/2.png", "image": None, "values": {}},
        "attributes": {"collar": 0.5},
        "changes": {},
        "model": "models:/hemline/1",
        "found": [
            {
                "rank": 1,
                "similarity": pytest.approx(0.45, abs=1e-3),  # kept in half precision
                "image": 0,
                "path": "raw/0.png",
                "verdict": "unknown",
                "values": {"collar": ["none"]},
            },
            {
                "rank": 2,
                "similarity": pytest.approx(0.35, abs=1e-3),
                "image": 2,
                "path": "raw/2.png",
                "verdict": "unknown",
                "values": {"collar": ["none"]},
            },
        ],
    }


def test_only_labelled_items_unless_asked_for(passes, capsys) -> None:
    query = ["--image", "query.png", "--attribute", "length"]
    assert images(answered(capsys, *query)) == []  # nobody has a label of length
    assert images(answered(capsys, *query, "--all-items", "--top-k", "4")) == [2, 3, 4, 1]


def test_a_sheet_is_written_where_it_is_asked_for(passes, capsys) -> None:
    query = ["--image", "query.png", "--attribute", "collar"]
    answered(capsys, *query, "--sheet", "deep/sheet.png")
    assert Path("deep/sheet.png").read_bytes().startswith(b"\x89PNG")
    run(*query)
    assert Path("search/sheet.png").exists()
    Path("raw/0.png").unlink()
    Path("search/sheet.png").unlink()
    run(*query)  # a clone that has no pictures
    assert "no contact sheet: raw/0.png is missing (1 of 6 are)" in capsys.readouterr().err
    assert not Path("search/sheet.png").exists()
    with pytest.raises(SystemExit):
        main(["search", *query, "--sheet", "sheet.png"])
    assert "raw/0.png is missing" in capsys.readouterr().err


def test_embeddings_without_labels_are_searched(passes, capsys, tmp_path: Path) -> None:
    write_embeddings(tmp_path / "theirs", root="/elsewhere")
    for path in ("params.yaml", "data"):  # whoever embeds a folder has neither
        (tmp_path / path).rename(tmp_path / f"no {path}")
    answer = answered(
        capsys, "--id", "/elsewhere/0.png", "--attribute", "collar", "--embeddings", "theirs"
    )
    assert images(answer) == [1, 2, 3, 4]
    assert answer["found"][0]["path"] == "/elsewhere/1.png"
    assert answer["found"][0]["values"] == {}


def test_another_models_query_is_refused_with_the_remedy(
    passes, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_newer(Lineage(graph_sha256="e" * 64, attributes=(*COSINES,)), monkeypatch)
    for query in (["--image", "query.png"], ["--id", "1"]):
        message = refused(
            capsys, *query, "--attribute", "collar", "--model", "models:/hemline@champion"
        )
        assert "models:/hemline@champion is models:/hemline/2" in message
        assert "data/embeddings was embedded by models:/hemline/1" in message
        assert "hemline embed --model models:/hemline/2" in message
        assert "vectors of two versions are not comparable: leave --model out" in message
    assert passes == []


def test_a_version_that_was_grown_is_asked_for_what_both_know(
    passes, package: Package, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other attributes it gives otherwise; likewise the version that it was grown from."""
    parent = Ancestor(
        name="hemline", version=1, graph_sha256=package.graph_sha256, attributes=("collar",)
    )
    grown = Lineage(graph_sha256="e" * 64, attributes=(*COSINES,), ancestors=(parent,))
    register_newer(grown, monkeypatch)
    asked = ("--id", "1", "--model", "models:/hemline/2", "--attribute")
    run(*asked, "collar")
    assert "collar, by models:/hemline/1" in capsys.readouterr().out
    message = refused(capsys, *asked, "collar", "--attribute", "length")
    assert "not comparable but for collar: leave --model out" in message


def register_newer(lineage: Lineage, patch: pytest.MonkeyPatch) -> None:
    """Lets the registry have a version 2, of that lineage, and every URI name it."""
    newer = versions.RegisteredVersion(name="hemline", version=2)
    patch.setattr(versions, "resolve", lambda uri, tracking: newer)
    found = SimpleNamespace(lineage=lineage)
    patch.setattr(versions, "download", lambda version, tracking: found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--attribute", "hem"],
            "no attribute 'hem'; images are embedded for collar, length",
        ),
        (
            ["--attribute", "collar=heavy"],
            "the weight of collar is 'heavy': it must be a number above 0, at most 1000",
        ),
        (["--attribute", "collar=-1"], "it must be a number above 0"),
        (["--attribute", "collar=nan"], "it must be a number above 0"),
        (["--attribute", "collar", "--attribute", "collar=2"], "collar is given twice"),
        (["--attribute", "collar", "--where", "hem=3"], "no column 'hem'; there are image, path"),
        (["--attribute", "collar", "--where", "wide"], "'wide' is not a condition"),
        (["--attribute", "collar", "--image", "query.png"], "either as --image FILE or as --id"),
    ],
)
def test_what_cannot_be_asked_is_one_message(passes, capsys, arguments, message) -> None:
    assert message in refused(capsys, "--id", "1", *arguments)


def test_a_query_is_needed(passes, capsys) -> None:
    assert "--image FILE or as --id" in refused(capsys, "--attribute", "collar")
    assert "no embedded image has the number or path '77'" in refused(
        capsys, "--attribute", "collar", "--id", "77"
    )


def test_index_maps_few_embeddings_and_searches_stay_the_same(passes, capsys) -> None:
    query = ["--id", "1", "--attribute", "collar"]
    before = answered(capsys, *query)
    with pytest.raises(SystemExit) as stopped:
        main(["index", "--attribute", "collar"])
    assert not stopped.value.code
    told = capsys.readouterr().out
    assert "collar: 5 vectors mapped in data/embeddings/index/attribute=collar/vectors-" in told
    assert "no approximate index: 5 vectors are compared" in told
    assert answered(capsys, *query) == before


def test_embeddings_of_several_attributes_are_those_of_each(package: Package) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    each = package.embed_each(pixels, ["length", "collar"])
    assert [*each] == ["length", "collar"]
    assert each["length"].tolist() == [0, 1]
    for attribute, embedding_D in each.items():
        np.testing.assert_array_equal(
            embedding_D, package.embed_each(pixels, [attribute])[attribute]
        )
