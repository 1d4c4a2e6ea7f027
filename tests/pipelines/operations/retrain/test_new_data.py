"""Fetching, with real DVC: what is imported is updated, what is missing comes back."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import HemlineError
from pipelines.operations.retrain import new_data
from pipelines.shell import workspace

pytestmark = pytest.mark.slow


def dvc(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def shop(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory: labels imported from elsewhere, and a folder of images of our own."""
    Path("dvc.lock").unlink()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "labels.csv"
    elsewhere.write_text("a.jpg,short\n")
    Path("images").mkdir()
    Path("images/a.jpg").write_bytes(b"a")
    dvc("init", "--quiet")
    dvc("import-url", "--quiet", str(elsewhere), "labels.csv")
    dvc("add", "--quiet", "images")
    commit_all()
    return elsewhere


def commit_all() -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    workspace.git("add", "--all")
    workspace.git(*author, "commit", "-qm", "data")


def test_what_is_missing_comes_from_the_cache_or_the_remote(
    shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert workspace.missing_outputs() == []
    Path("labels.csv").unlink()
    assert workspace.missing_outputs() == ["labels.csv"]
    new_data.fetch()
    assert Path("labels.csv").read_text() == "a.jpg,short\n"

    assert not workspace.has_dvc_remote()
    dvc("remote", "add", "--default", "store", str(tmp_path_factory.mktemp("remote")))
    dvc("push", "--quiet")
    for path in (Path(".dvc/cache"), Path("images")):
        subprocess.run(["rm", "-r", str(path)], check=True)
    assert workspace.missing_outputs() == ["images"]
    new_data.fetch()
    assert Path("images/a.jpg").read_bytes() == b"a"
    assert workspace.is_unchanged()


def test_what_was_imported_is_updated_and_is_the_retrains_own_change(shop: Path) -> None:
    new_data.fetch()
    assert workspace.imports() == ["labels.csv.dvc"]
    assert workspace.unrecorded_paths() == []
    shop.write_text("a.jpg,short\nb.jpg,long\n")
    new_data.fetch()
    assert Path("labels.csv").read_text() == "a.jpg,short\nb.jpg,long\n"
    assert workspace.unrecorded_paths() == ["labels.csv.dvc"]

    with pytest.raises(HemlineError, match=r"labels\.csv\.dvc.*commit them"):
        new_data.check_tree(gone_on=False)
    new_data.check_tree(gone_on=True)
    Path("notes.txt").write_text("a thought\n")
    with pytest.raises(HemlineError, match=r"notes\.txt"):
        new_data.check_tree(gone_on=True)


def test_a_commits_data_is_copied_or_it_is_told_what_is_missing(shop: Path, tmp_path: Path) -> None:
    images, copy = Path("images"), tmp_path / "copy"
    assert not workspace.copy_committed(images, "HEAD", into=copy), "a commit without dvc.lock"
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    commit_all()
    Path("images/a.jpg").write_bytes(b"another")
    assert workspace.copy_committed(images, "HEAD", into=copy)
    assert (copy / "a.jpg").read_bytes() == b"a"
    assert not workspace.copy_committed(Path("data/catalog"), "HEAD", into=copy)
    subprocess.run(["rm", "-r", ".dvc/cache"], check=True)
    with pytest.raises(HemlineError, match="Bring back DVC's cache or its remote"):
        workspace.copy_committed(images, "HEAD", into=tmp_path / "again")
