"""Git, run as a program; no other file runs it."""

import os
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from components import programs
from components.errors import HemlineError

# what git says, and what libgit2 says, which DVC uses
_DISTRUSTED = re.compile(
    r"--add safe\.directory (?P<quoted>.+)|repository path '(?P<plain>.+)' is not owned"
)


def read(*arguments: str, folder: Path | None = None) -> str:
    """Returns what a git command prints, without the last line break.

    Raises:
        HemlineError: it failed; the message is its own, or `distrust`.
    """
    return _read(["git", *arguments], folder=folder).rstrip("\n")


def head() -> str:
    """Returns the commit that is checked out.

    Raises:
        HemlineError: there is none, or git cannot tell.
    """
    commit = find_head()
    if commit is None:
        raise HemlineError("this folder has no git commit: git init, git add, git commit")
    return commit


def find_head() -> str | None:
    """Returns the commit that is checked out; None outside a repository and before a first commit.

    Raises:
        HemlineError: there is a repository that git cannot read, be it missing itself.
    """
    try:
        return read("rev-parse", "--verify", "HEAD^{commit}")
    except HemlineError as error:
        repository = _repository()
        if repository is None:
            return None
        try:
            state = read("status", "--porcelain=v2", "--branch", "--untracked-files=no")
        except HemlineError as unreadable:
            raise HemlineError(
                f"the commit of this code is not known: {repository} is there, and {unreadable}; "
                "mend that (a moved worktree: `git worktree repair`), or clone again"
            ) from unreadable
        if "# branch.oid (initial)" in state.splitlines():
            return None
        raise HemlineError(f"the commit of this code is not known: {error}") from error


def distrust(said: str) -> str | None:
    """Returns why git or DVC refused a checkout that another user owns, with the remedy.

    `said` is their message; None where it is about something else.
    """
    found = _DISTRUSTED.search(said)
    if found is None:
        return None
    folder = found["quoted"] or shlex.quote(found["plain"])
    return (
        f"git does not trust {folder}, which belongs to another user. If you trust whoever can "
        f"write there: `git config --global --add safe.directory {folder}`"
    )


def prefix() -> str:
    """Returns the current folder's path in the repository: "" at the top, else it ends in "/"."""
    return read("rev-parse", "--show-prefix")


def branch() -> str | None:
    """Returns the branch that is checked out; None for a commit without a branch."""
    return read("branch", "--show-current") or None


def remote() -> str | None:
    """Returns the remote that the branch is pushed to: its own, or `origin`, or the only one."""
    name = branch()
    configured = _config(f"branch.{name}.remote") if name else ""
    known = read("remote").split()
    if configured in known:
        return configured
    if "origin" in known:
        return "origin"
    return known[0] if len(known) == 1 else None


def upstream(name: str) -> str:
    """Returns the full name of the branch that a branch is pushed to: its upstream, or its own."""
    return _config(f"branch.{name}.merge") or f"refs/heads/{name}"


def changed_files() -> list[str]:
    """Returns the tracked files that differ from the commit, staged or not."""
    # not `git diff`, which compares any two folders where it may not read the repository
    listed = read("status", "--porcelain", "--no-renames", "--untracked-files=no", "-z")
    return [line[3:] for line in _listed(listed)]


def unrecorded(paths: Iterable[str]) -> list[str]:
    """Returns those of some paths that exist and differ from the commit, or are not in it."""
    existing = [path for path in paths if Path(path).exists()]
    if not existing:  # no path would stand for the whole tree
        return []
    listed = read("status", "--porcelain", "--no-renames", "-z", "--", *existing)
    return [line[3:] for line in _listed(listed)]


def changed_since(commit: str, paths: Sequence[str]) -> list[str]:
    """Returns the tracked files among some files and folders that differ from a commit's."""
    return _listed(read("diff", "--name-only", "--no-renames", "-z", commit, "--", *paths))


def tracked_files(pattern: str, *, folder: Path) -> list[str]:
    """Returns the tracked files of a folder that match a pattern."""
    return _listed(read("ls-files", "-z", "--", pattern, folder=folder))


def has_file(commit: str, path: Path) -> bool:
    """Returns whether a commit has a file."""
    return bool(read("ls-tree", "--name-only", commit, "--", str(path)))


def patch(*, without: Iterable[Path]) -> str:
    """Returns how the tree differs from its commit, new Python files included; "" where it doesn't.

    `git apply` takes the patch, at the top of the repository. Bytes that are not UTF-8 are kept as
    surrogates. `without` are paths in the current folder.

    Raises:
        HemlineError: this is not a git repository with a commit.
    """
    top, _, here = read("rev-parse", "--show-toplevel", "--show-prefix").partition("\n")
    excluded = [f":(exclude){here}{path}" for path in without]
    changed = _diff("HEAD", "--", ".", *excluded, folder=Path(top))
    new = read("ls-files", "-z", "--others", "--exclude-standard", "--", "*.py", folder=Path(top))
    paths = _listed(new)
    added = [_diff("--no-index", "--", "/dev/null", path, folder=Path(top)) for path in paths]
    return "".join([changed, *added])


def commit_only(paths: Sequence[str], message: str) -> None:
    """Commits files as they are now, and nothing else of what is staged or changed."""
    read("add", "--", *paths)
    read(*_identity(), "commit", "--quiet", "--message", message, "--only", "--", *paths)


def tag(name: str, message: str) -> None:
    """Sets an annotated tag on the commit that is checked out."""
    read(*_identity(), "tag", "--annotate", "--message", message, "--", name, "HEAD")


def push(remote_name: str, refs: Sequence[str]) -> None:
    """Pushes refs to a remote: all of them or none.

    Raises:
        HemlineError: the remote refuses, or asks for a password.
    """
    programs.run(
        ["git", "push", "--atomic", remote_name, *refs],
        environment={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
    )


def _read(command: Sequence[str], *, folder: Path | None, statuses: Collection[int] = (0,)) -> str:
    try:
        return programs.read(command, folder=folder, statuses=statuses)
    except HemlineError as error:
        raise HemlineError(distrust(str(error)) or str(error)) from error


def _repository() -> Path | None:
    """Returns what makes the current folder part of a repository, be it readable or not."""
    if named := os.environ.get("GIT_DIR"):
        return Path(named)
    ceilings = os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    here = Path.cwd()
    around = takewhile(lambda folder: str(folder) not in ceilings, here.parents)
    found = (folder / ".git" for folder in (here, *around))
    return next((path for path in found if os.path.lexists(path)), None)


def _config(key: str) -> str:
    return read("config", "--get", "--default", "", key)


def _listed(output: str) -> list[str]:
    """Returns the entries of what a command prints with `-z`."""
    return [entry for entry in output.split("\0") if entry]


def _diff(*arguments: str, folder: Path) -> str:
    options = ["--binary", "--no-color", "--no-ext-diff"]
    return _read(
        ["git", "-c", "core.quotePath=true", "diff", *options, *arguments],
        folder=folder,
        statuses=(0, 1),  # 1: --no-index found a difference
    )


def _identity() -> list[str]:
    """Returns options that give git an author where none is configured."""
    if _config("user.email") or "GIT_AUTHOR_EMAIL" in os.environ:
        return []
    return ["-c", "user.name=hemline retrain", "-c", "user.email=hemline@localhost"]
