"""Git and DVC facts of a run, against a real repository."""

import subprocess
from pathlib import Path

import pytest
import yaml
from mlflow.utils.validation import _validate_tag_name

from components.provenance.provenance import (
    current,
    digest,
    dvc_tags,
    git_tags,
    local_changes,
    with_followers,
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("1")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *who, *arguments], check=True)
    return tmp_path


def test_git_tags_name_commit_and_dirt(repository: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert git_tags() == {"mlflow.source.git.commit": head, "hemline.git_dirty": "false"}
    (repository / "code.py").write_text("2")
    assert git_tags()["hemline.git_dirty"] == "true"


def test_outside_a_repository_there_are_no_git_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_tags() == {}


def test_dvc_tags_are_the_hashes_of_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    stages = {
        "a": {"cmd": "x", "deps": [{"path": "raw", "md5": "1.dir"}], "outs": [{"path": "out"}]},
        "b": {"cmd": "x", "outs": [{"path": "data/store", "md5": "2.dir"}]},
    }
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    paths = [Path("raw"), Path("data/store"), Path("out"), Path("unknown")]
    assert dvc_tags(paths, lock=lock) == {"dvc.raw": "1.dir", "dvc.data/store": "2.dir"}
    assert dvc_tags(paths, lock=tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/raw", "dvc.data/raw"),
        ("/srv/data/", "dvc./srv/data"),
        ("../../raw", "dvc.__/__/raw"),
        ("my data (new)/é@2", "dvc.my data _new_/é_2"),
        ("s3://key:secret@bucket/raw", "dvc.s3:/bucket/raw"),
    ],
)
def test_any_path_gives_a_tag_that_mlflow_takes(tmp_path: Path, path: str, name: str) -> None:
    lock = tmp_path / "dvc.lock"
    stages = {"a": {"deps": [{"path": path, "etag": "1"}]}}
    lock.write_text(yaml.safe_dump({"stages": stages}))
    assert dvc_tags([path], lock=lock) == {name: "1"}
    _validate_tag_name(name)


def test_a_patch_has_all_that_code_is_and_nothing_that_stages_write(repository: Path) -> None:
    pipeline = {"train": {"cmd": "x", "outs": ["models", {"curve.csv": {"cache": False}}]}}
    for name, content in (("dvc.yaml", yaml.safe_dump({"stages": pipeline})), ("dvc.lock", "1")):
        (repository / name).write_text(content)
    (repository / "curve.csv").write_text("1")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    assert local_changes() == ""
    for name in ("dvc.lock", "curve.csv"):
        (repository / name).write_text("2")
    assert local_changes() == "", "stages write these"
    assert git_tags()["hemline.git_dirty"] == "false"

    (repository / "code.py").write_bytes(b"2 # caf\xe9\n")
    (repository / "new.py").write_text("new\n")
    (repository / "notes.txt").write_text("not code")
    patch = local_changes()
    assert git_tags()["hemline.git_dirty"] == "true"
    clone = repository.parent / "clone"
    git(repository, "clone", "-q", ".", str(clone))
    (clone / "patch").write_bytes(patch.encode(errors="surrogateescape"))
    git(clone, "apply", "patch")
    assert (clone / "code.py").read_bytes() == b"2 # caf\xe9\n"
    assert (clone / "new.py").read_text() == "new\n"
    assert not (clone / "notes.txt").exists()


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, cwd=folder)


STAGES = {
    "a": {"outs": [{"path": "one", "md5": "1"}]},
    "b": {"deps": [{"path": "one", "md5": "1"}], "outs": [{"path": "two", "md5": "2"}]},
    "c": {"deps": [{"path": "two/file", "md5": "9"}], "outs": [{"path": "three", "md5": "3"}]},
    "d": {"deps": [{"path": "three", "md5": "3"}], "outs": []},
}


def test_stages_that_have_yet_to_run_again_are_left_out_with_what_follows() -> None:
    assert current(STAGES) == STAGES
    changed = {**STAGES, "a": {"outs": [{"path": "one", "md5": "other"}]}}
    assert list(current(changed)) == ["a", "c", "d"], "c reads a file of a folder: not known"
    changed = {**STAGES, "c": {**STAGES["c"], "outs": [{"path": "three", "md5": "other"}]}}
    assert list(current(changed)) == ["a", "b", "c"]


def test_followers_read_what_a_stage_makes_or_a_part_of_it() -> None:
    assert with_followers(STAGES, "b") == {"b", "c", "d"}
    assert with_followers(STAGES, "d") == {"d"}


def test_the_digest_of_stages_is_of_their_content_alone() -> None:
    assert digest(STAGES) == digest(dict(reversed(STAGES.items())))
    assert digest(STAGES) != digest(current({**STAGES, "a": {"outs": []}}))
