"""DVC experiments: run in a copy of the workspace, which itself is never changed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components import files
from components.errors import HemlineError
from components.params import with_defaults
from components.provenance import dvc_files
from pipelines.shell import dvc

VARIED_SECTIONS = ("sampling", "model", "train")  # what the stages of an experiment read

_STAGES = ("triplets", "train", "prototypes", "evaluate")
_INPUTS = ("ingest", "preprocess", "split")  # stages whose outputs are used as they are
_DRAWING = {Path("components/figures"), Path("components/report")}  # code that only draws


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """Evaluation on the test split, validation MAP in percent after each epoch, and MLflow run."""

    figures: Mapping[str, Any]
    valid_maps: list[float]
    run_id: str


def read_inputs(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the outputs in `dvc.lock` that every experiment starts from.

    The sections are the workspace's params, defaults included.

    Raises:
        HemlineError: a stage before training has not run, or has run with other params.
    """
    stages = dvc_files.read_lock()
    for stage in _INPUTS:
        if stage not in stages:
            raise HemlineError(
                f"stage {stage} has not run here: `dvc repro triplets`, and then compare"
            )
        for name, recorded in stages[stage]["params"]["params.yaml"].items():
            section, _, key = name.partition(".")
            before = recorded if key else with_defaults({section: recorded})[section]
            if before != (sections[section][key] if key else sections[section]):
                raise HemlineError(
                    f"{name} of params.yaml has changed since stage {stage} ran: "
                    "`dvc repro triplets`, and then compare"
                )
    return {stage: stages[stage]["outs"] for stage in _INPUTS}


def experiment_name(variant: str, *, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Returns a name that two experiments share only if they compute the same.

    It ends in a hash of the params, of the inputs as `read_inputs` returns them, and of commands
    and code of the stages in `dvc.yaml`. DVC's run cache does not help: it skips stages with an
    output of `cache: false`, such as training.
    """
    pipeline = files.read_yaml(dvc_files.PIPELINE)["stages"]
    commands = {stage: pipeline[stage]["cmd"] for stage in _STAGES}
    paths = {Path(dep) for stage in _STAGES for dep in pipeline[stage]["deps"]} - _DRAWING
    code = [path for path in paths if path.parts[0] in ("components", "pipelines")]
    sources = {file for path in code for file in (path, *path.rglob("*.py")) if file.is_file()}
    key = files.content_key(
        {"params": params, "data": inputs, "commands": commands}, sorted(sources)
    )
    slug = "".join(letter if letter.isalnum() else "-" for letter in variant)
    return f"compare-{slug}-{key[:8]}"


def run_experiment(name: str, values: Mapping[str, Any]) -> None:
    """Trains and evaluates with changed params; what the stages print passes through.

    Earlier stages do not run: their outputs are those in `dvc.lock`, and their inputs, such as raw
    images that git does not track, are not in the copy.

    Raises:
        HemlineError: the experiment failed; the message has the end of what it printed.
    """
    # ++: params.yaml may lack a key that has a default
    changes = [f"--set-param=++{key}={override(value)}" for key, value in values.items()]
    options = ["--temp", "--single-item", "--name", name, "--copy-paths", str(dvc_files.LOCK)]
    dvc.run("exp", "run", *options, *changes, *_STAGES)


def override(value: Any) -> str:
    """Returns a value of the params as DVC's overrides (Hydra's) have it.

    They are no JSON: a backslash stands for itself, unless a quotation mark follows.
    """
    if isinstance(value, list):
        return f"[{','.join(map(override, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    escaped = re.sub(
        r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', '\\"'), value
    )
    return f'"{escaped}"'


def read_result(name: str) -> ExperimentResult:
    """Returns the result of a finished experiment."""
    tree = dvc.tree(name)
    figures = json.loads(tree.read_text("metrics/evaluation.json"))
    run = json.loads(tree.read_text("models/run.json"))
    with tree.open("plots/training.csv") as curve:
        valid_maps = pd.read_csv(curve)["valid_map"].tolist()
    return ExperimentResult(figures=figures, valid_maps=valid_maps, run_id=run["run_id"])
