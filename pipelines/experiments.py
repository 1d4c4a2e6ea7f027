"""DVC experiments: trained in a copy of the workspace, which itself is never touched."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem

from components.errors import HemlineError
from components.tracking import provenance

_STAGES = ("triplets", "train", "evaluate")
_INPUTS = ("ingest", "preprocess", "split")  # stages whose outputs are taken as they are
_LOCK = Path("dvc.lock")


def experiment_name(label: str, params: Mapping[str, Any]) -> str:
    """Returns a name that two experiments share only if they compute the same.

    It ends in a hash of the params, of the data as `dvc.lock` has it, and of the code.

    Raises:
        HemlineError: the workspace has not been through the stages before training.
    """
    stages = yaml.safe_load(_LOCK.read_text())["stages"] if _LOCK.exists() else {}
    missing = [stage for stage in _INPUTS if stage not in stages]
    if missing:
        raise HemlineError(
            f"stage {missing[0]} has not run here: `dvc repro triplets`, and then compare"
        )
    data = {stage: stages[stage]["outs"] for stage in _INPUTS}
    code = sorted([*Path("components").rglob("*.py"), *map(_file_of, _STAGES)])
    key = provenance.run_key({"params": params, "data": data}, code)
    slug = "".join(letter if letter.isalnum() else "-" for letter in label)
    return f"compare-{slug}-{key[:8]}"


def _file_of(stage: str) -> Path:
    return Path("pipelines") / f"{stage}.py"


def run_experiment(name: str, values: Mapping[str, Any]) -> bool:
    """Trains and evaluates with changed params; returns whether it went well.

    The stages before keep the outputs that `dvc.lock` names: their own inputs, such as raw images
    that git does not know, are not in the copy. What the stages print passes through.
    """
    changes = [f"--set-param={key}={json.dumps(value)}" for key, value in values.items()]
    options = ["--temp", "--single-item", "--name", name, "--copy-paths", str(_LOCK)]
    return _dvc("exp", "run", *options, *changes, *_STAGES).returncode == 0


def finished_experiments() -> set[str]:
    """Returns the names of the experiments that have finished, on any commit."""
    done = _dvc("exp", "list", "--all-commits", "--name-only", capture_output=True)
    return set(done.stdout.split())


def read_results(names: Iterable[str]) -> dict[str, tuple[dict[str, Any], str]]:
    """Returns evaluation and MLflow run of finished experiments, by name."""
    results = {}
    for name in names:
        tree = DVCFileSystem(".", rev=name)
        figures = json.loads(tree.read_text("metrics/evaluation.json"))
        run = json.loads(tree.read_text("models/run.json"))
        results[name] = (figures, run["run_id"])
    return results


def _dvc(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, text=True, check=False, **options)
