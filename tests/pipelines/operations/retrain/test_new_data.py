"""Fetching, with real DVC: what is imported is updated, what is missing comes back."""

import shutil
from pathlib import Path

import pytest
from small_line import run_dvc

from components.errors import HemlineError
from components.provenance import git
from pipelines.operations.retrain import new_data
from pipelines.shell import dvc


@pytest.fixture
def shop(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory: labels imported from elsewhere, and a folder of images of our own."""
    Path("dvc.lock").unlink()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "labels.csv"
    elsewhere.write_text("a.jpg,short\n")
    Path("images").mkdir()
    Path("images/a.jpg").write_bytes(b"a")
    run_dvc("init", "--quiet")
    run_dvc("import-url", "--quiet", str(elsewhere), "labels.csv")
    run_dvc("add", "--quiet", "images")
    commit_all()
    return elsewhere


def commit_all() -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    git.read("add", "--all")
    git.read(*author, "commit", "-qm", "data")


def test_what_is_missing_comes_from_the_cache_or_the_remote(
    shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert dvc.missing_outputs() == []
    Path("labels.csv").unlink()
    assert dvc.missing_outputs() == ["labels.csv"]
    new_data.fetch()
    assert Path("labels.csv").read_text() == "a.jpg,short\n"

    assert not dvc.has_remote()
    run_dvc("remote", "add", "--default", "store", str(tmp_path_factory.mktemp("remote")))
    run_dvc("push", "--quiet")
    for path in (".dvc/cache", "images"):
        shutil.rmtree(path)
    assert dvc.missing_outputs() == ["images"]
    new_data.fetch()
    assert Path("images/a.jpg").read_bytes() == b"a"
    assert dvc.is_unchanged()


def test_what_was_imported_is_updated_and_is_the_retrains_own_change(shop: Path) -> None:
    new_data.fetch()
    assert dvc.imports() == ["labels.csv.dvc"]
    assert git.unrecorded(dvc.recorded_paths()) == []
    shop.write_text("a.jpg,short\nb.jpg,long\n")
    new_data.fetch()
    assert Path("labels.csv").read_text() == "a.jpg,short\nb.jpg,long\n"
    assert git.unrecorded(dvc.recorded_paths()) == ["labels.csv.dvc"]

    with pytest.raises(HemlineError, match=r"labels\.csv\.dvc.*commit them"):
        new_data.check_tree(resumed=False)
    new_data.check_tree(resumed=True)
    Path("notes.txt").write_text("a thought\n")
    with pytest.raises(HemlineError, match=r"notes\.txt"):
        new_data.check_tree(resumed=True)


def test_a_commits_data_is_copied_or_it_is_told_what_is_missing(shop: Path, tmp_path: Path) -> None:
    images, copy = Path("images"), tmp_path / "copy"
    assert not dvc.copy_committed(images, "HEAD", into=copy), "a commit without dvc.lock"
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    commit_all()
    Path("images/a.jpg").write_bytes(b"another")
    assert dvc.copy_committed(images, "HEAD", into=copy)
    assert (copy / "a.jpg").read_bytes() == b"a"
    assert not dvc.copy_committed(Path("data/catalog"), "HEAD", into=copy)
    shutil.rmtree(".dvc/cache")
    with pytest.raises(HemlineError, match="Bring back DVC's cache or its remote"):
        dvc.copy_committed(images, "HEAD", into=tmp_path / "again")
