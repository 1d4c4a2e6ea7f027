"""What `hemline summary` proposes: commands that work where they are printed."""

import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from shops import SCHEMA, Shop

from components import files, tables
from components.embedding.embeddings import read_embeddings
from components.registry import versions
from components.registry.package import read_package
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking, start_run
from pipelines.operations.summary import median_query
from pipelines.shell.cli import main

ROOT = Path(__file__).parents[3]
SCORES = {
    "attribute": ["collar", "coat_length", "collar", "collar"],
    "image": [14, 17, 15, 16],
    "average_precision": [1.0, 0.4, 0.5, 1 / 3],
    "random_average_precision": [0.5] * 4,
    "is_held_out_query": [None] * 4,
}


def test_the_median_query_is_neither_the_best_nor_the_worst() -> None:
    scores = pa.table(SCORES, schema=tables.QUERY_SCORES)
    assert median_query(scores, "collar") == 15
    assert median_query(scores, "coat_length") == 17


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages have run, in a folder and with data of awkward names."""
    folder = tmp_path_factory.mktemp("shops") / "it's [bold] & $HOME"
    shop = Shop(folder)
    shop.root.rename(folder / "raw data [1]")
    package = shop.export("package", seed=1)
    shop.embed("data/embeddings", package, version=1)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"]["root"] = "raw data [1]"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    row = {"map": 50.0, "random_map": 25.0, "gain": 33.3, "gain_low": 30.0, "gain_high": 40.0}
    row["num_queries"] = 3
    files.write_json(
        {**row, "attributes": dict.fromkeys(SCHEMA.names, row)},
        folder / "metrics/evaluation.json",
    )
    files.write_table(
        pa.table(SCORES, schema=tables.QUERY_SCORES),
        folder / "data/evaluation/queries.parquet",
        schema=tables.QUERY_SCORES,
    )
    where = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "artifacts"))
    run_id = start_run(where, params={}, tags={})
    files.write_json({"run_id": run_id}, folder / "models/run.json")
    client = where.client()
    client.create_registered_model(where.model_name)
    client.create_model_version(where.model_name, source=str(folder), run_id=run_id)
    version = RegisteredVersion(name=where.model_name, version=1)
    versions.write_registration(version, folder / "models/registration.json")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder: the project, whose package the registry serves."""
    monkeypatch.chdir(made)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    package = read_package(made / "package")
    monkeypatch.setattr(versions, "download", lambda version, tracking: package)
    return made


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["summary"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def proposed(output: str) -> list[list[str]]:
    lines = output.partition("Try next:")[2].splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def search(words: list[str]) -> None:
    assert words[:2] == ["hemline", "search"]
    with pytest.raises(SystemExit) as ended:
        main(words[1:])
    assert ended.value.code == 0


def test_what_is_proposed_works_whatever_the_paths_hold(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shown(capsys)
    assert f"model       models:/hemline/1 in sqlite:///{here}/mlflow.db\n" in output
    query, ui = proposed(output)  # no experiment: the folder is in no git repository
    assert query[2:4] == ["--image", "raw data [1]/items/15 <i>.png"]
    assert ui[-1] == f"sqlite:///{here}/mlflow.db"
    search(query)


def test_attribute_manipulation_is_a_line_where_it_was_measured(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "metrics/evaluation.json"
    before = files.read_json(path)
    assert "manipulation" not in shown(capsys)
    macro = {"hit_20": 35.25, "hit_20_low": 30.0, "hit_20_high": 40.0}
    macro |= {"unchanged_hit_20": 12.0, "random_hit_20": 4.0}
    files.write_json({**before, "manipulation": {"macro": macro}}, path)
    line = "manipulation  hit@20 35.2 (30.0 to 40.0), query as it is 12.0, random 4.0 %\n"
    assert line in shown(capsys)
    files.write_json({**before, "manipulation": {"not_measured": "images have one label"}}, path)
    assert "manipulation" not in shown(capsys)
    files.write_json(before, path)


def test_items_found_are_a_line_where_there_are_items(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "metrics/evaluation.json"
    before = files.read_json(path)
    assert "items found" not in shown(capsys)
    name, row = next(iter(before["attributes"].items()))
    hits = {"hit_at_20": 35.25, "hit_at_20_low": 30.0, "hit_at_20_high": 40.0}
    items = {**row, **hits, "random_hit_at_20": 1.5}
    files.write_json({**before, "attributes": {**before["attributes"], name: items}}, path)
    assert "items found   hit@20 35.2 (30.0 to 40.0), random 1.5 %\n" in shown(capsys)
    files.write_json(before, path)


def test_a_clone_without_store_and_pictures_proposes_what_works_there(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(here, clone)
    shutil.rmtree(clone / "raw data [1]")
    (clone / "mlflow.db").unlink()
    monkeypatch.chdir(clone)
    output = shown(capsys)
    assert f"is in no store here (sqlite:///{clone}/mlflow.db does not exist)" in output
    assert "`hemline register` registers the network that lies here, without training" in output
    (query,) = proposed(output)
    assert query[2:4] == ["--id", "items/15 <i>.png"]
    search(query)
    assert not (clone / "mlflow.db").exists(), "asking made no store"


def test_another_stores_version_of_the_same_number_is_told_apart(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(here, clone)
    monkeypatch.chdir(clone)
    where = Tracking(uri=f"sqlite:///{clone}/mlflow.db", artifact_root=str(clone))
    client = where.client()
    client.set_model_version_tag(where.model_name, "1", versions.GRAPH_TAG, "f" * 64)
    assert "is another model: `hemline register`" in shown(capsys)
    client.set_registered_model_alias(where.model_name, "champion", "1")
    ours = read_embeddings(clone / "data/embeddings").model_sha256
    client.set_model_version_tag(where.model_name, "1", versions.GRAPH_TAG, ours)
    assert "model       models:/hemline/1 (champion) in sqlite" in shown(capsys)
    (clone / "models/registration.json").write_text('{"name": "hemline", "version": 7}')
    assert "model       models:/hemline/1 (champion)" in shown(capsys), "it is the same graph"
    client.delete_model_version_tag(where.model_name, "1", versions.GRAPH_TAG)
    assert "models:/hemline/7 is not in sqlite" in shown(capsys)
