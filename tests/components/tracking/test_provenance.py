"""Git and DVC facts of a run, against a real repository."""

import subprocess
from pathlib import Path

import pytest
import yaml

from components.tracking.provenance import dvc_tags, git_tags, run_key


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


def test_a_run_key_depends_on_params_and_content_alone(tmp_path: Path) -> None:
    file, copy, other = (tmp_path / name for name in ("file", "copy", "other"))
    for path, content in ((file, "x"), (copy, "x"), (other, "y")):
        path.write_text(content)
    key = run_key({"train": {"seed": 1, "lr": 2}}, [file])
    assert key == run_key({"train": {"lr": 2, "seed": 1}}, [copy])
    assert key != run_key({"train": {"seed": 2, "lr": 2}}, [file])
    assert key != run_key({"train": {"seed": 1, "lr": 2}}, [other])
