"""`hemline compare` with real DVC, on the tiny project."""

import json
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from documents import check_document
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from project import ROOT, Project

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.params import changed, check, resolved
from pipelines.operations.compare import command as operation
from pipelines.operations.compare.experiments import experiment_name, override, read_inputs

pytestmark = pytest.mark.slow

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
    assert done.stderr.count("Running stage 'train'") == 2
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
    stages = "evaluate", "prototypes", "train", "triplets"
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
    for name in ("map.png", "learning.png"):
        with Image.open(folder / name) as image:
            assert image.width > 600
            assert len(image.convert("L").getcolors()) > 10
    lines = (folder / "table.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + 3
    client = mlflow.MlflowClient(project.tracking_uri)
    experiment = client.get_experiment_by_name("hemline")
    (run,) = client.search_runs(
        [experiment.experiment_id], "attributes.run_name = 'comparison'", max_results=1
    )
    assert run.info.status == "FINISHED"
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == head
    assert run.data.metrics.keys() == {
        *(f"map/{name}" for name in ("one space", "masks", "random ranking")),
        *(f"gain/{name}" for name in ("one space", "masks")),
    }
    attached = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert attached == {"table.md", "table.csv", "map.png", "learning.png"}


def test_json_is_all_of_the_standard_output(compared):
    project, _ = compared
    done = compare(project, "masks", *BUDGET, "--format", "json")
    found = json.loads(done.stdout)
    check_document("compare", found)
    assert [row["variant"] for row in found["variants"]] == ["masks", "random ranking"]
    assert found["trials"][0]["seed"] == 3
    assert found["trials"][1]["seed"] is None
    assert "[1/1] masks" in done.stderr


def test_what_was_trained_is_not_trained_again_and_a_failure_costs_nothing_else(compared):
    project, _ = compared
    done = compare(project, "wide", "masks", *BUDGET, check=False)
    assert done.returncode == 1
    assert re.search(r"\[2/2\] masks, seed 3: compare-masks-\w{8}, trained before", done.stderr)
    progress, _, told = done.stderr.partition("hemline: failed")
    assert "Running stage 'train'" not in progress.split("[2/2]")[1]
    assert told.startswith(": wide, seed 3\n\nwide, seed 3 ended with\n")
    assert "embedding of asen_v2 is its backbone's third map, 32 channels wide" in done.stderr
    table = pd.read_csv(project.folder / "comparison/table.csv")
    assert table["variant"].tolist()[:-1] == ["masks"]


REFUSED: dict[str, tuple[list[str], list[str], str]] = {
    "unknown name": (["nets"], [], "no variant 'nets'; groups: networks, broken; variants: one sp"),
    "unknown key": (["masks"], ["train.margni=1"], "train.margni: unknown key"),
    "contradiction": (["networks"], ["model.asa=false"], "has no part asa"),
    "no value": (["masks"], ["train.margin"], "give section.key=value"),
    "other data": (["masks"], ["split.seed=8"], "'masks' changes split.seed"),
    "other size": (["masks"], ["preprocess.image_size_px=96"], "changes preprocess.image_size_px"),
}


@pytest.mark.parametrize(("names", "values", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_mistakes_are_told_before_anything_runs(compared, monkeypatch, names, values, expected):
    monkeypatch.chdir(compared[0].folder)
    monkeypatch.setattr(operation, "run_experiment", lambda *_: pytest.fail("something ran"))
    with pytest.raises(HemlineError, match=re.escape(expected)):
        operation.compare(names, variants=Path("variants.yaml"), set_param=values)


FILES = {
    "twice in a group": ("a: {x: {}, x: {}}", "'x' occurs twice"),
    "twice in two groups": ("a: {x: {}}\nb: {x: {}}", "'x' occurs twice"),
    "a group's name": ("a: {a: {}}", "'a' occurs twice"),
    "no values": ("a: {x: }", "a: x is None"),
    "a list": ("a: [x]", "a is ['x']"),
    "empty": ("", "the file is None"),
}


@pytest.mark.parametrize(("text", "expected"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_not_groups_of_variants_is_refused(tmp_path, text, expected):
    (tmp_path / "variants.yaml").write_text(text)
    with pytest.raises(HemlineError, match=re.escape(expected)):
        operation.compare(variants=tmp_path / "variants.yaml", list_only=True)


def test_a_workspace_without_data_is_told_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HemlineError, match="stage ingest has not run here: `dvc repro triplets`"):
        read_inputs({})


def test_a_workspace_with_data_of_other_params_is_told_what_to_run(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    sections = yaml.safe_load(Path("params.yaml").read_text())
    assert read_inputs(sections).keys() == {"ingest", "preprocess", "split"}
    without = yaml.safe_load(Path("dvc.lock").read_text())
    del without["stages"]["preprocess"]["params"]["params.yaml"]["preprocess"]["num_workers"]
    sections["preprocess"]["num_workers"] = 2  # the default, which an older lock does not name
    own = Path("dvc.lock").read_text()
    try:
        Path("dvc.lock").write_text(yaml.safe_dump(without))
        assert read_inputs(sections).keys() == {"ingest", "preprocess", "split"}
    finally:
        Path("dvc.lock").write_text(own)
    sections["preprocess"]["image_size_px"] = 96
    with pytest.raises(HemlineError, match=r"preprocess of params\.yaml has changed since"):
        read_inputs(sections)


def test_a_name_stands_for_params_data_and_code(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    known = {"params": {"train": {"seed": 3}}, "inputs": {"split": "a"}}
    names = [
        experiment_name("ag man", **known),
        experiment_name("ag man", **{**known, "params": {"train": {"seed": 4}}}),
        experiment_name("ag man", **{**known, "inputs": {"split": "b"}}),
    ]
    for file, counts in (("models/csn.py", True), ("figures/sheet.py", False)):
        path = Path("components") / file
        code = path.read_text()
        path.write_text(f"{code}\n")
        edited = experiment_name("ag man", **known)
        path.write_text(code)
        assert (edited != names[0]) == counts, f"{file} is code of training or not"
    assert experiment_name("ag man", **known) == names[0]
    assert len({*names}) == 3
    assert all(re.fullmatch(r"compare-ag-man-\w{8}", name) for name in names)


def test_every_variant_is_planned_with_every_seed(compared, monkeypatch):
    monkeypatch.chdir(compared[0].folder)
    ran = {}
    monkeypatch.setattr(operation, "run_experiment", ran.__setitem__)
    monkeypatch.setattr(operation, "_report", lambda trained, out, **named: None)
    operation.compare(["networks"], variants=Path("variants.yaml"), seed=[3, 4])
    assert len(ran) == 4, "each has a name of its own"
    seeds = [(each["train.seed"], each["sampling.seed"]) for each in ran.values()]
    assert seeds == [(3, 3), (4, 4)] * 2


def test_variants_are_listed(tmp_path, capsys):
    (tmp_path / "variants.yaml").write_text(yaml.safe_dump(VARIANTS, sort_keys=False))
    operation.compare(variants=tmp_path / "variants.yaml", list_only=True)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "networks"
    assert shown[1].split() == ["one", "space", "model.name=triplet_network"]


@pytest.mark.parametrize("preset", ["hemline", "paper"])
def test_the_projects_own_variants_can_be_trained_with_every_preset(preset):
    groups = yaml.safe_load((ROOT / "comparison.yaml").read_text())
    recipe = yaml.safe_load((ROOT / f"presets/{preset}.yaml").read_text())
    sections = resolved(ROOT / "params.yaml")
    sections = {name: {**keys, **recipe.get(name, {})} for name, keys in sections.items()}
    for variants in groups.values():
        for name, values in variants.items():
            check(changed(sections, values), source=name)


@example('weights/modèle \\ "1" \\\\')
@given(st.text(st.sampled_from("\\\"'${}[],=:# \tné")) | st.text())
def test_dvc_takes_any_text_as_it_is(value: str) -> None:
    parser = OverridesParser.create()  # what DVC reads `--set-param` with
    assert parser.parse_override(f"++model.weights={override(value)}").value() == value
    (listed,) = parser.parse_override(f"++data.exclude={override([value])}").value()
    assert listed == value
    assert parser.parse_override(f"++a.b={override(None)}").value() is None


@pytest.mark.parametrize("landmarks", [(), ("left hem",)])
def test_without_names_ahbn_is_left_out_where_there_are_no_landmarks(tmp_path, landmarks):
    groups = {"all": {"csn": {"model.name": "csn"}, "ahbn": {"model.name": "ahbn"}}}
    assert operation._without_landmarks(groups, tmp_path) == groups  # nothing is known yet
    schema = AttributeSchema(
        dataset="toy",
        attributes=(Attribute(name="neck", values=("v", "round")),),
        landmarks=landmarks,
    )
    files.write_json(schema.as_dict(), tmp_path / tables.SCHEMA_FILE)
    kept = operation._without_landmarks(groups, tmp_path)
    assert [*kept["all"]] == (["csn", "ahbn"] if landmarks else ["csn"])
