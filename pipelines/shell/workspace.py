"""The workspace as git and DVC see it: what changed, what is missing, what is committed."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo

from components.errors import HemlineError
from components.provenance import provenance
from pipelines.shell import commands
from pipelines.shell.options import REGISTRATION

LOCK = Path("dvc.lock")


def dvc(*arguments: str) -> None:
    """Runs a DVC command; what it and its stages print passes through.

    Raises:
        HemlineError: it failed; the message has the end of what it printed.
    """
    commands.run([sys.executable, "-m", "dvc", *arguments])


def has_dvc_remote() -> bool:
    """Returns whether DVC has a default remote."""
    with _repo() as repo:
        return bool(repo.config["core"].get("remote"))


def imports() -> list[str]:
    """Returns the `.dvc` files of data that was imported from elsewhere, such as a URL."""
    with _repo() as repo:
        return sorted(stage.relpath for stage in repo.index.stages if stage.is_import)


def missing_outputs() -> list[str]:
    """Returns what `dvc.lock` and `.dvc` files name and the workspace does not have."""
    with _repo() as repo:
        known = (out for out in repo.index.outs if out.use_cache and out.hash_info)
        return sorted(os.path.relpath(out.fs_path) for out in known if not out.exists)


def is_unchanged() -> bool:
    """Returns whether every stage's inputs and outputs are those that `dvc.lock` names."""
    with _repo() as repo:
        return not repo.status()


def recorded_paths() -> list[str]:
    """Returns the files in which git keeps what a run made: `dvc.lock`, `.dvc` files, metrics."""
    with _repo() as repo:
        data = {stage.relpath for stage in repo.index.stages if stage.path_in_repo != "dvc.yaml"}
        small = {os.path.relpath(out.fs_path) for out in repo.index.outs if not out.use_cache}
    return sorted({str(LOCK), *data, *small})


def unrecorded_paths() -> list[str]:
    """Returns those of `recorded_paths` that are here and differ from the commit."""
    paths = [path for path in recorded_paths() if Path(path).exists()]
    listed = git("status", "--porcelain", "--no-renames", "-z", "--", *paths)
    return [line[3:] for line in listed.split("\0") if line]


def copy_committed(path: Path, commit: str, *, into: Path) -> bool:
    """Copies an output as a commit had it; returns whether it had one.

    Raises:
        HemlineError: neither DVC's cache nor its remote has it.
    """
    if not git_has(commit, LOCK):
        return False
    try:
        tree = DVCFileSystem(".", rev=commit)
        if not tree.exists(str(path)):
            return False
        tree.get(str(path), str(into), recursive=True)
    except (DvcException, OSError) as error:
        raise HemlineError(
            f"{path} of commit {commit[:10]} is not to be had: {error}. Bring back DVC's cache or "
            "its remote"
        ) from error
    return True


def head() -> str:
    """Returns the commit that is checked out.

    Raises:
        HemlineError: there is none.
    """
    try:
        return git("rev-parse", "--verify", "HEAD^{commit}")
    except HemlineError as error:
        raise HemlineError(
            f"a retrain records itself in git, and here is no commit ({error}): git init, "
            "git add, git commit"
        ) from error


def branch() -> str | None:
    """Returns the branch that is checked out; None for a commit without a branch."""
    return git("branch", "--show-current") or None


def git_remote() -> str | None:
    """Returns the remote that the branch is pushed to: its own, or `origin`, or the only one."""
    name = branch()
    configured = git("config", "--get", "--default", "", f"branch.{name}.remote") if name else ""
    known = git("remote").split()
    if configured in known:
        return configured
    if "origin" in known:
        return "origin"
    return known[0] if len(known) == 1 else None


def upstream(name: str) -> str:
    """Returns the full name of the branch that a branch is pushed to: its upstream, or its own."""
    configured = git("config", "--get", "--default", "", f"branch.{name}.merge")
    return configured or f"refs/heads/{name}"


def changed_files() -> list[str]:
    """Returns the files of git that differ from the commit, staged or not."""
    listed = git("diff", "--name-only", "--no-renames", "-z", "HEAD")
    return [name for name in listed.split("\0") if name]


def git_has(commit: str, path: Path) -> bool:
    """Returns whether a commit has a file."""
    return bool(git("ls-tree", "--name-only", commit, "--", str(path)))


def registered_hash(revision: str) -> str | None:
    """Returns the hash of the registration in a revision's `dvc.lock`; None where it has none."""
    if not git_has(revision, LOCK):
        return None
    stages = provenance.parse_stages(git("show", f"{revision}:./{LOCK}"))
    return provenance.hashes(stages, kinds=["outs"]).get(str(REGISTRATION))


def git(*arguments: str) -> str:
    """Returns what a git command prints, without the last line break.

    Raises:
        HemlineError: it failed; the message is what it said.
    """
    return commands.read(["git", *arguments]).rstrip("\n")


def commit_only(paths: Sequence[str], message: str) -> None:
    """Commits files as they are now, and nothing else of what is staged or changed."""
    git("add", "--", *paths)
    git(*_identity(), "commit", "--quiet", "--message", message, "--only", "--", *paths)


def tag(name: str, message: str) -> None:
    """Sets an annotated tag on the commit that is checked out."""
    git(*_identity(), "tag", "--annotate", "--message", message, "--", name, "HEAD")


def _identity() -> list[str]:
    """Returns options that give git an author, where the machine has none."""
    if git("config", "--get", "--default", "", "user.email") or "GIT_AUTHOR_EMAIL" in os.environ:
        return []
    return ["-c", "user.name=hemline retrain", "-c", "user.email=hemline@localhost"]


@contextmanager
def _repo() -> Iterator[Repo]:
    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        raise HemlineError(f"DVC: {error}") from error
