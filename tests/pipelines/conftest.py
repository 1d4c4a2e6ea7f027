"""The tiny project, run once from raw data to embeddings."""

import subprocess
from pathlib import Path

import pytest
from project import Project


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with raw data where no stage has run."""
    return _with_data(Project(tmp_path_factory.mktemp("fresh") / "hemline"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project where `dvc repro` has run."""
    project = _with_data(Project(tmp_path_factory.mktemp("done") / "hemline"))
    project.run("dvc", "repro")
    return project


def _with_data(project: Project) -> Project:
    arguments = ["--images", "400", "--image-size", "64", "--seed", "5"]
    project.run("hemline", "wardrobe", "--out", "data/raw/wardrobe", *arguments)
    return project


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a repository with a commit, on a machine that knows no author."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for name in ("dvc.lock", "notes.txt"):
        Path(name).write_text("old\n")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *author, *arguments], check=True)
    return tmp_path
