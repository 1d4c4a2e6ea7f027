"""A run for outputs that came by DVC from elsewhere, whose own run this store does not have."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import files
from components.errors import HemlineError
from components.provenance import dvc_files, origin, recording
from components.provenance.dvc_files import Stages
from components.tracking import runs
from components.tracking.runs import Tracking


def start_run_of_pulled(run_file: Path, *, split: str, tracking: Tracking) -> str:
    """Returns the id of a new run with what `dvc.lock` says of the one that a file names.

    It has the params, the hashes of what was read, and the commit that recorded the outputs;
    machine, libraries and the curves of training are with the first run, which its tags name.
    `split` is the digest of the split.

    Raises:
        HemlineError: `dvc.lock` is of another run, or the store does not answer.
    """
    named = files.read_json(run_file)
    stages = dvc_files.up_to_date(dvc_files.read_lock())
    made = dvc_files.output_hashes(stages)
    content = hashlib.md5(run_file.read_bytes(), usedforsecurity=False).hexdigest()  # as DVC does
    if made.get(str(run_file)) != content:
        raise HemlineError(
            f"the MLflow store {tracking.address} has no run {named['run_id']}, named in "
            f"{run_file}, and {dvc_files.LOCK} is of another one: set MLFLOW_TRACKING_URI to the "
            f"store that has it, or bring what the commit has with `git checkout {dvc_files.LOCK}` "
            "and `dvc checkout`"
        )
    maker = next(
        stage for stage in stages.values() if str(run_file) in dvc_files.output_hashes({"": stage})
    )
    read = dvc_files.hashes({"": maker}, kinds=["deps"])
    tags = {
        **recording.git_tags(),
        **_commit_tags(content),
        **recording.input_tags({path: hash_ for path, hash_ in read.items() if path in made}),
        origin.SPLIT_TAG: split,
        runs.ORIGIN_STORE_TAG: named.get("tracking_uri", ""),
    }
    return runs.start_run(tracking, params=_params(stages), tags=tags)


def _commit_tags(content: str) -> dict[str, str]:
    """Returns the commit whose `dvc.lock` first named a hash; none before it was committed."""
    try:
        found = dvc_files.first_commit(content)
    except HemlineError:  # there is no repository or no commit
        return {}
    return {origin.COMMIT_TAG: found, origin.DIRTY_TAG: "false"} if found else {}


def _params(stages: Stages) -> Mapping[str, Mapping[str, Any]]:
    """Returns the params that stages ran with, by section; a stage may name a section or a key."""
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for stage in stages.values():
        for named in stage.get("params", {}).values():
            for name, value in named.items():
                section, _, key = name.partition(".")
                sections[section].update({key: value} if key else value)
    return sections
