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


@pytest.fixture
def distrusted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a repository that git takes for another user's."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch, for its tests
    return repository


def test_a_checkout_of_another_user_is_an_error_with_the_remedy(distrusted: Path) -> None:
    remedy = f"`git config --global --add safe.directory {distrusted}`"
    for call in (adapter.head, adapter.find_head, adapter.changed_files, adapter.branch):
        with pytest.raises(HemlineError, match="belongs to another user") as error:
            call()
        assert remedy in str(error.value), call
    with pytest.raises(HemlineError) as error:
        adapter.patch(without=[])
    assert remedy in str(error.value)


def test_the_remedy_works_in_folders_with_odd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's $HOME & more"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "-q")
    config = tmp_path / "config"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(HemlineError) as error:
        adapter.find_head()
    remedy = str(error.value).split("`")[1]
    subprocess.run(remedy, shell=True, check=True)
    assert adapter.find_head() is None


def test_what_libgit2_says_has_the_same_remedy() -> None:
    said = "unexpected error - /a b/.git/: repository path '/a b' is not owned by current user"
    assert "`git config --global --add safe.directory '/a b'`" in str(adapter.distrust(said))
    assert adapter.distrust("fatal: bad object HEAD") is None


def test_no_commit_is_no_error_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert adapter.find_head() is None, "no repository"
    git("init", "-q")
    assert adapter.find_head() is None, "no commit yet"


def test_git_that_is_missing_is_an_error_in_a_repository_alone(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("PATH", str(outside))
    with pytest.raises(HemlineError, match="git is not installed, or not on PATH"):
        adapter.find_head()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    monkeypatch.chdir(outside)
    assert adapter.find_head() is None


def test_a_worktree_whose_repository_is_gone_and_a_broken_head_are_errors(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("worktree", "add", "-q", "--detach", "copy")
    monkeypatch.chdir(repository / "copy")
    assert adapter.find_head() == git("rev-parse", "HEAD")
    (repository / ".git").rename(repository / "moved")
    with pytest.raises(HemlineError, match="git worktree repair"):
        adapter.find_head()
    (repository / "moved").rename(repository / ".git")
    monkeypatch.chdir(repository)
    (repository / ".git/refs/heads/main").write_text("1" * 40 + "\n")  # an object that is not there
    with pytest.raises(HemlineError, match="the commit of this code is not known"):
        adapter.find_head()


def test_shallow_clones_and_bare_ones_have_a_commit(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = adapter.head()
    folder = tmp_path_factory.mktemp("clones")
    for option in ("--depth=1", "--bare"):
        git("clone", "-q", option, repository.as_uri(), str(folder / option))
        monkeypatch.chdir(folder / option)
        assert adapter.find_head() == commit, option
