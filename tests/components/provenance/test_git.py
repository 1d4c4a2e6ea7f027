"""What git is told: in a repository of a few files, with real git."""

import subprocess
from pathlib import Path

import pytest

from components.errors import HemlineError
from components.provenance import git as adapter


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_takes_its_files_and_leaves_what_somebody_staged(repository: Path) -> None:
    Path("dvc.lock").write_text("new\n")
    Path("metrics.json").write_text("{}\n")
    Path("notes.txt").write_text("half a thought\n")
    git("add", "notes.txt")
    adapter.commit_only(["dvc.lock", "metrics.json"], "Retrain: version 1 promoted")
    assert git("show", "--name-only", "--format=%an", "HEAD").split("\n") == [
        "hemline retrain",
        "",
        "dvc.lock",
        "metrics.json",
    ]
    assert git("status", "--porcelain") == "M  notes.txt"
    assert adapter.changed_files() == ["notes.txt"]


def test_what_is_unrecorded_is_told_of_the_paths_asked_for_alone(repository: Path) -> None:
    for name in ("dvc.lock", "notes.txt", "metrics.json"):
        Path(name).write_text("new\n")
    assert adapter.unrecorded(["missing"]) == []
    assert adapter.unrecorded(["dvc.lock", "metrics.json", "missing"]) == [
        "dvc.lock",
        "metrics.json",
    ]


def test_an_author_that_git_knows_is_the_author(repository: Path) -> None:
    git("config", "user.name", "night shift")
    git("config", "user.email", "night@example.org")
    Path("dvc.lock").write_text("new\n")
    adapter.commit_only(["dvc.lock"], "second")
    adapter.tag("retrain-1-promoted", "second")
    assert git("log", "-1", "--format=%an") == "night shift"
    assert git("for-each-ref", "--format=%(taggername)", "refs/tags") == "night shift"


def test_the_remote_is_the_branchs_own_or_origin_or_the_only_one(repository: Path) -> None:
    assert adapter.remote() is None
    git("remote", "add", "backup", "/nowhere/backup")
    assert adapter.remote() == "backup"
    git("remote", "add", "archive", "/nowhere/archive")
    assert adapter.remote() is None
    git("remote", "add", "origin", "/nowhere/origin")
    assert adapter.remote() == "origin"
    git("config", "branch.main.remote", "archive")
    assert adapter.remote() == "archive"
    assert adapter.upstream("main") == "refs/heads/main"
    git("config", "branch.main.merge", "refs/heads/nightly")
    assert adapter.upstream("main") == "refs/heads/nightly"


def test_a_folder_without_a_commit_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(HemlineError, match="git init"):
        adapter.head()


def test_a_patch_has_all_that_code_is_and_nothing_that_is_left_out(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = [Path("dvc.lock"), Path("curve.csv")]
    Path("dvc.lock").write_text("new\n")
    assert adapter.patch(without=written) == ""
    assert "+new" in adapter.patch(without=[])

    Path("code.py").write_text("1\n")
    git("add", "code.py")
    adapter.commit_only(["code.py"], "code")
    Path("code.py").write_bytes(b"2 # caf\xe9\r\n")
    Path("new.py").write_text("new\n")
    Path("thought.txt").write_text("not code")
    patch = adapter.patch(without=written)
    clone = tmp_path_factory.mktemp("clone")
    git("clone", "-q", ".", str(clone))
    (clone / "patch").write_bytes(patch.encode(errors="surrogateescape"))
    git("-C", str(clone), "apply", "--whitespace=nowarn", "patch")
    assert (clone / "code.py").read_bytes() == b"2 # caf\xe9\r\n"
    assert (clone / "new.py").read_text() == "new\n"
    assert (clone / "dvc.lock").read_text() == "old\n"
    assert not (clone / "thought.txt").exists()


def test_a_patch_of_a_folder_of_the_repository_has_changes_around_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("project").mkdir()
    Path("project/dvc.lock").write_text("1\n")
    git("add", "project")
    adapter.commit_only(["project/dvc.lock"], "project")
    Path("project/dvc.lock").write_text("2\n")
    Path("notes.txt").write_text("changed\n")
    monkeypatch.chdir("project")
    assert adapter.prefix() == "project/"
    patch = adapter.patch(without=[Path("dvc.lock")])
    assert "+changed" in patch
    assert "dvc.lock" not in patch
