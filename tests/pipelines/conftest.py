"""The tiny project, run once from raw data to embeddings."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from project import Project
from warm_python import warm_python

from pipelines.shell.cli import ENVIRONMENT


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """A folder with programs that start at once, for projects of which many stages run."""
    with warm_python({**os.environ, **ENVIRONMENT}) as folder:
        yield folder


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project with raw data where no stage has run: never changed, to be copied."""

    def make(project: Project) -> None:
        project.draw("data/raw/wardrobe", num_images=400, seed=5)

    return _made_once("fresh", make, tmp_path_factory, programs=warm)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, fresh: Project, warm: Path) -> Project:
    """A project where `dvc repro` has run: never changed, to be copied."""

    def make(project: Project) -> None:
        shutil.copytree(fresh.folder / "data", project.folder / "data", dirs_exist_ok=True)
        project.run("dvc", "repro")

    return _made_once("trained", make, tmp_path_factory, programs=warm)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, trained: Project) -> Project:
    """A project where `dvc repro` has run, for the tests of a file."""
    return trained.copy(tmp_path_factory.mktemp("project") / "hemline")


def _made_once(
    name: str,
    make: Callable[[Project], None],
    tmp_path_factory: pytest.TempPathFactory,
    *,
    programs: Path,
) -> Project:
    """Returns a project that one of xdist's workers makes, and the others wait for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all workers
    made = folder / f"{name}.made"
    with FileLock(folder / f"{name}.lock"):
        project = Project(folder / name / "hemline", programs=programs)
        if not made.exists():
            make(project)
            made.touch()
    return project
