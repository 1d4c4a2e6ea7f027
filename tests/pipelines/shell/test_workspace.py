"""What git is told: in a repository of a few files, with real git."""

import subprocess
from pathlib import Path

import pytest

from components.errors import HemlineError
from pipelines.shell import workspace


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_takes_its_files_and_leaves_what_somebody_staged(repository: Path) -> None:
    Path("dvc.lock").write_text("new\n")
    Path("metrics.json").write_text("{}\n")
    Path("notes.txt").write_text("half a thought\n")
    git("add", "notes.txt")
    workspace.commit_only(["dvc.lock", "metrics.json"], "Retrain: version 1 promoted")
    assert git("show", "--name-only", "--format=%an", "HEAD").split("\n") == [
        "hemline retrain",
        "",
        "dvc.lock",
        "metrics.json",
    ]
    assert git("status", "--porcelain") == "M  notes.txt"
    assert workspace.changed_files() == ["notes.txt"]


def test_an_author_that_git_knows_is_the_author(repository: Path) -> None:
    git("config", "user.name", "night shift")
    git("config", "user.email", "night@example.org")
    Path("dvc.lock").write_text("new\n")
    workspace.commit_only(["dvc.lock"], "second")
    workspace.tag("retrain-1-promoted", "second")
    assert git("log", "-1", "--format=%an") == "night shift"
    assert git("for-each-ref", "--format=%(taggername)", "refs/tags") == "night shift"


def test_the_remote_is_the_branchs_own_or_origin_or_the_only_one(repository: Path) -> None:
    assert workspace.git_remote() is None
    git("remote", "add", "backup", "/nowhere/backup")
    assert workspace.git_remote() == "backup"
    git("remote", "add", "archive", "/nowhere/archive")
    assert workspace.git_remote() is None
    git("remote", "add", "origin", "/nowhere/origin")
    assert workspace.git_remote() == "origin"
    git("config", "branch.main.remote", "archive")
    assert workspace.git_remote() == "archive"
    assert workspace.upstream("main") == "refs/heads/main"
    git("config", "branch.main.merge", "refs/heads/nightly")
    assert workspace.upstream("main") == "refs/heads/nightly"


def test_a_folder_without_a_commit_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(HemlineError, match="git init"):
        workspace.head()
