"""Nights of a shop, with real git, DVC and MLflow: data arrives, models come, one is refused.

One project goes through all of them, in the order of the tests. Two nights are killed for real; the
others run in this process, where only DVC and its stages are processes of their own.
"""

import csv
import json
import random
import re
import signal
import subprocess
import sys
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
from nights import killed_at, retrain
from programs import kill
from project import Project

from components.params import RetrainParams, load_section
from pipelines.operations.retrain import new_data
from pipelines.operations.retrain.report import STEPS, RetrainReport

pytestmark = pytest.mark.slow

WARDROBE = "data/raw/wardrobe"
SHOP = {
    # one kind of label that so few images and steps teach; the others have too few to measure
    "data": {
        "exclude_attributes": [
            "coat_length",
            "collar_design",
            "lapel_design",
            "neck_design",
            "neckline_design",
            "sleeve_length",
        ]
    },
    "preprocess": {"image_size_px": 32},
    "embed": {"num_workers": 0},  # on Ray: test_dag.py
    "split": {"train_share": 0.5, "valid_share": 0.2, "test_share": 0.3, "query_share": 0.5},
    # the first night trains for a single step: the network is as good as untrained
    "sampling": {
        "num_epochs": 1,
        "batches_per_epoch": 1,
        "attributes_per_batch": 2,
        "values_per_attribute": 4,
        "images_per_value": 4,
        "evaluation_triplets": 20,
    },
    "checkpoint": {"every_steps": 100},
    # an untrained network's vectors lie close together, 0.89 here
    "gate": {"max_mean_similarity": 0.97},
    # six values of 60 labels: shares of them differ by so much from draw to draw
    "retrain": {"max_label_shift": 0.25},
}
LEARNING = {"sampling": {"num_epochs": 2, "batches_per_epoch": 50}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project with the first images, a remote of git and one of DVC."""
    folder = tmp_path_factory.mktemp("shop")
    project = Project(folder / "hemline", programs=warm)
    project.set_params(SHOP)
    draw(project, "480", out=WARDROBE, seed="5")
    project.run("git", "init", "-q", "--bare", str(folder / "git-remote"))
    project.run("git", "remote", "add", "origin", str(folder / "git-remote"))
    project.run("dvc", "remote", "add", "-d", "store", str(folder / "dvc-remote"))
    project.run("dvc", "add", WARDROBE)
    commit(project, "the first images")
    return project


def draw(project: Project, num_images: str, *, out: str, seed: str) -> None:
    arguments = ["--images", num_images, "--image-size", "64", "--seed", seed]
    project.run("python", "-m", "pipelines", "wardrobe", "--out", out, *arguments)


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", message)


def killed_after(project: Project, line: str) -> str:
    """Returns what a retrain printed, which SIGKILL ended, with all it started, after a line."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines", "retrain"],  # a whole tree of processes to kill
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where it says which step it takes
        text=True,
        start_new_session=True,
    ) as process:
        printed = []
        for each in process.stdout or ():
            printed.append(each)
            if each.startswith(line):
                kill(process)
                break
        printed += list(process.stdout or ())
    assert process.returncode == -signal.SIGKILL, "".join(printed)
    return "".join(printed)


def summary(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.folder / "reports/retrain.json").read_text())
    return content


def git(project: Project, *arguments: str) -> str:
    return project.run("git", *arguments).stdout.strip()


def registered(project: Project) -> tuple[list[int], int]:
    """Returns all versions, and the champion."""
    client = mlflow.MlflowClient(project.tracking_uri)
    versions = client.search_model_versions("name='hemline'")
    champion = client.get_model_version_by_alias("hemline", "champion")
    return sorted(int(version.version) for version in versions), int(champion.version)


def test_the_first_data_makes_the_first_champion(shop: Project) -> None:
    retrain(shop, status=0)
    told = summary(shop)
    assert (told["outcome"], told["exit_code"]) == ("promoted", 0)
    assert (told["champion_before"], told["champion_after"]) == (None, 1)
    assert told["num_new_images"] == told["num_images"] > 50
    assert told["pushed"] == ["dvc", "origin"]
    assert registered(shop) == ([1], 1)
    assert git(shop, "tag") == told["tag"] == "retrain-1-promoted"


def test_the_commit_holds_what_the_run_made_and_nothing_else(shop: Project) -> None:
    changed = set(git(shop, "show", "--name-only", "--format=", "HEAD").split())
    assert changed == {
        "dvc.lock",
        "metrics/evaluation.json",
        "plots/map_per_attribute.csv",
        "plots/training.csv",
    }
    assert git(shop, "status", "--porcelain") == ""


@pytest.mark.parametrize("file", ["evaluation/examples.py", "embedding/source.py"])
def test_a_commit_of_code_alone_is_nothing_new(shop: Project, file: str) -> None:
    """Stages run again, and what they make is as before: no version, no verdict, no tag.

    Every such night leaves a clean tree, so that the next one can start.
    """
    before = registered(shop)
    with (shop.folder / "components" / file).open("a") as code:
        code.write("# a comment\n")
    commit(shop, "a comment")
    retrain(shop, status=11)
    told = summary(shop)
    assert (told["outcome"], told["version"], told["verdict"]) == ("nothing new", 1, None)
    assert (told["champion_before"], told["champion_after"]) == (1, 1)
    assert registered(shop) == before
    assert git(shop, "tag") == "retrain-1-promoted"
    assert git(shop, "log", "-1", "--format=%s") == "Retrain: the code changed, version 1 stands"
    assert git(shop, "show", "--name-only", "--format=", "HEAD") == "dvc.lock"
    assert_clean_and_pushed(shop)
    retrain(shop, status=11)
    assert summary(shop)["commit"] is None


def test_uncommitted_changes_are_named_and_stop_it(shop: Project) -> None:
    shop.set_params(LEARNING)
    said = retrain(shop, status=1)
    assert "params.yaml" in said
    assert "commit them" in said
    assert summary(shop)["step"] == "fetch data"
    assert registered(shop) == ([1], 1)


def test_killed_at_every_step_it_ends_as_if_it_never_was(shop: Project) -> None:
    commit(shop, "time to learn")
    draw(shop, "640", out=f"{WARDROBE}/train2", seed="6")
    base = git(shop, "rev-parse", "HEAD")
    before = pq.read_table(shop.folder / "data/catalog/images.parquet").num_rows
    hook = shop.folder / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nsleep 1000\n")  # the last step ends too soon to be killed in
    hook.chmod(0o755)
    after_train = STEPS.index("train") + 1
    printed = [killed_at(shop, step) for step in STEPS[:after_train]]
    printed.append(killed_after(shop, "Running stage 'train'"))
    printed += [killed_at(shop, step) for step in STEPS[after_train:]]
    printed.append(killed_after(shop, f"[{len(STEPS)}/{len(STEPS)}] git push"))
    hook.unlink()
    retrain(shop, status=0)

    told = summary(shop)
    new = told["num_new_images"]
    assert told["resumed"]
    assert (told["champion_before"], told["champion_after"]) == (1, 2)
    assert told["num_images_before"] == before
    assert told["num_images"] == before + new > before
    decoded = re.findall(r"(\d+) decoded, (\d+) kept", "".join(printed))
    assert decoded == [(str(new), str(before))]
    assert registered(shop) == ([1, 2], 2)
    assert git(shop, "rev-list", f"{base}..HEAD") == told["commit"]
    assert git(shop, "tag").split() == ["retrain-1-promoted", "retrain-2-promoted"]
    assert_clean_and_pushed(shop)


def assert_clean_and_pushed(project: Project) -> None:
    assert git(project, "status", "--porcelain") == ""
    here = git(project, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads")
    tags = git(project, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    there = git(project, "ls-remote", "--refs", "origin").splitlines()
    assert {" ".join(reversed(line.split())) for line in there} == {
        *here.split("\n"),
        *tags.split("\n"),
    }
    assert "in sync" in project.run("dvc", "status", "--cloud").stdout


def test_labels_that_vanish_stop_it_before_training(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((shop.folder / WARDROBE).glob("**/label.csv"))
    mended = {file: file.read_text() for file in files}
    short, knee = "nynnnn", "nnynnn"
    for file, text in mended.items():
        file.write_text(text.replace(f"skirt_length_labels,{short}", f"skirt_length_labels,{knee}"))
    said = retrain(shop, status=1)
    assert "attribute 'skirt_length' has lost its value 'short'" in said
    assert "--accept-data" in said
    told = summary(shop)
    assert told["step"] == "check data"
    assert [x["value"] for x in told["findings"] if x["kind"] == "vanished_value"] == ["short"]
    assert told["error"] in (shop.folder / "reports/retrain.md").read_text()
    assert registered(shop) == ([1, 2], 2)

    monkeypatch.chdir(shop.folder)
    section = load_section(Path("params.yaml"), RetrainParams)
    accepted = RetrainReport()
    new_data.check_data("HEAD", section=section, accept=True, report=accepted)
    assert [asdict(finding) for finding in accepted.findings] == told["findings"]
    for file, text in mended.items():
        file.write_text(text)


def test_poisoned_labels_keep_their_distribution_and_are_rejected(shop: Project) -> None:
    """Labels that train are shuffled, those that measure are right: the gate sees what was learnt.

    It resumes the previous night, and reads its data again.
    """
    shuffle_training_labels(shop)
    published = promoted_embeddings(shop)
    retrain(shop, status=10)
    told = summary(shop)
    assert told["outcome"] == "rejected"
    assert (told["champion_before"], told["champion_after"]) == (2, 2)
    assert told["num_new_images"] == 0
    assert told["findings"] == []
    assert registered(shop) == ([1, 2, 3], 2)
    assert promoted_embeddings(shop) == published
    assert git(shop, "log", "-1", "--format=%s") == "Retrain: version 3 rejected"
    assert git(shop, "rev-parse", "retrain-3-rejected^{commit}") == told["commit"]
    assert "| **no** |" in (shop.folder / "reports/retrain.md").read_text()
    assert_clean_and_pushed(shop)


def promoted_embeddings(project: Project) -> list[tuple[str, int]]:
    """Returns the files that consumers of the second version read, and when they were written."""
    folder = project.folder / "data/published/hemline-2"
    found = sorted((str(x), x.stat().st_mtime_ns) for x in folder.glob("**/*.parquet"))
    assert found
    return found


def shuffle_training_labels(project: Project) -> None:
    splits = pq.read_table(project.folder / "data/splits/splits.parquet").to_pandas()
    images = pq.read_table(project.folder / "data/catalog/images.parquet").to_pandas()
    train = set(images.set_index("image")["path"][splits.image[splits.split == "train"]])
    dealer = random.Random(0)
    for file in (project.folder / WARDROBE).glob("**/label.csv"):
        part = file.parents[1].relative_to(project.folder / WARDROBE)
        rows = list(csv.reader(file.open()))
        for attribute in ("skirt_length_labels", "pant_length_labels"):
            shuffled = [x for x in rows if x[1] == attribute and str(part / x[0]) in train]
            letters = [row[2] for row in shuffled]
            dealer.shuffle(letters)
            for row, others in zip(shuffled, letters, strict=True):
                row[2] = others
        with file.open("w", newline="") as target:
            csv.writer(target, lineterminator="\n").writerows(rows)


def test_on_another_machine_nothing_is_new(shop: Project, tmp_path: Path) -> None:
    """A clone finds everything in the remotes, and nothing to do."""
    clone = copy(shop)
    clone.folder = tmp_path / "clone"
    remote = git(shop, "remote", "get-url", "origin")
    shop.run("git", "clone", "-q", remote, str(clone.folder))
    retrain(clone, status=11, MLFLOW_TRACKING_URI=shop.tracking_uri)
    assert summary(clone)["outcome"] == "nothing new"
    assert summary(clone)["version"] == 3
    assert clone.lock == shop.lock
    assert git(clone, "rev-parse", "HEAD") == git(shop, "rev-parse", "HEAD")
    assert registered(shop) == ([1, 2, 3], 2)
