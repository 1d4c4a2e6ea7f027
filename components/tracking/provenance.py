"""Where a run comes from: the git commit and the DVC hashes of what it read."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from components import files


def git_tags() -> dict[str, str]:
    """Returns the commit and whether the tree differs from it; empty outside a git repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {"mlflow.source.git.commit": commit, "hemline.git_dirty": str(dirty).lower()}


def dvc_tags(paths: Iterable[Path], *, lock: Path = Path("dvc.lock")) -> dict[str, str]:
    """Returns `dvc.<path>` → content hash for the paths that `dvc.lock` knows.

    A stage's own entry is written when it ends, so that a running stage finds its inputs among
    the outputs of the stages before it.
    """
    if not lock.exists():
        return {}
    stages = yaml.safe_load(lock.read_text()).get("stages", {}).values()
    entries = [
        entry for stage in stages for kind in ("deps", "outs") for entry in stage.get(kind, [])
    ]
    hashes = {entry["path"]: entry.get("md5") for entry in entries}
    return {f"dvc.{path}": hashes[str(path)] for path in paths if hashes.get(str(path))}


def run_key(params: Mapping[str, Any], paths: Iterable[Path]) -> str:
    """Returns a short hash of a run's params and of the content of its input files.

    Runs with equal keys compute the same, so that one may go on where another stopped.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for path in paths:
        digest.update(bytes.fromhex(files.sha256(path)))
    return digest.hexdigest()[:16]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
