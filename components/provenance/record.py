"""What a run keeps of where it came from, written by the stages as they come to know it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from components.credentials import without_credentials
from components.provenance import provenance
from components.provenance.datasets import DataSet, log_data_set
from components.provenance.machine import describe_machine, installed_libraries
from components.registry.versions import RegisteredVersion
from components.tracking import runs
from components.tracking.runs import Tracking

FOLDER = "provenance"
PATCH_FILE = "local_changes.patch"
LOCK_FILE = "dvc.lock"
LIBRARIES_FILE = "libraries.txt"
RUN_FILE = "models/run.json"  # among the outputs of `dvc.yaml`; names the run
OUTPUTS_FOLDER = f"{FOLDER}/outputs"  # what the stages leave to git, under the same paths

MACHINE_TAG = "hemline.machine"
LOCK_TAG = "hemline.dvc_lock"
SPLIT_TAG = "hemline.split"
DATA_SET_TAG = "hemline.data_set"
VERSION_COMMIT_TAG = "hemline.commit"


def origin_tags(inputs: Iterable[Path | str], *, experiment: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags of a run that starts: commit, inputs, machine, DVC experiment.

    Args:
        inputs: paths that it reads, as `dvc.yaml` has them.
        experiment: tags of the DVC experiment that it is part of; empty outside of one.
    """
    return {
        **provenance.git_tags(),
        **provenance.dvc_tags(inputs),
        MACHINE_TAG: json.dumps(describe_machine()),
        **experiment,
    }


def record_start(data: DataSet, *, tracking: Tracking, run_id: str) -> None:
    """Attaches what a run starts from: its data set, the libraries, and how the tree differs."""
    log_data_set(data, tracking=tracking, run_id=run_id)
    counts = json.dumps(dict(data.counts))
    runs.set_tags({SPLIT_TAG: data.digest, DATA_SET_TAG: counts}, tracking=tracking, run_id=run_id)
    installed = installed_libraries()
    texts = {LIBRARIES_FILE: "".join(f"{name}=={number}\n" for name, number in installed.items())}
    changes = provenance.local_changes()
    if changes:
        texts[PATCH_FILE] = changes
    _attach(texts, tracking=tracking, run_id=run_id)


def record_outputs(run_file: Path, *, tracking: Tracking, run_id: str) -> None:
    """Attaches what the stages have made up to now: their hashes, and what they leave to git.

    `dvc.lock` has a stage's hashes once the stage has ended, so that the stages after training
    record those before them. A `dvc.lock` of another run, which a stage that is run by hand may
    meet, is left alone.

    Args:
        run_file: names the run, as an output of training.
        tracking: the store.
        run_id: of the run.
    """
    stages = provenance.current(provenance.read_stages())
    named = hashlib.md5(run_file.read_bytes(), usedforsecurity=False).hexdigest()  # as DVC does
    if provenance.hashes(stages, kinds=["outs"]).get(str(run_file)) != named:
        return
    lock = without_credentials(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))
    _attach({LOCK_FILE: lock}, tracking=tracking, run_id=run_id)
    made = provenance.hashes(stages, kinds=["outs"])
    tags = provenance.dvc_tags(made, prefix=provenance.OUTPUT_PREFIX)
    digest = {LOCK_TAG: provenance.digest(stages)}
    runs.set_tags({**tags, **digest}, tracking=tracking, run_id=run_id)
    for path in provenance.uncached_outputs():
        if str(path) in made and path.exists():
            folder = (Path(OUTPUTS_FOLDER) / path.parent).as_posix()
            runs.log_file(path, tracking=tracking, run_id=run_id, folder=folder)


def tag_version(version: RegisteredVersion, *, tracking: Tracking, run_id: str) -> None:
    """Tags a version with what it is looked up by: commit, split and hashes of its run."""
    tags = tracking.client().get_run(run_id).data.tags
    for key in (
        provenance.COMMIT_TAG,
        provenance.DIRTY_TAG,
        SPLIT_TAG,
        LOCK_TAG,
        provenance.EXPERIMENT_TAG,
    ):
        if key in tags:
            name = VERSION_COMMIT_TAG if key == provenance.COMMIT_TAG else key
            tracking.client().set_model_version_tag(
                version.name, str(version.version), name, tags[key]
            )


def _attach(texts: Mapping[str, str], *, tracking: Tracking, run_id: str) -> None:
    with TemporaryDirectory() as folder:
        for name, text in texts.items():
            file = Path(folder) / name
            file.write_bytes(without_credentials(text).encode(errors="surrogateescape"))
            runs.log_file(file, tracking=tracking, run_id=run_id, folder=FOLDER)
