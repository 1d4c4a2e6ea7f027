"""Records where a run comes from, as the stages come to know it; `origin.py` reads it back."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from yaml import YAMLError

from components import files
from components.credentials import without_credentials
from components.errors import HemlineError
from components.params import flat, parse_value, with_defaults
from components.provenance import dvc_files, git, origin
from components.provenance.machine import describe_machine, installed_libraries
from components.provenance.origin import DataSet
from components.registry.versions import RegisteredVersion
from components.tables import SPLITS_REPORT_FILE, Catalog, read_catalog, split_digest
from components.tracking import runs
from components.tracking.runs import Tracking

_VERSION_TAGS = {  # tags that a version is looked up by, and the run's tags that they repeat
    "hemline.commit": origin.COMMIT_TAG,
    origin.DIRTY_TAG: origin.DIRTY_TAG,
    origin.SPLIT_TAG: origin.SPLIT_TAG,
    origin.LOCK_TAG: origin.LOCK_TAG,
    origin.EXPERIMENT_TAG: origin.EXPERIMENT_TAG,
}
_DIGEST_LENGTH = 32  # hexadecimal digits; MLflow keeps 36
_LONGEST_NAME = 200  # characters of a path in a tag, or of a run's name; MLflow takes 250
_NAMING = ("data", "preprocess", "split", "sampling", "model", "train")  # shape what is trained


def origin_tags(inputs: Iterable[Path | str], *, experiment: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags of a run that starts: commit, inputs, machine, DVC experiment.

    `inputs` are paths as `dvc.yaml` has them, `experiment` the tags of the DVC experiment.
    """
    # a stage's own entry is written when it ends: it finds its inputs among earlier stages' outputs
    known = dvc_files.hashes(dvc_files.read_lock())
    read = {path: known[path] for path in map(str, inputs) if path in known}
    return {
        **git_tags(),
        **input_tags(read),
        origin.MACHINE_TAG: json.dumps(describe_machine()),
        **experiment,
    }


def run_name(
    sections: Mapping[str, Mapping[str, Any]],
    *,
    params: Path,
    data_set: str,
    experiment: Mapping[str, str],
) -> str:
    """Returns a name for people: network, DVC experiment, and what varies, or else the data set.

    `ag_man · wide-margin · train.margin=0.3`. Params vary against those of the commit, or of the
    experiment's baseline; `sections` are those of now, `experiment` is as for `origin_tags`.
    """
    before = committed_params(params, experiment.get(origin.BASELINE_TAG, "HEAD"))
    varied = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in flat({name: sections[name] for name in _NAMING}).items()
        if before.get(name, value) != value and name != "model.name"
    ]
    parts = (
        sections["model"]["name"],
        experiment.get(origin.EXPERIMENT_TAG),
        ", ".join(varied) or data_set,
    )
    return without_credentials(" · ".join(filter(None, parts)))[:_LONGEST_NAME]


def committed_params(params: Path, revision: str) -> dict[str, Any]:
    """Returns the values of a commit's params file by `section.key`, with the defaults of now.

    None of them where the commit has no such file, or there is no commit.
    """
    try:
        text = git.read("show", f"{revision}:./{os.path.relpath(params)}")
        raw = parse_value(text)
    except (HemlineError, YAMLError):
        return {}
    if not isinstance(raw, dict):
        return {}
    given = {name: keys for name, keys in raw.items() if isinstance(keys, dict)}
    return flat(with_defaults({})) | flat(given)


def input_tags(read: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags of what a run read: hashes by path."""
    return _hash_tags(read, prefix=origin.INPUT_PREFIX)


def git_tags() -> dict[str, str]:
    """Returns the commit and whether the tree differs from it; empty outside a git repository.

    What the pipeline itself writes, `dvc.lock` and outputs that git keeps, does not count.

    Raises:
        HemlineError: there is a repository that git cannot read, such as another user's.
    """
    commit = git.find_head()
    if commit is None:
        return {}
    tags = {origin.COMMIT_TAG: commit, origin.DIRTY_TAG: str(_local_changes() != "").lower()}
    try:
        repository = git.read("remote", "get-url", "origin")
    except HemlineError:  # it has no remote of this name
        return tags
    return {**tags, origin.REPOSITORY_TAG: without_credentials(repository)}


def read_data_set(*, source: str, catalog: Path, splits: Path) -> DataSet:
    """Returns what a catalog and its splits hold."""
    read = read_catalog(catalog)
    assigned = files.read_json(splits / SPLITS_REPORT_FILE)["splits"]
    return DataSet(
        name=read.schema.dataset,
        source=without_credentials(source),
        digest=split_digest(splits),
        counts={
            "images": read.images.num_rows,
            "labels": read.labels.num_rows,
            "attributes": len(read.schema.attributes),
            "quarantined": read.quarantine.num_rows,
            **_items_and_domains(read),
            **{
                f"{split} {role}": size["num_images"]
                for split, roles in assigned.items()
                for role, size in roles.items()
            },
        },
    )


def _items_and_domains(catalog: Catalog) -> dict[str, int]:
    """Returns how many items have an image, and the images of each domain; {} without them."""
    domains = Counter(catalog.images["domain"].drop_null().to_pylist())
    counts = {f"{name} images": number for name, number in sorted(domains.items())}
    if catalog.schema.identity is None:
        return counts
    labels = catalog.labels.filter(pc.field("attribute") == catalog.schema.identity)
    return {"items": pc.count_distinct(labels["value"]).as_py(), **counts}


def record_start(data: DataSet, *, tracking: Tracking, run_id: str) -> None:
    """Attaches what a run starts from: its data set, the libraries, and how the tree differs."""
    counts = json.dumps(dict(data.counts))
    entity = Dataset(
        name=data.name,
        digest=data.digest[:_DIGEST_LENGTH],
        source_type="local" if "://" not in data.source else data.source.split("://")[0],
        source=json.dumps({"uri": data.source}),
        profile=counts,
    )
    shown = [InputTag("mlflow.data.context", "training")]  # on MLflow's pages
    tracking.client().log_inputs(run_id, datasets=[DatasetInput(entity, shown)])  # idempotent
    tags = {origin.SPLIT_TAG: data.digest, origin.DATA_SET_TAG: counts}
    runs.set_tags(tags, tracking=tracking, run_id=run_id)
    libraries = "".join(f"{name}=={number}\n" for name, number in installed_libraries().items())
    _attach(origin.LIBRARIES_FILE, libraries, tracking=tracking, run_id=run_id)
    if changes := _local_changes():
        _attach(origin.PATCH_FILE, changes, tracking=tracking, run_id=run_id)


def record_outputs(run_file: Path, *, tracking: Tracking, run_id: str) -> None:
    """Attaches what the stages have made up to now: their hashes, and what they leave to git.

    `dvc.lock` has a stage's hashes once the stage has ended, so that the stages after training
    record those of earlier ones. A `dvc.lock` of another run than `run_file` names, which a stage
    that is run by hand may meet, is left alone.
    """
    stages = dvc_files.up_to_date(dvc_files.read_lock())
    made = dvc_files.output_hashes(stages)
    named = hashlib.md5(run_file.read_bytes(), usedforsecurity=False).hexdigest()  # as DVC does
    if made.get(str(run_file)) != named:
        return
    _attach(origin.LOCK_FILE, dvc_files.format_lock(stages), tracking=tracking, run_id=run_id)
    tags = _hash_tags(made, prefix=origin.OUTPUT_PREFIX)
    tags[origin.LOCK_TAG] = dvc_files.digest(stages)
    runs.set_tags(tags, tracking=tracking, run_id=run_id)
    for path in dvc_files.uncached_outputs():
        if str(path) in made and path.exists():
            folder = (Path(origin.FOLDER) / origin.OUTPUTS_FOLDER / path.parent).as_posix()
            runs.log_file(path, tracking=tracking, run_id=run_id, folder=folder)


def wrong_tags(run: Run, *, tracking: Tracking) -> dict[str, str | None]:
    """Returns the hashes among a run's tags that its own `dvc.lock` contradicts, by tag.

    Each with the right value; None for an output that the run did not make. Runs of hemline 0.1 may
    have tags of the run before them. Nothing is known of a run that kept no `dvc.lock`.
    """
    stages = origin.read_stages(run.info.run_id, tracking=tracking)
    if not stages:
        return {}
    made = _hash_tags(dvc_files.output_hashes(stages), prefix=origin.OUTPUT_PREFIX)
    read = _hash_tags(dvc_files.hashes(stages), prefix=origin.INPUT_PREFIX)
    tags = run.data.tags
    held: dict[str, str | None] = {name: read[name] for name in tags if name in read}
    held |= {name: None for name in tags if name.startswith(origin.OUTPUT_PREFIX)}
    return {name: right for name, right in (held | made).items() if tags.get(name) != right}


def mend_tags(run_id: str, right: Mapping[str, str | None], *, tracking: Tracking) -> None:
    """Sets a run's tags to what `wrong_tags` found."""
    kept = {name: content for name, content in right.items() if content is not None}
    runs.set_tags(kept, tracking=tracking, run_id=run_id)
    for name in right.keys() - kept.keys():
        tracking.client().delete_tag(run_id, name)


def tag_version(version: RegisteredVersion, *, tracking: Tracking, run_id: str) -> None:
    """Tags a version with what it is looked up by: commit, split and hashes of its run."""
    client = tracking.client()
    tags = client.get_run(run_id).data.tags
    for name, source in _VERSION_TAGS.items():
        if source in tags:
            client.set_model_version_tag(version.name, str(version.version), name, tags[source])


def _local_changes() -> str:
    """Returns a patch of the code against its commit; "" where it is the same or has no commit."""
    if git.find_head() is None:
        return ""
    return git.patch(without=[dvc_files.LOCK, *dvc_files.uncached_outputs()])


def _hash_tags(hashes: Mapping[str, str], *, prefix: str) -> dict[str, str]:
    """Returns `<prefix><path>` → content hash."""
    return {_tag(prefix, path): content for path, content in hashes.items()}


def _tag(prefix: str, path: str) -> str:
    """Returns a name for a path that MLflow takes: no odd characters, nothing to normalise."""
    plain = re.sub(r"[^\w/. :-]", "_", without_credentials(path))
    parts = ["__" if part == ".." else part for part in plain.split("/") if part not in ("", ".")]
    return prefix + ("/" if path.startswith("/") else "") + "/".join(parts)[-_LONGEST_NAME:]


def _attach(name: str, text: str, *, tracking: Tracking, run_id: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(without_credentials(text).encode(errors="surrogateescape"))
        runs.log_file(file, tracking=tracking, run_id=run_id, folder=origin.FOLDER)
