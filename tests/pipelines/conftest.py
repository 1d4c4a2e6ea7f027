"""The tiny project, run once from raw data to embeddings."""

import os
import shutil
from collections.abc import Callable

import pytest
from filelock import FileLock
from project import Project


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with raw data where no stage has run: never changed, to be copied."""

    def make(project: Project) -> None:
        project.draw("data/raw/wardrobe", num_images=400, seed=5)

    return _made_once("fresh", make, tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, fresh: Project) -> Project:
    """A project where `dvc repro` has run: never changed, to be copied."""

    def make(project: Project) -> None:
        shutil.copytree(fresh.folder / "data", project.folder / "data", dirs_exist_ok=True)
        project.run("dvc", "repro")

    return _made_once("trained", make, tmp_path_factory)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, trained: Project) -> Project:
    """A project where `dvc repro` has run, for the tests of a file."""
    return trained.copy(tmp_path_factory.mktemp("project") / "hemline")


def _made_once(
    name: str, make: Callable[[Project], None], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Returns a project that one of xdist's workers makes, and the others wait for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all workers
    made = folder / f"{name}.made"
    with FileLock(folder / f"{name}.lock"):
        project = Project(folder / name / "hemline")
        if not made.exists():
            make(project)
            made.touch()
    return project
