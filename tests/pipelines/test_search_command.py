"""`hemline search`: by one attribute alone, and reranking what is nearest in all of them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from builders import images_table, labels_table, png, write_files
from torch import Tensor, nn

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.retrieval.embed import attribute_folder
from components.tables import Catalog, Numbering
from components.tracking import registry
from components.tracking.package import Package, read_package, write_package
from pipelines.cli import main

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
    """A project with an embedded catalogue; returns how many attributes each pass was asked for."""
    monkeypatch.chdir(tmp_path)
    pictures = {f"raw/{number}.png": png(number) for number in range(len(COSINES["collar"]))}
    write_files(tmp_path, {**pictures, "query.png": png(99)})
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    tables.write_catalog(catalog(), tmp_path / "data/catalog")
    write_embeddings(tmp_path / "data/embeddings")
    monkeypatch.setattr(registry, "download", lambda version, tracking: package)
    shapes: list[tuple[int, ...]] = []
    network = package.load_network()

    def counted(pixels: Tensor, attributes: Tensor) -> Tensor:
        shapes.append(tuple(attributes.shape))
        return network(pixels, attributes)

    monkeypatch.setattr(Package, "load_network", lambda self: counted)
    return shapes


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


def write_embeddings(folder: Path) -> None:
    for axis, (name, cosines) in enumerate(COSINES.items()):
        along = np.array(cosines)
        both = [along, np.sqrt(1 - along**2)]
        vectors = np.stack([both[axis], both[1 - axis]], axis=1).astype(np.float16)
        part = attribute_folder(folder, name) / "part-00000.parquet"
        part.parent.mkdir(parents=True)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2)
        pq.write_table(pa.table({"image": np.arange(len(along)), "embedding": lists}), part)
    manifest = {"model_name": "hemline", "model_version": 1, "attributes": [*COSINES]}
    files.write_json(manifest, folder / "manifest.json")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[int, float]]:
    """Runs a search by collar; returns what the table shows: ranks and similarities."""
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--image", "query.png", "--attribute", "collar", *arguments])
    assert not stopped.value.code
    rows = re.findall(r"│\s+(\d+) │\s+(0\.\d{4}) │", capsys.readouterr().out)
    return [(int(rank), round(float(similarity), 1)) for rank, similarity in rows]


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
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--image", "query.png", "--attribute", "collar", "--rerank", "9"])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert "--rerank 9 leaves fewer items than --top-k 10 shows" in message
    assert "give --rerank 10 or more, or a smaller --top-k" in message
    assert passes == []


def test_embeddings_of_several_attributes_are_those_of_each(package: Package) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    each = package.embed_each(pixels, ["length", "collar"])
    assert [*each] == ["length", "collar"]
    assert each["length"].tolist() == [0, 1]
    for attribute, embedding_D in each.items():
        np.testing.assert_array_equal(embedding_D, package.embed(pixels, attribute))
