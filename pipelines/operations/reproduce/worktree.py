"""A commit checked out in a folder of its own, with the project's DVC cache and remotes.

The user's checkout is only read: stages that run in the worktree use its code, keep their runs in
an MLflow store of its own, and all of it goes when the folder does.
"""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import HemlineError
from components.provenance import git
from pipelines.shell import dvc

# settings that would lead stages out of the worktree, or into another's run
_OUTSIDE = {
    *(f"MLFLOW_{name}" for name in ("TRACKING_URI", "REGISTRY_URI", "RUN_ID", "ACTIVE_MODEL_ID")),
    *(f"MLFLOW_EXPERIMENT_{name}" for name in ("ID", "NAME")),
    *(f"DVC_{name}" for name in ("ROOT", "STAGE", "EXP_NAME", "EXP_BASELINE_REV")),
    *(f"GIT_{name}" for name in ("DIR", "WORK_TREE", "INDEX_FILE")),
}


@contextmanager
def checked_out(commit: str, *, parent: Path, keep: bool) -> Iterator["Worktree"]:
    """Gives a worktree of a commit in a folder; removes it when the block ends, unless kept."""
    parent.mkdir(parents=True, exist_ok=True)
    top = Path(tempfile.mkdtemp(prefix=f"{commit[:10]}-", dir=parent))
    no_hooks = ["-c", "core.hooksPath=/dev/null"]  # DVC's would check data out too soon
    try:
        git.read(*no_hooks, "worktree", "add", "--quiet", "--detach", str(top), commit)
        worktree = Worktree(top=top, folder=top / git.prefix())
        worktree.write_launcher()
        yield worktree
    finally:
        if not keep:
            with suppress(HemlineError):
                git.read("worktree", "remove", "--force", "--force", str(top))
            shutil.rmtree(top, ignore_errors=True)
            with suppress(HemlineError):
                git.read("worktree", "prune")


@dataclass(frozen=True, kw_only=True)
class Worktree:
    """A project's folder in a worktree, of which `top` is the topmost folder."""

    top: Path
    folder: Path

    def apply(self, patch: str) -> None:
        """Applies a patch to the code.

        Raises:
            HemlineError: git cannot apply it.
        """
        file = self.top / ".hemline-local-changes.patch"
        file.write_bytes(patch.encode(errors="surrogateescape"))
        try:
            git.read("apply", "--whitespace=nowarn", file.name, folder=self.top)
        except HemlineError as error:
            raise HemlineError(
                "it was made from a tree with local changes, and they do not apply to its commit "
                f"({error}): nothing else is recorded of that tree"
            ) from error
        finally:
            file.unlink()

    def fetch(self, paths: Iterable[str]) -> None:
        """Checks out outputs and `.dvc` files, from the cache or the remote, where they exist."""
        wanted = [*paths, *git.tracked_files("*.dvc", folder=self.folder)]
        if not wanted:
            return
        # where a remote does not answer, `pull` fails even for what lies in the cache
        for command in ("pull", "checkout") if dvc.has_remote(self.folder) else ("checkout",):
            with suppress(HemlineError):
                self.run(command, "--quiet", "--allow-missing", *wanted)
                return

    def changed_inputs(self, stages: Iterable[str]) -> dict[str, Any]:
        """Returns what stages read, no stage makes, and is not as recorded, with what is wrong.

        Files that neither git nor DVC has, mostly raw data, are linked to the project's own.
        """
        for path in dvc.missing_sources(stages, folder=self.folder):
            if path.exists():
                (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
                (self.folder / path).symlink_to(path.absolute())
        return dvc.changed_sources(stages, folder=self.folder)

    def run(self, *arguments: str) -> None:
        """Runs a DVC command with the worktree's code, without the settings of other stores.

        Raises:
            HemlineError: it failed; the message is the end of what it printed.
        """
        kept = {name: value for name, value in os.environ.items() if name not in _OUTSIDE}
        search_path = (self._launcher.parent, Path(sys.executable).parent, kept.get("PATH", ""))
        environment = {
            **kept,
            "PATH": os.pathsep.join(map(str, search_path)),
            "PYTHONPATH": str(self.folder),
            "DVC_NO_ANALYTICS": "true",
        }
        dvc.run(*arguments, folder=self.folder, environment=environment)

    def write_launcher(self) -> None:
        """Writes a `hemline` command that runs the worktree's code, for stages of older commits."""
        cli = "shell.cli" if (self.folder / "pipelines/shell/cli.py").exists() else "cli"
        program = f"from pipelines.{cli} import main; main()"
        self._launcher.parent.mkdir(parents=True)
        self._launcher.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c '{program}' \"$@\"\n"
        )
        self._launcher.chmod(0o755)

    @property
    def _launcher(self) -> Path:
        return self.folder / ".hemline" / "bin" / "hemline"

    @property
    def aside(self) -> Path:
        """The folder of recorded outputs that are made again, under the same paths."""
        return self.folder / ".hemline" / "recorded"

    def set_aside(self, paths: Iterable[str]) -> None:
        """Moves recorded outputs out of the way of the stages that make them again."""
        for path in paths:
            source, target = self.folder / path, self.aside / path
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
