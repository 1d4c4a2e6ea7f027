"""`hemline check`: every kind of file with a flipped bit is named, and so is a missing one."""

import re
import shutil
from contextlib import chdir, nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest
import small_run
from builders import flip_a_bit, random_prototypes
from promotable import SCHEMA, promotable
from typer import Exit

from components import files
from components.embedding.embeddings import read_embeddings
from components.neighbours.job import parts_here
from components.neighbours.making import make_neighbours
from components.registry import versions
from components.search import index as index_module
from components.search.finder import Finder
from components.search.index import build_index
from components.search.index_paths import index_key
from components.search.request import SearchRequest
from components.search.vector_map import write_map
from components.tagging.folder import make_tags
from components.training.setup import build_network
from components.training.trained import save_weights, write_trained_model
from pipelines.operations.check import check
from pipelines.operations.search.embedded import package_of

TABLES = ("data/catalog/images.parquet", "data/splits/splits.parquet")
KINDS = (
    *TABLES,
    "data/store/shard-00000.arrow",
    "models/network/weights.safetensors",
    "mlartifacts/**/network.pt2",
    "data/embeddings/items.parquet",
    "data/embeddings/quarantine.parquet",
    "data/embeddings/vectors/part-*-top.parquet",
    "data/embeddings/parts/part-*.parquet",
    "data/embeddings/index/attribute=top/vectors-*.arrow",
    "data/embeddings/index/attribute=top/lists-*.faiss",
    "data/published/hemline-1/vectors/part-*-bottom.parquet",
    "data/neighbours/nearest/part-*-top.parquet",
    "data/tags/values/part-*-top.parquet",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all that is checked."""
    folder = tmp_path_factory.mktemp("whole")
    project = promotable(folder)
    number = project.register(8, evaluated=False)
    version = versions.RegisteredVersion(name="hemline", version=number)
    versions.write_registration(version, folder / "models/registration.json")
    network = build_network(small_run.MODEL, small_run.SCHEMA)
    save_weights(network, folder / "models/best")
    write_trained_model(
        folder / "models/network",
        folder / "models/best",
        description={"model": asdict(small_run.MODEL)},
        schema=small_run.SCHEMA,
        image_size_px=32,
    )
    project.embed(number)
    shutil.copytree(folder / "data/embeddings", folder / "data/published/hemline-1")
    embedded = read_embeddings(folder / "data/embeddings")
    write_map(embedded, "top")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_HELD_OUT", 20)  # of 150 vectors
        build_index(embedded, "top")
    make_neighbours(
        Finder(embedded, None),
        embedded,
        [SearchRequest(weights={"top": 1.0}, top_k=3)],
        folder / "data/neighbours",
        run_parts=parts_here,
        work=nullcontext(lambda number: None),
    )
    prototypes = random_prototypes(SCHEMA, dim=embedded.embedding_dim)
    make_tags(embedded, prototypes, ["top"], folder / "data/tags")
    return folder


@pytest.fixture(autouse=True)
def here(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(whole)


def rows(printed: str) -> dict[str, tuple[str, str]]:
    """Returns number of files, and of those without a checksum, by place."""
    found = re.findall(r"^[│┃] (\S+) +[│┃] +(\d+) +[│┃] +(\d+) +[│┃]$", printed, re.M)
    return {place: (num, without) for place, num, without in found}


def test_a_whole_project_passes(capsys: pytest.CaptureFixture[str]) -> None:
    check()
    printed = capsys.readouterr().out
    assert "no file is missing, or known to be damaged" in printed
    assert rows(printed) == {
        "data/store": ("1", "0"),
        "models/network": ("1", "0"),
        "registry": ("1", "0"),
        "data/embeddings": ("7", "0"),
        "data/published/hemline-1": ("5", "0"),
        "data/neighbours": ("1", "0"),
        "data/tags": ("1", "0"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_and_a_missing_file_are_named(
    whole: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = whole.glob(kind)
    share = 0.1 if kind in TABLES else 0.5  # where pages are: the second half describes them
    flip_a_bit(path, share=share)
    with pytest.raises(Exit) as flipped:
        check()
    printed = capsys.readouterr().out
    assert flipped.value.exit_code == 1
    assert re.findall(r"\S+ is damaged", printed) == [f"{_shown(path, whole)} is damaged"]
    flip_a_bit(path, share=share)
    if kind.startswith(("mlartifacts", *TABLES)) or "/index/" in kind:
        return  # what the registry or an index lacks is not there, nor a table
    path.rename(path.with_name("aside"))
    with pytest.raises(Exit):
        check()
    assert f"{_shown(path, whole)} is missing" in capsys.readouterr().out
    path.with_name("aside").rename(path)
    check()


def _shown(path: Path, whole: Path) -> Path:
    return path if "mlartifacts" in path.parts else path.relative_to(whole)


def test_every_damaged_file_is_named_and_a_damaged_manifest_too(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole / "data", tmp_path / "data")
    (tmp_path / "data/store/manifest.json").write_text("{")
    schema = tmp_path / "data/catalog/schema.json"
    schema.write_text(schema.read_text().replace("top", "top2", 1))
    for name in ("top", "bottom"):
        (path,) = tmp_path.glob(f"data/embeddings/vectors/part-*-{name}.parquet")
        flip_a_bit(path)
    with chdir(tmp_path), pytest.raises(Exit):
        check()
    printed = capsys.readouterr().out
    assert "data/store/manifest.json is not JSON" in printed
    assert "data/catalog/schema.json is damaged" in printed
    assert len(re.findall(r"vectors/part-\S+-(?:top|bottom).parquet is damaged", printed)) == 2


def test_what_an_older_hemline_wrote_has_no_checksum(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole / "data", tmp_path / "data")
    shutil.copytree(whole / "models", tmp_path / "models")
    (tmp_path / "models/registration.json").unlink()
    for made_since in ("neighbours", "tags"):
        shutil.rmtree(tmp_path / "data" / made_since)
    for path in tmp_path.rglob("*.json"):
        content = files.read_json(path)
        for each in (content, *content.get("shards", ())):
            each.pop("crc32", None)
        files.write_json(content, path)
    for path in tmp_path.glob("data/embeddings/index/*/vectors-*.json"):
        path.unlink()
    embedded = read_embeddings(tmp_path / "data/embeddings")
    for path in tmp_path.glob("data/embeddings/index/*/*"):
        kind, key = path.stem.partition("-")[0], index_key(embedded, embedded.attributes[0])
        path.rename(path.with_stem(f"{kind}-{key}"))
    flip_a_bit(tmp_path / "data/store/shard-00000.arrow")
    with chdir(tmp_path):
        check()
    printed = capsys.readouterr().out
    assert "14 files, of an older hemline, have no checksum" in printed
    assert rows(printed) == {
        "data/store": ("1", "1"),
        "models/network": ("1", "1"),
        "data/embeddings": ("7", "7"),
        "data/published/hemline-1": ("5", "5"),
    }


def test_nothing_is_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(tmp_path):
        check()
    assert "no file is missing, or known to be damaged" in capsys.readouterr().out
    assert not [*tmp_path.iterdir()]


def test_a_damaged_copy_of_a_package_is_fetched_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path))
    embedded = read_embeddings(whole / "data/embeddings")
    cached = package_of(embedded).folder / "network.pt2"
    flip_a_bit(cached)
    assert files.sha256(package_of(embedded).folder / "network.pt2") == embedded.model_sha256
