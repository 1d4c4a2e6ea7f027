"""DVC: the only file that starts it or imports it, as its Python interface is private."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.config import Config
from dvc.dependency.base import Dependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import resolve_rev
from dvc.stage import PipelineStage

from components import programs
from components.errors import HemlineError
from components.provenance import git
from components.provenance.dvc_files import LOCK, PIPELINE
from pipelines.shell.reporting import as_notes

PYTHON = sys.executable


def run(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Runs a DVC command, by default here; what it and its stages print is shown as progress.

    Raises:
        HemlineError: it failed; the message has the end of what it printed.
    """
    place = ["--cd", str(folder)] if folder else []
    with as_notes(), _trusted():
        programs.run([PYTHON, "-m", "dvc", *place, *arguments], environment=environment)


def track(path: Path) -> None:
    """Puts a file or folder that no stage makes under DVC's care, as it is now.

    Raises:
        HemlineError: DVC cannot, for instance outside a git repository.
    """
    run("add", "--quiet", str(path))


def experiments() -> set[str]:
    """Returns the names of the experiments that have finished, on any commit.

    Raises:
        HemlineError: DVC cannot list them, for instance outside a git repository.
    """
    listing = [PYTHON, "-m", "dvc", "exp", "list", "--all-commits", "--name-only"]
    with _trusted():
        return set(programs.read(listing).split())


def tree(revision: str) -> DVCFileSystem:
    """Returns the files of a revision, those of git and those of DVC.

    Raises:
        HemlineError: there is no such revision, or it cannot be read.
    """
    # resolved first: in a checkout that DVC does not trust, no file would seem to exist
    return DVCFileSystem(".", rev=resolve(revision))


def resolve(revision: str) -> str:
    """Returns the full hash of a commit, branch, tag or DVC experiment.

    Raises:
        HemlineError: this repository has no such revision.
    """
    with _repo() as repo:
        for name in (f"{revision}^{{commit}}", revision):
            try:
                return str(resolve_rev(repo.scm, name))
            except DvcException as error:
                unknown = error
    raise HemlineError(
        f"{revision!r} is no commit, branch, tag or DVC experiment of this repository: `git fetch "
        "--all --tags` (in a shallow clone: `git fetch --unshallow`), or, for an experiment, `dvc "
        "exp pull`"
    ) from unknown


def has_remote(folder: Path | None = None) -> bool:
    """Returns whether DVC has a default remote."""
    with _repo(folder) as repo:
        return bool(repo.config["core"].get("remote"))


def imports() -> list[str]:
    """Returns the `.dvc` files of data that was imported from elsewhere, such as a URL."""
    with _repo() as repo:
        return sorted(stage.relpath for stage in repo.index.stages if stage.is_import)


def missing_outputs() -> list[str]:
    """Returns the outputs in `dvc.lock` and `.dvc` files that the workspace lacks."""
    with _repo() as repo:
        known = (out for out in repo.index.outs if out.use_cache and out.hash_info)
        return sorted(os.path.relpath(out.fs_path) for out in known if not out.exists)


def is_unchanged(stage: str | None = None) -> bool:
    """Returns whether inputs and outputs of a stage, or of all, are as recorded in `dvc.lock`."""
    with _repo() as repo:
        return not repo.status(targets=stage)


def recorded_paths() -> list[str]:
    """Returns the files in which git keeps what a run made: `dvc.lock`, `.dvc` files, metrics."""
    with _repo() as repo:
        data = {stage.relpath for stage in repo.index.stages if stage.path_in_repo != str(PIPELINE)}
        small = {os.path.relpath(out.fs_path) for out in repo.index.outs if not out.use_cache}
    return sorted({str(LOCK), *data, *small})


def copy_committed(path: Path, commit: str, *, into: Path) -> bool:
    """Copies an output as a commit had it; returns whether it had one.

    Raises:
        HemlineError: neither DVC's cache nor its remote has it.
    """
    if not git.has_file(commit, LOCK):
        return False
    try:
        committed = tree(commit)
        if not committed.exists(str(path)):
            return False
        committed.get(str(path), str(into), recursive=True)
    except (DvcException, OSError) as error:
        raise HemlineError(
            f"{path} of commit {commit[:10]} is missing: {error}. Bring back DVC's cache or its "
            "remote"
        ) from error
    return True


def share_cache(folder: Path) -> None:
    """Lets another checkout use this project's cache, remotes and their credentials.

    Raises:
        HemlineError: the other folder is no DVC project.
    """
    if not (folder / ".dvc").is_dir():
        raise HemlineError("the commit has no folder .dvc: it is older than the use of DVC here")
    with _repo() as repo:
        config = repo.config
        shared: dict[str, dict[str, Any]] = {
            "core": {"remote": config["core"]["remote"]} if "remote" in config["core"] else {},
            "cache": {**config["cache"], "dir": repo.cache.local_cache_dir},
            "remote": {name: dict(remote) for name, remote in config["remote"].items()},
        }
    (folder / ".dvc/config.local").touch(mode=0o600)
    with Config(dvc_dir=str(folder / ".dvc")).edit("local") as local:
        local.update({section: values for section, values in shared.items() if values})


def changed_outputs(stages: Iterable[str], *, folder: Path) -> dict[str, list[str]]:
    """Returns the outputs that are not as recorded, by the stage that makes them."""
    with _repo(folder) as repo:
        found = {
            stage.name: [
                Path(out.fs_path).relative_to(repo.root_dir).as_posix()
                for out in stage.outs
                if out.workspace_status()
            ]
            for stage in _pipeline(repo, stages)
        }
    return {name: outs for name, outs in found.items() if outs}


def missing_sources(stages: Iterable[str], *, folder: Path) -> set[Path]:
    """Returns the files in a project that stages read, no stage makes, and that do not exist."""
    with _repo(folder) as repo:
        return {
            Path(dep.fs_path).relative_to(repo.root_dir)
            for dep in _sources(repo, stages)
            if dep.protocol == "local" and dep.is_in_repo and not dep.exists
        }


def changed_sources(stages: Iterable[str], *, folder: Path) -> dict[str, Any]:
    """Returns what stages read, no stage makes, and is not as recorded, with what is wrong."""
    wrong: dict[str, Any] = {}
    with _repo(folder) as repo:
        for dep in _sources(repo, stages):
            wrong |= dep.workspace_status()
    return wrong


def _sources(repo: Repo, stages: Iterable[str]) -> list[Dependency]:
    made = [out.fs_path for stage in _pipeline(repo, None) for out in stage.outs]
    return [
        dep
        for stage in _pipeline(repo, stages)
        for dep in stage.deps
        if not any(Path(dep.fs_path).is_relative_to(path) for path in made)
    ]


def _pipeline(repo: Repo, names: Iterable[str] | None) -> list[PipelineStage]:
    """Returns the stages of `dvc.yaml`, or those of these names."""
    wanted = None if names is None else set(names)
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
    return [stage for stage in stages if wanted is None or stage.name in wanted]


@contextmanager
def _repo(folder: Path | None = None) -> Iterator[Repo]:
    try:
        with _trusted(), Repo(folder) as repo:
            yield repo
    except DvcException as error:
        raise HemlineError(f"DVC: {error}") from error


@contextmanager
def _trusted() -> Iterator[None]:
    """Says what to do where DVC, whose git is libgit2, does not trust the checkout."""
    try:
        yield
    except Exception as error:  # libgit2's own kind passes through DVC
        if refused := git.distrust(str(error)):
            raise HemlineError(refused) from error
        raise
