"""`hemline compare` with real DVC, on the tiny project."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from PIL import Image
from project import Project

VARIANTS = {
    "networks": {
        "one space": {"model.name": "triplet_network"},
        "masks": {"model.name": "csn", "model.masks": "fixed"},
    },
    "broken": {"wide": {"model.name": "asen_v2", "model.embedding_dim": 31}},
}
BUDGET = ("-S", "sampling.num_epochs=1", "-S", "train.learning_rate=1e-03")


@pytest.fixture(scope="module")
def compared(project: Project) -> tuple[Project, dict[str, str]]:
    """The project after a comparison, and its workspace as it was before."""
    (project.folder / "variants.yaml").write_text(yaml.safe_dump(VARIANTS, sort_keys=False))
    before = workspace(project)
    done = compare(project, "networks", *BUDGET)
    assert done.stdout.count("Running stage 'train'") == 2
    return project, before


def compare(project: Project, *arguments: str, check: bool = True):
    return project.run("hemline", "compare", "--variants", "variants.yaml", *arguments, check=check)


def workspace(project: Project) -> dict[str, str]:
    kept = ("params.yaml", "dvc.lock", "models/run.json", "metrics/evaluation.json")
    return {
        "git": project.run("git", "status", "--porcelain").stdout.replace("?? comparison/\n", ""),
        **{name: (project.folder / name).read_text() for name in kept},
    }


def test_the_workspace_is_as_it_was(compared):
    project, before = compared
    assert workspace(project) == before
    stages = "evaluate", "train", "triplets"
    assert "up to date" in project.run("dvc", "status", *stages).stdout


def test_every_variant_has_a_row_from_its_own_experiment(compared):
    project, _ = compared
    table = pd.read_csv(project.folder / "comparison/table.csv").set_index("variant")
    assert {*table.index} == {"one space", "masks", "random ranking"}
    names = project.run("dvc", "exp", "list", "--name-only").stdout.split()
    for variant, slug in (("one space", "one-space"), ("masks", "masks")):
        (name,) = (name for name in names if name.startswith(f"compare-{slug}-"))
        committed = project.run("git", "show", f"{name_of(project, name)}:metrics/evaluation.json")
        figures = json.loads(committed.stdout)
        assert table.loc[variant, "map"] == pytest.approx(figures["map"])
        assert table.loc[variant, "num_parameters"] == figures["num_parameters"]
        assert table.loc[variant, "trained_images_per_s"] > 0
        assert table.loc[variant, "embedded_images_per_s"] > 0
    assert table.loc["masks", "num_parameters"] == table.loc["one space", "num_parameters"]
    assert table.loc["random ranking", "map"] == pytest.approx(figures["random_map"])


def name_of(project: Project, experiment: str) -> str:
    """Returns the commit of an experiment."""
    refs = project.run("git", "for-each-ref", "refs/exps", "--format=%(objectname) %(refname)")
    (commit,) = (line.split()[0] for line in refs.stdout.splitlines() if line.endswith(experiment))
    return commit


def test_table_and_chart_are_shown_and_logged(compared):
    project, _ = compared
    folder = project.folder / "comparison"
    with Image.open(folder / "map.png") as image:
        assert image.width > 600
        assert len(image.convert("L").getcolors()) > 10
    assert (folder / "table.md").read_text().count("\n") == 2 + 3
    client = mlflow.MlflowClient(project.tracking_uri)
    experiment = client.get_experiment_by_name("hemline")
    (run,) = client.search_runs(
        [experiment.experiment_id], "attributes.run_name = 'comparison'", max_results=1
    )
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() == {"map.one space", "map.masks", "map.random ranking"}
    attached = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert attached == {"table.md", "table.csv", "map.png"}


def test_what_was_trained_is_not_trained_again_and_a_failure_costs_nothing_else(compared):
    project, _ = compared
    done = compare(project, "wide", "masks", *BUDGET, check=False)
    assert done.returncode == 1
    assert "[2/2] masks: trained before" in done.stdout
    assert "Running stage 'train'" not in done.stdout.split("[2/2]")[1]
    assert "embedding of asen_v2 is its backbone's third map, 256 channels wide" in done.stderr
    assert "hemline: failed: wide" in done.stderr
    table = pd.read_csv(project.folder / "comparison/table.csv")
    assert table["variant"].tolist()[:-1] == ["masks"]


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown name": (("nets",), "no variant 'nets'; groups: networks, broken; variants: one space"),
    "unknown key": (("masks", "-S", "train.margni=1"), "train.margni: unknown key"),
    "contradiction": (("networks", "-S", "model.asa=false"), "has no part asa"),
    "no value": (("masks", "-S", "train.margin"), "give section.key=value"),
}


@pytest.mark.parametrize(("arguments", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_mistakes_are_told_before_anything_runs(compared, arguments, expected):
    project, _ = compared
    done = compare(project, *arguments, check=False)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Running stage" not in done.stdout


def test_a_workspace_without_data_is_told_what_to_run(compared):
    project, _ = compared
    lock = project.folder / "dvc.lock"
    content = lock.read_text()
    lock.unlink()
    try:
        done = compare(project, "masks", check=False)
    finally:
        lock.write_text(content)
    assert done.returncode == 1
    assert "stage ingest has not run here: `dvc repro triplets`" in done.stderr


def test_variants_are_listed(compared):
    project, _ = compared
    shown = compare(project, "--list").stdout.splitlines()
    assert shown[0] == "networks"
    assert shown[1].split() == ["one", "space", "model.name=triplet_network"]


def test_a_name_that_stands_there_twice_is_refused(compared, tmp_path: Path):
    project, _ = compared
    (tmp_path / "twice.yaml").write_text("a: {x: {}}\nb: {x: {}}\n")
    done = compare(project, "--variants", str(tmp_path / "twice.yaml"), check=False)
    assert done.returncode == 1
    assert "'x' stands there twice" in done.stderr
