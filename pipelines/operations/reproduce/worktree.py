"""A commit checked out in a folder of its own, with the project's DVC cache and remotes.

The user's checkout is only read: stages that run in the worktree use its code, keep their runs in
an MLflow store of its own, and all of it goes when the folder does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.dependency.base import Dependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage

from components.errors import HemlineError
from pipelines.shell import commands

# settings that would lead stages out of the worktree, or into the run of another
_OUTSIDE = {
    *(f"MLFLOW_{name}" for name in ("TRACKING_URI", "REGISTRY_URI", "RUN_ID", "ACTIVE_MODEL_ID")),
    *(f"MLFLOW_EXPERIMENT_{name}" for name in ("ID", "NAME")),
    *(f"DVC_{name}" for name in ("ROOT", "STAGE", "EXP_NAME", "EXP_BASELINE_REV")),
    *(f"GIT_{name}" for name in ("DIR", "WORK_TREE", "INDEX_FILE")),
}


@contextmanager
def checked_out(commit: str, *, parent: Path, keep: bool) -> Iterator["Worktree"]:
    """Gives a commit's worktree; removes it when the block ends, unless it is kept.

    Args:
        commit: full hash.
        parent: folder to put it in.
        keep: leave it there.
    """
    parent.mkdir(parents=True, exist_ok=True)
    top = Path(tempfile.mkdtemp(prefix=f"{commit[:10]}-", dir=parent))
    git = ["git", "-c", "core.hooksPath=/dev/null"]  # DVC's hook would check data out too soon
    prefix = commands.read(["git", "rev-parse", "--show-prefix"]).strip()
    try:
        commands.read([*git, "worktree", "add", "--quiet", "--detach", str(top), commit])
        yield Worktree(top=top, folder=top / prefix)
    finally:
        if not keep:
            subprocess.run(
                ["git", "worktree", "remove", "--force", "--force", str(top)],
                capture_output=True,
                check=False,
            )
            shutil.rmtree(top, ignore_errors=True)
            subprocess.run(["git", "worktree", "prune"], capture_output=True, check=False)


class Worktree:
    """A project's folder in a worktree.

    Args of the constructor:
        top: of the worktree.
        folder: of the project in it.
    """

    def __init__(self, *, top: Path, folder: Path) -> None:
        self._top = top
        self.folder = folder

    def share_dvc(self) -> None:
        """Lets DVC use the cache, the remotes and their credentials that the project uses.

        Raises:
            HemlineError: the commit is of no DVC project.
        """
        if not (self.folder / ".dvc").is_dir():
            raise HemlineError("the commit has no folder .dvc: it is from before DVC was used here")
        with Repo() as repo:
            config = repo.config
            shared: dict[str, dict[str, Any]] = {
                "core": {"remote": config["core"]["remote"]} if "remote" in config["core"] else {},
                "cache": {**config["cache"], "dir": repo.cache.local_cache_dir},
                "remote": {name: dict(remote) for name, remote in config["remote"].items()},
            }
        (self.folder / ".dvc/config.local").touch(mode=0o600)
        with Config(dvc_dir=str(self.folder / ".dvc")).edit("local") as local:
            local.update({section: values for section, values in shared.items() if values})

    def apply(self, patch: str) -> None:
        """Changes the code as a patch says.

        Raises:
            HemlineError: git cannot apply it.
        """
        file = self._top / ".hemline-local-changes.patch"
        file.write_bytes(patch.encode(errors="surrogateescape"))
        try:
            commands.read(["git", "-C", str(self._top), "apply", "--whitespace=nowarn", file.name])
        except HemlineError as error:
            raise HemlineError(
                "it was made from a tree with local changes, and they do not apply to its commit "
                f"({error}): nothing else is known of that tree"
            ) from error
        finally:
            file.unlink()

    def fetch(self, paths: Iterable[str]) -> None:
        """Checks out outputs and `.dvc` files, from the remote what the cache does not have.

        What is not to be had is left out; `changed_outputs` and `changed_inputs` tell.
        """
        wanted = [*paths, *self._data_files()]
        if not wanted:
            return
        with self._repo() as repo:
            has_remote = bool(repo.config["core"].get("remote"))
        # a remote that does not answer keeps `pull` from what lies in the cache
        for command in ("pull", "checkout") if has_remote else ("checkout",):
            done = subprocess.run(
                self._command(command, "--quiet", "--allow-missing", *wanted),
                env=self.environment,
                check=False,
            )
            if done.returncode == 0:
                return

    def changed_outputs(self, stages: Iterable[str]) -> dict[str, list[str]]:
        """Returns the outputs that are not as recorded, by the stage that makes them."""
        with self._repo() as repo:
            found = {
                stage.name: [_relative(out, repo) for out in stage.outs if out.workspace_status()]
                for stage in _pipeline(repo, stages)
            }
        return {name: outs for name, outs in found.items() if outs}

    def changed_inputs(self, stages: Iterable[str]) -> dict[str, Any]:
        """Returns what stages read, no stage makes, and is not as recorded, with what is wrong.

        Of what neither git nor DVC has, raw data mostly, the project's own is taken, by a link.
        """
        with self._repo() as repo:
            made = [out.fs_path for stage in _pipeline(repo, None) for out in stage.outs]
            wrong: dict[str, Any] = {}
            for dep in (dep for stage in _pipeline(repo, stages) for dep in stage.deps):
                if not any(Path(dep.fs_path).is_relative_to(path) for path in made):
                    self._link(dep)
                    wrong |= dep.workspace_status()
        return wrong

    def run(self, *arguments: str) -> None:
        """Runs a DVC command; what it and its stages print passes through.

        Raises:
            HemlineError: it failed; the message is the end of what it printed.
        """
        commands.run(self._command(*arguments), environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of stages: this one, with the worktree's code, without other stores."""
        kept = {name: value for name, value in os.environ.items() if name not in _OUTSIDE}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.folder),
            "DVC_NO_ANALYTICS": "true",
        }

    @property
    def aside(self) -> Path:
        """The folder of recorded outputs that were made again, under the same paths."""
        return self.folder / ".hemline" / "recorded"

    def set_aside(self, paths: Iterable[str]) -> None:
        """Moves recorded outputs out of the way of the stages that make them again."""
        for path in paths:
            source, target = self.folder / path, self.aside / path
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)

    def _link(self, dep: Dependency) -> None:
        if dep.protocol != "local" or dep.exists or not dep.is_in_repo:
            return
        ours = Path.cwd() / Path(dep.fs_path).relative_to(self.folder)
        if ours.exists():
            Path(dep.fs_path).parent.mkdir(parents=True, exist_ok=True)
            Path(dep.fs_path).symlink_to(ours)

    def _data_files(self) -> list[str]:
        listed = commands.read(["git", "-C", str(self.folder), "ls-files", "-z", "--", "*.dvc"])
        return [name for name in listed.split("\0") if name]

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dvc", "--cd", str(self.folder), *arguments]

    @contextmanager
    def _repo(self) -> Iterator[Repo]:
        try:
            with Repo(str(self.folder)) as repo:
                yield repo
        except DvcException as error:
            raise HemlineError(f"DVC, in a worktree of the commit: {error}") from error


def _pipeline(repo: Repo, names: Iterable[str] | None) -> list[PipelineStage]:
    """Returns the stages of `dvc.yaml`, or those of these names."""
    wanted = None if names is None else set(names)
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
    return [stage for stage in stages if wanted is None or stage.name in wanted]


def _relative(out: Output, repo: Repo) -> str:
    return Path(out.fs_path).relative_to(repo.root_dir).as_posix()
