"""Where a run comes from: the git commit and the DVC hashes of what it read."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from components import files
from components.credentials import without_credentials
from components.errors import HemlineError

COMMIT_TAG = "mlflow.source.git.commit"
DIRTY_TAG = "hemline.git_dirty"
REPOSITORY_TAG = "mlflow.source.git.repoURL"
EXPERIMENT_TAG = "hemline.dvc_experiment"
BASELINE_TAG = "hemline.dvc_baseline"  # the commit that a DVC experiment varies
INPUT_PREFIX = "dvc."  # of tags: dvc.<path> is what a run read, dvc_out.<path> what it made
OUTPUT_PREFIX = "dvc_out."

Stages = dict[str, dict[str, Any]]

_LOCK = Path("dvc.lock")
_PIPELINE = Path("dvc.yaml")
_LONGEST_NAME = 200  # of a path in a tag; MLflow takes 250 characters in all


def git_tags() -> dict[str, str]:
    """Returns the commit and whether the tree differs from it; empty outside a git repository.

    What the pipeline itself writes, `dvc.lock` and outputs that git keeps, is no difference.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    tags = {COMMIT_TAG: commit, DIRTY_TAG: str(local_changes() != "").lower()}
    remote = _git("remote", "get-url", "origin")
    return tags | ({REPOSITORY_TAG: without_credentials(remote)} if remote else {})


def local_changes() -> str:
    """Returns a patch of the tree against its commit, new Python files included; "" for none.

    `git apply` takes it, in the repository's topmost folder. What the pipeline itself writes is
    left out.
    """
    top = _git("rev-parse", "--show-toplevel")
    if not top or _git("rev-parse", "HEAD") is None:
        return ""
    prefix = _git("rev-parse", "--show-prefix") or ""
    written = [f":(exclude){prefix}{path}" for path in (_LOCK, *uncached_outputs())]
    changed = _diff("HEAD", "--", ".", *written, folder=top)
    new = _git("ls-files", "-z", "--others", "--exclude-standard", "--", "*.py", folder=top) or ""
    added = [
        _diff("--no-index", "--", "/dev/null", path, folder=top) for path in new.split("\0") if path
    ]
    return "".join([changed, *added])


def uncached_outputs(pipeline: Path = _PIPELINE) -> list[Path]:
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


def read_stages(lock: Path = _LOCK) -> Stages:
    """Returns the stages that a `dvc.lock` has; none where there is no such file."""
    return dict(files.read_yaml(lock).get("stages", {})) if lock.exists() else {}


def parse_stages(lock: str) -> Stages:
    """Returns the stages of a `dvc.lock` by its content."""
    return dict((yaml.safe_load(lock) or {}).get("stages", {}))


def write_stages(stages: Mapping[str, Any], lock: Path) -> None:
    """Writes a `dvc.lock` of these stages."""
    content = {"schema": "2.0", "stages": dict(stages)}
    files.write_text(yaml.safe_dump(content, sort_keys=False), lock)


def hash_of(entry: Mapping[str, Any]) -> str | None:
    """Returns the hash in an entry of `dvc.lock`, whichever kind DVC took for its place."""
    return next((str(entry[kind]) for kind in ("md5", "etag", "checksum") if kind in entry), None)


def hashes(stages: Mapping[str, Any], *, kinds: Iterable[str] = ("deps", "outs")) -> dict[str, str]:
    """Returns the hash of every input and output of stages, by path."""
    entries = [
        entry for stage in stages.values() for kind in kinds for entry in stage.get(kind, [])
    ]
    found = {str(entry["path"]): hash_of(entry) for entry in entries}
    return {path: content for path, content in found.items() if content}


def dvc_tags(
    paths: Iterable[Path | str], *, lock: Path = _LOCK, prefix: str = INPUT_PREFIX
) -> dict[str, str]:
    """Returns `dvc.<path>` → content hash for the paths that `dvc.lock` knows.

    A stage's own entry is written when it ends, so that a running stage finds its inputs among
    the outputs of the stages before it.
    """
    known = hashes(read_stages(lock))
    return {_tag(prefix, str(path)): known[str(path)] for path in paths if str(path) in known}


def digest(stages: Mapping[str, Any]) -> str:
    """Returns a hash of what `dvc.lock` says of stages, whatever the order."""
    return hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()[:32]


def current(stages: Stages) -> Stages:
    """Returns the stages that ran on what the stages before them have now.

    `dvc.lock` also keeps the entries of stages that have yet to run again; those are left out, and
    so is what follows from them.
    """
    paths = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    kept = dict(stages)
    while True:
        made = hashes(kept, kinds=["outs"])
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
    found = {name}
    while True:
        made = [
            Path(path) for each in found for path in hashes({each: stages[each]}, kinds=["outs"])
        ]
        more = {
            other
            for other, stage in stages.items()
            if any(
                Path(dep["path"]).is_relative_to(out)
                for dep in stage.get("deps", [])
                for out in made
            )
        }
        if more <= found:
            return found
        found |= more


def _tag(prefix: str, path: str) -> str:
    """Returns a name for a path that MLflow takes: no odd characters, nothing to normalise."""
    plain = re.sub(r"[^\w/. :-]", "_", without_credentials(path))
    parts = ["__" if part == ".." else part for part in plain.split("/") if part not in ("", ".")]
    return prefix + ("/" if path.startswith("/") else "") + "/".join(parts)[-_LONGEST_NAME:]


def _git(*arguments: str, folder: str | None = None) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=60, cwd=folder
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _diff(*arguments: str, folder: str) -> str:
    """Returns a patch; bytes that are no UTF-8 are kept as surrogates."""
    command = [
        "git",
        "-c",
        "core.quotePath=true",
        "diff",
        "--binary",
        "--no-color",
        "--no-ext-diff",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False, cwd=folder)
    if done.returncode not in (0, 1):  # 1: --no-index found a difference
        raise HemlineError(
            f"git cannot tell how the tree differs from its commit: {done.stderr.decode()}"
        )
    return done.stdout.decode(errors="surrogateescape")
