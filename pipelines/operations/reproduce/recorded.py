"""What is to be reproduced: a version, a run or a git revision, and what was recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.errors import HemlineError
from components.provenance import dvc_files, origin
from components.registry import versions
from components.tracking.runs import Tracking
from pipelines.shell import dvc


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What was recorded of a version, a run or a commit.

    Attributes:
        name: description for people.
        commit: full hash of the code's commit.
        stages: stages of `dvc.lock`, with the hashes of all inputs and outputs.
        patch: how the code differed from the commit; "" where it did not.
        run_id: id of the MLflow run; None for a commit, which keeps metrics in git.
        machine: machine that computed it, where that is recorded.
    """

    name: str
    commit: str
    stages: dvc_files.Stages
    patch: str = ""
    run_id: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)


def read_recorded(target: str, *, tracking: Tracking) -> Recorded:
    """Returns what was recorded of `models:/hemline/3`, a run id, or a git revision.

    Raises:
        HemlineError: there is no such thing, or its records do not suffice.
    """
    if target.startswith("models:"):
        version = versions.resolve(target, tracking)
        run_id = origin.run_of(version, tracking=tracking)
        return _recorded_run(run_id, name=f"{version.uri}, run {run_id}", tracking=tracking)
    if origin.is_run_id(target):
        return _recorded_run(target, name=f"run {target}", tracking=tracking)
    commit = dvc.resolve(target)
    stages = dvc_files.up_to_date(dvc_files.read_committed_lock(commit))
    if not stages:
        raise HemlineError(
            f"commit {commit[:10]} has no results to compare with: no dvc.lock, or one of other "
            f"code. `hemline lineage --commit {commit[:10]}` lists versions that were made from it"
        )
    return Recorded(name=f"commit {commit[:10]}", commit=commit, stages=stages)


def _recorded_run(run_id: str, *, name: str, tracking: Tracking) -> Recorded:
    run = origin.read_origin(run_id, tracking=tracking)
    if run.commit is None:
        raise HemlineError(f"{name} was made outside of git: its code is not recorded")
    stages = origin.read_stages(run_id, tracking=tracking)
    if not stages:
        raise HemlineError(
            f"{name} kept no hashes: it was not evaluated, or by an older hemline. Give the commit "
            "that has its dvc.lock instead"
        )
    patch = origin.read_text(run_id, origin.PATCH_FILE, tracking=tracking)
    if run.has_local_changes and patch is None:
        raise HemlineError(
            f"{name} was made from a tree that differed from commit {run.commit[:10]}, and how is "
            f"not recorded: it has no artifact {origin.FOLDER}/{origin.PATCH_FILE}. Commit before "
            "you train, and it can be reproduced"
        )
    return Recorded(
        name=name,
        commit=dvc.resolve(run.commit),
        stages=stages,
        patch=patch or "",
        run_id=run_id,
        machine=run.machine,
    )
