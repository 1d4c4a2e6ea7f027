"""What is new since the champion was trained: attributes that it does not know, and all else."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from components import files, tables
from components.datasets.changes import changed_sources
from components.errors import HemlineError
from components.params import flat, resolved
from components.provenance import dvc_files, git, origin
from components.provenance.recording import committed_params
from components.registry import ancestry
from components.registry.versions import RegisteredVersion
from components.tables import Catalog
from components.tracking.runs import Tracking
from pipelines.shell import dvc, options

# what `ingest` makes of params, code and data, the catalog, is itself compared
_STAGES = ("preprocess", "split", "triplets", "train")
_SECTIONS = ("preprocess", "split", "sampling", "model", "train")


@dataclass(frozen=True, kw_only=True)
class News:
    """What is new since the champion was trained.

    `attributes` are those of the catalog that it does not know; `values` those of attributes that
    it does, such as `color=teal`. `others` is whatever else training would see, in words: images
    and labels of attributes that it knows, params, code.
    """

    attributes: tuple[str, ...]
    values: tuple[str, ...]
    others: tuple[str, ...]


def news_since(champion: RegisteredVersion, *, params: Path, where: Tracking) -> News:
    """Returns what is new in the workspace, against the commit that recorded the champion.

    Where that cannot be told, this is said among `others`.

    Raises:
        HemlineError: the registry does not answer, or the workspace has no catalog.
    """
    from components.training.growth import values_beyond  # noqa: PLC0415 - torch

    known = ancestry.described(champion, tracking=where).schema
    catalog, splits = tables.read_catalog(options.CATALOG), tables.read_splits(options.SPLITS)
    try:
        others = _others(champion, catalog, known.names, params=params, where=where)
    except HemlineError as error:
        others = (f"whatever came since {champion.uri} ({error})",)
    beyond = values_beyond(known, catalog.schema, splits)
    return News(
        attributes=tuple(name for name in catalog.schema.names if name not in known.names),
        values=tuple(f"{name}={value}" for name, values in beyond.items() for value in values),
        others=others,
    )


def changed_params(params: Path, commit: str) -> list[str]:
    """Returns the params that differ from a commit's, by `section.key`; defaults count as given."""
    now, then = flat(resolved(params)), committed_params(params, commit)
    return [name for name, value in now.items() if then.get(name) != value]


def _others(
    champion: RegisteredVersion,
    catalog: Catalog,
    known: list[str],
    *,
    params: Path,
    where: Tracking,
) -> tuple[str, ...]:
    commit = _commit_of(champion, where)
    with TemporaryDirectory() as folder:
        if not dvc.copy_committed(options.CATALOG, commit, into=Path(folder) / "catalog"):
            raise HemlineError(f"commit {commit[:10]} has no catalog")
        before = tables.read_catalog(Path(folder) / "catalog")
    changed = [name for name in changed_params(params, commit) if name != "train.parent"]
    return (
        *changed_sources(before, catalog, known),
        *(name for name in changed if name.split(".")[0] in _SECTIONS),
        *git.changed_since(commit, _code()),
    )


def _commit_of(champion: RegisteredVersion, where: Tracking) -> str:
    """Returns the commit that recorded a version: its training, and the catalog that it read."""
    run_id = origin.run_of(champion, tracking=where)
    made = dvc_files.output_hashes(origin.read_stages(run_id, tracking=where))
    run_file = made.get(origin.RUN_FILE)
    commit = dvc_files.first_commit(run_file) if run_file else None
    if commit is None:
        raise HemlineError(f"no commit of this branch records what made {champion.uri}")
    recorded = dvc_files.output_hashes(dvc_files.read_committed_lock(commit))
    catalog = str(options.CATALOG)
    if recorded.get(catalog) != made.get(catalog):
        raise HemlineError(f"commit {commit[:10]} has another catalog than {champion.uri} learned")
    return commit


def _code() -> list[str]:
    """Returns the code, as `dvc.yaml` names it, that shapes what is trained."""
    stages = files.read_yaml(dvc_files.PIPELINE)["stages"]
    deps = {dep for name in _STAGES for dep in stages[name]["deps"]}
    return sorted(dep for dep in deps if dep.startswith(("components/", "pipelines/")))
