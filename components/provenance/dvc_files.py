"""What DVC's files say: hashes in `dvc.lock`, outputs in `dvc.yaml`. Read without DVC."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from components import files
from components.provenance import git

LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")

Stages = dict[str, dict[str, Any]]
"""The stages of a `dvc.lock` by name: command, params, and the hashes of `deps` and `outs`."""


def read_lock(path: Path = LOCK) -> Stages:
    """Returns the stages of a `dvc.lock`; none where there is no such file."""
    return dict(files.read_yaml(path).get("stages", {})) if path.exists() else {}


def read_committed_lock(commit: str) -> Stages:
    """Returns the stages of a commit's `dvc.lock`; none where it has no such file."""
    if not git.has_file(commit, LOCK):
        return {}
    return parse_lock(git.read("show", f"{commit}:./{LOCK}"))


def first_commit(content: str) -> str | None:
    """Returns the commit whose `dvc.lock` first named a hash; None: none of this branch did.

    Raises:
        HemlineError: there is no repository or no commit.
    """
    commits = git.read("log", "--format=%H", f"-S{content}", "--", str(LOCK)).split()
    return commits[-1] if commits else None


def parse_lock(text: str) -> Stages:
    """Returns the stages of a `dvc.lock` by its content."""
    return dict((yaml.safe_load(text) or {}).get("stages", {}))


def format_lock(stages: Mapping[str, Any]) -> str:
    """Returns the content of a `dvc.lock` of these stages."""
    return yaml.safe_dump({"schema": "2.0", "stages": dict(stages)}, sort_keys=False)


def uncached_outputs(pipeline: Path = PIPELINE) -> list[Path]:
    """Returns the outputs of stages that git keeps and DVC does not: metrics and curves."""
    if not pipeline.exists():
        return []
    stages = files.read_yaml(pipeline).get("stages", {}).values()
    return [
        Path(path)
        for stage in stages
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
        if isinstance(out, dict)
        for path, options in out.items()
        if not (options or {}).get("cache", True)
    ]


def hash_of(entry: Mapping[str, Any]) -> str | None:
    """Returns the hash in an entry of `dvc.lock`; its kind depends on where the data lies."""
    return next((str(entry[kind]) for kind in ("md5", "etag", "checksum") if kind in entry), None)


def hashes(stages: Mapping[str, Any], *, kinds: Iterable[str] = ("deps", "outs")) -> dict[str, str]:
    """Returns the hash of every input and output of stages, by path.

    What a stage has made counts over what another has read: that may have yet to run again.
    """
    entries = [
        entry for kind in kinds for stage in stages.values() for entry in stage.get(kind, [])
    ]
    found = {str(entry["path"]): hash_of(entry) for entry in entries}
    return {path: content for path, content in found.items() if content}


def output_hashes(stages: Mapping[str, Any]) -> dict[str, str]:
    """Returns the hash of every output of stages, by path."""
    return hashes(stages, kinds=["outs"])


def digest(stages: Mapping[str, Any]) -> str:
    """Returns a hash of what `dvc.lock` says of stages, whatever the order."""
    return hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()[:32]


def up_to_date(stages: Stages) -> Stages:
    """Returns the stages that ran on what the stages before them have now.

    `dvc.lock` also keeps the entries of stages that have yet to run again; those are left out, and
    so is what follows from them.
    """
    paths = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    kept = dict(stages)
    while True:
        made = output_hashes(kept)
        fresh = {
            name: stage
            for name, stage in kept.items()
            if all(
                made.get(dep["path"]) == hash_of(dep)
                for dep in stage.get("deps", [])
                if dep["path"] in paths
            )
        }
        if len(fresh) == len(kept):
            return fresh
        kept = fresh


def with_followers(stages: Stages, name: str) -> set[str]:
    """Returns a stage and those that read what it makes, directly or not."""
    made = [Path(path) for path in output_hashes({name: stages[name]})]
    readers = [
        other
        for other, stage in stages.items()
        if any(
            Path(dep["path"]).is_relative_to(out) for dep in stage.get("deps", []) for out in made
        )
    ]
    return {name}.union(*(with_followers(stages, reader) for reader in readers))
