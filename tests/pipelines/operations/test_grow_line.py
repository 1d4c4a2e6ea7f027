"""Growing for real: labels are added, a version grows by them, twice; then back, and from scratch.

The tests of this file follow one another on one project.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import torch
import yaml
from documents import check_document
from growing import NAMES, OLD, SIZE_PX, write_pictures
from programs import TIMEOUT_S, kill, wait_until
from project import Project

from components.embedding.embeddings import read_embeddings
from components.images.remote_store import StoreLocation
from components.params import ModelParams, TrainParams, load_section
from components.registry.package import read_package
from components.training.growth import grow, plan_growth, read_parent
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.trained import WEIGHTS_FILE, read_trained_model

pytestmark = pytest.mark.slow

PARAMS = {
    "data": {
        "format": "table",
        "root": "data/raw/quarters",
        "exclude_attributes": ["hem", "pattern"],
    },
    "preprocess": {"image_size_px": SIZE_PX},
    "sampling": {
        "attributes_per_batch": 2,
        "batches_per_epoch": 4,
        "num_epochs": 1,
        "values_per_attribute": 3,
    },
    "train": {"flip_probability": 0.0},  # the mirror image of a picture has other values
    "embed": {"num_workers": 0, "images_per_part": 64},
    "gate": {  # so little training may end anywhere
        "min_map_change": -100.0,
        "max_attribute_drop": 100.0,
        "min_above_random": -100.0,
        "max_mean_similarity": 1.0,
    },
}
COMMITTED = ["params.yaml", "dvc.lock", "models/*.dvc", "metrics", "plots"]  # as docs/grow.md says


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project whose first version knows collar and sleeve, and is champion."""
    project = Project(tmp_path_factory.mktemp("grown") / "hemline", programs=warm)
    project.set_params(PARAMS)
    write_pictures(project.folder / "data/raw/quarters")
    commit(project, "params.yaml")
    project.run("dvc", "repro")
    project.run("hemline", "promote")
    commit(project, "dvc.lock", "metrics", "plots")
    return project


def commit(project: Project, *paths: str) -> None:
    project.run("git", "add", *paths)
    project.run("git", "commit", "-qm", "results")


def label(project: Project, *names: str) -> None:
    """Makes the catalog have these attributes beside collar and sleeve."""
    left_out = [name for name in NAMES if name not in (*OLD, *names)]
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    params["data"]["exclude_attributes"] = left_out
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    project.run("dvc", "repro", "split")


def client(project: Project) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(project.tracking_uri)


def aliases(project: Project) -> dict[str, int]:
    model = client(project).get_registered_model("hemline")
    return {alias: int(number) for alias, number in model.aliases.items()}


def versions(project: Project) -> list[int]:
    found = client(project).search_model_versions("name='hemline'")
    return sorted(int(each.version) for each in found)


def vectors(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all embeddings in a folder, by attribute."""
    embedded = read_embeddings(folder)
    return {
        name: b"".join(part.embeddings_nD.tobytes() for part in embedded.vectors(name))
        for name in embedded.attributes
    }


def params_of(project: Project) -> dict[str, Any]:
    return yaml.safe_load((project.folder / "params.yaml").read_text())


def test_a_version_grows_by_an_attribute(project: Project) -> None:
    label(project, "hem")
    before = vectors(project.folder / "data/embeddings")
    arguments = ["models:/hemline@champion", "--attribute", "hem", "--format", "json"]
    done = project.run("hemline", "grow", *arguments)
    document = json.loads(done.stdout)
    check_document("grow", document)
    assert (document["model"], document["extends"]) == ("models:/hemline/2", "models:/hemline/1")
    assert document["attributes"] == ["hem"]
    assert document["growth"]["hem"]["own"]["map"] > 80
    tags = client(project).get_model_version("hemline", "2").tags
    assert tags["hemline.extends"] == "models:/hemline/1"
    assert tags["hemline.unchanged_sha256"] == document["unchanged_sha256"]
    assert "hem (" in done.stderr
    after = vectors(project.folder / "data/embeddings")
    assert after.keys() == {*OLD, "hem"}
    assert {name: after[name] for name in OLD} == before
    graph = client(project).get_model_version("hemline", "1").tags["hemline.graph_sha256"]
    assert params_of(project)["train"]["parent"] == graph
    package = read_package(project.folder / "models/parent/package")
    assert (package.graph_sha256, package.schema.names) == (graph, OLD)
    assert "Running stage" not in project.run("dvc", "repro").stdout
    commit(project, *COMMITTED)
    assert not project.run("git", "status", "--porcelain").stdout


def test_killed_while_it_repeats_the_stages_it_ends_with_one_new_version(
    project: Project, tmp_path: Path
) -> None:
    """Once as soon as there is a run, and once as soon as there is a version."""
    project.run("hemline", "promote")
    assert aliases(project) == {"champion": 2, "challenger": 2}
    label(project, "hem", "pattern")
    states = project.folder / ".hemline/training"
    kill_when(project, lambda: bool([*states.glob("*/run.json")]))
    assert versions(project) == [1, 2]
    kill_when(project, lambda: versions(project) == [1, 2, 3])
    done = project.run("hemline", "grow")
    assert versions(project) == [1, 2, 3]
    assert "models:/hemline/3 extends models:/hemline/2: embeddings of all attributes" in " ".join(
        done.stdout.split()
    )
    assert "pattern was grown: MAP" in done.stdout
    assert "hem was grown" not in done.stdout, "it was before"
    assert len(client(project).search_runs(["1"])) == 3, "the run that was killed went on"
    assert not [*states.glob("*")]
    embedded = vectors(project.folder / "data/embeddings")
    published = vectors(project.folder / "data/published/hemline-2")
    assert embedded.keys() == {*NAMES}
    assert {name: embedded[name] for name in published} == published
    assert_as_if_it_had_never_been_killed(project, tmp_path)
    commit(project, *COMMITTED)


def kill_when(project: Project, happened: Callable[[], bool]) -> None:
    """Starts growing and kills it, with all that it started, in a state that is looked for."""
    command = subprocess.Popen(
        ["hemline", "grow"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: happened() or command.poll() is not None)
        assert command.poll() is None, "it ended before it could be killed"
    finally:
        kill(command)
        kill_all_in(project.folder)


def kill_all_in(folder: Path) -> None:
    """Kills what runs in a folder: a warm Python's programs are none of a command's children."""

    def running() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()) == folder:
                    found.append(process)
        return found

    while found := running():
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=TIMEOUT_S)


def assert_as_if_it_had_never_been_killed(project: Project, tmp_path: Path) -> None:
    """Weights have the bytes of a run in this process, and embeddings are by these weights."""
    data, params = project.folder / "data", project.folder / "params.yaml"
    inputs = TrainingInputs(
        catalog=data / "catalog",
        store=StoreLocation(address=str(data / "store"), cache=tmp_path),
        splits=data / "splits",
        triplets=data / "triplets",
    )
    train = load_section(params, TrainParams)
    assert train.parent is not None
    parent = read_parent(project.folder / "models/parent", train.parent)
    growth = plan_growth(
        parent, inputs, load_section(params, ModelParams), flip_probability=train.flip_probability
    )
    grow(growth, train, folder=tmp_path, log=lambda *_, **__: None)
    weights = (project.folder / "models/network" / WEIGHTS_FILE).read_bytes()
    assert weights == (tmp_path / BEST_WEIGHTS).read_bytes()
    network = read_trained_model(project.folder / "models/network")
    embedded = read_embeddings(data / "embeddings")
    (number,) = [n for n, name in enumerate(network.schema.names) if name == "pattern"]
    for part in embedded.vectors("pattern"):
        pixels = torch.from_numpy(growth.store.gather(part.images_n))
        with torch.inference_mode():
            expected = network.embed(pixels, torch.full((len(pixels), 1), number))[:, 0].numpy()
        np.testing.assert_allclose(part.embeddings_nD, expected, atol=1e-3)  # float16 of 1


def test_undo_goes_back_one_version_at_a_time(project: Project) -> None:
    project.run("hemline", "promote")
    assert aliases(project) == {"champion": 3, "challenger": 3}
    params, before = params_of(project), vectors(project.folder / "data/published/hemline-1")
    for number in (2, 1):
        done = project.run("hemline", "grow", "--undo", "--format", "json")
        document = json.loads(done.stdout)
        assert document["champion"] == f"models:/hemline/{number}"
        assert document["previous"] == f"models:/hemline/{number + 1}"
        assert "params.yaml still names the version that was grown" in " ".join(done.stderr.split())
    refused = project.run("hemline", "grow", "--undo", check=False)
    assert (refused.returncode, "was not grown" in refused.stderr) == (1, True)
    assert aliases(project) == {"champion": 1, "challenger": 3}
    assert params_of(project) == params
    assert vectors(project.folder / "data/published/hemline-1") == before


def test_a_grown_version_is_made_again_from_scratch_after_what_it_was_grown_from(
    project: Project,
) -> None:
    """Whose folder holds another one by now."""
    held = json.loads((project.folder / "models/parent/version.json").read_text())
    assert held["version"] == 2
    arguments = ["models:/hemline/2", "--from-scratch", "--format", "json"]
    done = project.run("hemline", "reproduce", *arguments)
    found = json.loads(done.stdout)
    check_document("reproduce", found)
    (parent,) = found["grown_from"]
    for each in (found, parent):
        assert each["verdict"] == "identical"
        verdicts = {row["output"]: row["verdict"] for row in each["outputs"]}
        assert verdicts["models/network"] == verdicts["metrics/evaluation.json"] == "identical"
        assert "train" in each["computed_stages"]
    assert parent["target"].startswith("models:/hemline/1")
    assert versions(project) == [1, 2, 3]
    assert not project.run("git", "status", "--porcelain").stdout
