"""What is to be reproduced: a version, a run or a git revision, and what was recorded of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import resolve_rev

from components.errors import HemlineError
from components.provenance import history, provenance, record
from components.registry import versions
from components.tracking.runs import Tracking
from pipelines.shell import commands

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What was recorded of a version, a run or a commit.

    Attributes:
        name: for people.
        commit: full hash of the code.
        stages: of `dvc.lock`, with the hashes of all inputs and outputs.
        patch: how the code differed from the commit; "" where it did not.
        run_id: of the MLflow run; None for a commit, which keeps metrics in git.
        machine: that computed it, where that is known.
    """

    name: str
    commit: str
    stages: provenance.Stages
    patch: str = ""
    run_id: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)


def read_recorded(target: str, *, tracking: Tracking) -> Recorded:
    """Returns what was recorded of `models:/hemline/3`, a run id, or a git revision.

    Raises:
        HemlineError: there is no such thing, or what was recorded does not suffice.
    """
    if target.startswith("models:"):
        version = versions.resolve(target, tracking)
        run_id = history.run_of(version, tracking=tracking)
        return _recorded_run(run_id, name=f"{version.uri}, run {run_id}", tracking=tracking)
    if _RUN_ID.fullmatch(target):
        return _recorded_run(target, name=f"run {target}", tracking=tracking)
    return _recorded_commit(target)


def resolve_commit(revision: str) -> str:
    """Returns the full hash of a commit, branch, tag or DVC experiment.

    Raises:
        HemlineError: this repository has no such revision.
    """
    try:
        with Repo() as repo:
            return str(resolve_rev(repo.scm, f"{revision}^{{commit}}"))
    except DvcException:
        pass
    try:
        with Repo() as repo:
            return str(resolve_rev(repo.scm, revision))
    except DvcException as error:
        raise HemlineError(
            f"{revision!r} is no commit, branch, tag or DVC experiment of this repository: `git "
            "fetch --all --tags` (of a shallow clone: `git fetch --unshallow`), or, of an "
            "experiment, `dvc exp pull`"
        ) from error


def committed_stages(commit: str) -> provenance.Stages:
    """Returns what a commit's `dvc.lock` says; nothing where it has none."""
    prefix = commands.read(["git", "rev-parse", "--show-prefix"]).strip()
    if not commands.read(["git", "ls-tree", commit, "--", "dvc.lock"]):
        return {}
    return provenance.parse_stages(commands.read(["git", "show", f"{commit}:{prefix}dvc.lock"]))


def _recorded_commit(revision: str) -> Recorded:
    commit = resolve_commit(revision)
    stages = provenance.current(committed_stages(commit))
    if not stages:
        raise HemlineError(
            f"commit {commit[:10]} has no results to compare with: no dvc.lock, or one of other "
            f"code. `hemline lineage --commit {commit[:10]}` lists versions that were made from it"
        )
    return Recorded(name=f"commit {commit[:10]}", commit=commit, stages=stages)


def _recorded_run(run_id: str, *, name: str, tracking: Tracking) -> Recorded:
    found = history.read_all(run_id, tracking=tracking)
    lineage = found.lineage
    if lineage.commit is None:
        raise HemlineError(f"{name} was made outside of git: nobody knows by which code")
    if not found.stages:
        raise HemlineError(
            f"{name} kept no hashes: it was not evaluated, or by an older hemline. Give the commit "
            "that has its dvc.lock instead"
        )
    patch = history.read_text(run_id, record.PATCH_FILE, tracking=tracking)
    if lineage.has_local_changes and patch is None:
        raise HemlineError(
            f"{name} was made from a tree that differed from commit {lineage.commit[:10]}, and "
            f"how is not known: it has no artifact {record.FOLDER}/{record.PATCH_FILE}. Commit "
            "before you train, and it can be reproduced"
        )
    return Recorded(
        name=name,
        commit=resolve_commit(lineage.commit),
        stages=found.stages,
        patch=patch or "",
        run_id=run_id,
        machine=found.machine,
    )
