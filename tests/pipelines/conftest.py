"""The tiny project, run once from raw data to embeddings."""

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
