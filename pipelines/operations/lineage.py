"""Operation `lineage`: where a version or run comes from, and what was made from a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

from typer import Argument, Option

from components.errors import HemlineError
from components.provenance import dvc_files, origin, recording
from components.provenance.origin import Origin
from components.registry import ancestry, versions
from components.tracking.runs import Tracking, all_runs
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, print_json, table

Target = Annotated[str | None, Argument(help="A version (models:/hemline/3) or a run's id.")]
Commit = Annotated[
    str | None, Option(metavar="REV", help="Find what was made from this commit, branch or tag.")
]
Mend = Annotated[
    bool,
    Option(
        "--mend",
        help="Set hashes among the tags of a run, or of all runs, to what its own dvc.lock says.",
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="With --mend: say what would be changed.")]

# of the many that are installed, what the numbers come from; --format json has them all
_SHOWN_LIBRARIES = ("torch", "torchvision", "numpy", "pyarrow", "pillow", "ray", "dvc", "mlflow")
_SHOWN_METRICS = ("test/map", "test/random_map", "test/gain", "test/triplet_accuracy")
_CODE = ("components/", "pipelines/")  # which the commit tells; --format json has it too
_CORE = ("run_id", "commit", "has_local_changes", "params", "inputs")  # `lineage` in JSON


class _Change(NamedTuple):
    """A tag of a run and its right value, each None for no such tag."""

    run_id: str
    tag: str
    was: str | None
    right: str | None


def lineage(
    target: Target = None,
    *,
    commit: Commit = None,
    mend: Mend = False,
    dry_run: DryRun = False,
    output_format: options.Format = "table",
) -> None:
    """Print the code, data, params, machine and libraries that made a version or a run.

    With --commit: the versions and runs made from a commit, or whose results it records; none is
    an error.
    """
    where = tracking()
    as_json = output_format == "json"
    if dry_run and not mend:
        raise HemlineError("--dry-run goes with --mend: lineage changes nothing else")
    if mend and commit is None:
        run_id = None if target is None else _run_id(target, where)
        changes = _mend(run_id, where, dry_run=dry_run)
        _print_changes(changes, dry_run=dry_run, as_json=as_json)
        return
    if mend or (target is None) == (commit is None):
        raise HemlineError(
            "lineage takes a version or a run, such as models:/hemline@champion, or --commit REV; "
            "--mend takes a version, a run or nothing, for all runs"
        )
    if commit is not None:
        runs = _made_from(commit, where)
        if not runs:
            experiment = f"experiment {where.experiment or where.experiment_id}"
            raise HemlineError(
                f"no run in the MLflow store {where.address}, {experiment}, was made from "
                f"{commit}, and {commit} records the results of none. If it should, set "
                "MLFLOW_TRACKING_URI to the store that has the run, and MLFLOW_EXPERIMENT_NAME to "
                "its experiment; tags of runs of hemline 0.1 may be wrong: hemline lineage --mend"
            )
        if as_json:
            print_json([_content(run, where) for run in runs])
        else:
            _print_runs(runs, where, commit=commit)
        return
    run = origin.read_origin(_run_id(str(target), where), tracking=where)
    if as_json:
        print_json(_content(run, where))
    else:
        _print_run(run, where, title=str(target))


def _run_id(target: str, where: Tracking) -> str:
    if origin.is_run_id(target):
        return target
    return origin.run_of(versions.resolve(target, where), tracking=where)


def _made_from(revision: str, where: Tracking) -> list[Origin]:
    from pipelines.shell import dvc  # noqa: PLC0415 - a second of import time for revisions only

    commit = dvc.resolve(revision)
    outputs = dvc_files.output_hashes(dvc_files.read_committed_lock(commit))
    return origin.find_runs(commit, run_file=outputs.get(origin.RUN_FILE), tracking=where)


def _mend(run_id: str | None, where: Tracking, *, dry_run: bool) -> list[_Change]:
    """Returns what was changed, or would be, by run and tag."""
    runs = all_runs(where) if run_id is None else [where.client().get_run(run_id)]
    changes = []
    for run in runs:
        right = recording.wrong_tags(run, tracking=where)
        if not dry_run:
            recording.mend_tags(run.info.run_id, right, tracking=where)
        changes += [
            _Change(run.info.run_id, tag, run.data.tags.get(tag), content)
            for tag, content in sorted(right.items())
        ]
    return changes


def _print_changes(changes: Sequence[_Change], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run, "changes": [change._asdict() for change in changes]})
    elif changes:
        title, then = ("would be changed", "would be") if dry_run else ("changed", "is now")
        rows = [tuple(value or "none" for value in change) for change in changes]
        console.print(table(title, ("run", "tag", "was", then), rows=rows))
    else:
        console.print("every run's tags agree with the dvc.lock that it kept")


def _versions(run: Origin, where: Tracking) -> list[str]:
    return [version.uri for version in origin.versions_of(run.run_id, tracking=where)]


def _parents(run: Origin, where: Tracking) -> dict[str, str]:
    """Returns the versions that those of a run extend, by URI."""
    found = {
        version.uri: ancestry.parent_of(version, tracking=where)
        for version in origin.versions_of(run.run_id, tracking=where)
    }
    return {uri: parent for uri, parent in found.items() if parent is not None}


def _content(run: Origin, where: Tracking) -> dict[str, Any]:
    plain = asdict(run)
    return {
        "lineage": {name: plain.pop(name) for name in _CORE},
        **plain,
        "versions": _versions(run, where),
        "extends": _parents(run, where),
        "libraries": origin.read_libraries(run.run_id, tracking=where),
        "stages": origin.read_stages(run.run_id, tracking=where),
        "seeds": run.seeds,
    }


def _print_runs(runs: Sequence[Origin], where: Tracking, *, commit: str) -> None:
    columns = ("version", "run", "status", "commit", "MAP", "split")
    rows = [
        (
            ", ".join(_versions(run, where)) or "none registered",
            run.run_id,
            run.status,
            _commit(run),
            f"{run.metrics['test/map']:.2f}" if "test/map" in run.metrics else "",
            (run.split or "")[:12],
        )
        for run in runs
    ]
    console.print(table(f"made from {commit}", columns, rows=rows))


def _print_run(run: Origin, where: Tracking, *, title: str) -> None:
    facts = [(what, which) for what, which in _facts(run, where) if which]
    console.print(table(title, ("what", "which"), rows=facts))
    console.print(table("params", ("name", "value"), rows=sorted(run.params.items())))
    stages = origin.read_stages(run.run_id, tracking=where)
    if not stages:
        console.print("no hashes of stages: none has run after training")
        return
    rows = [
        (name, shown, path, content)
        for name, stage in stages.items()
        for kind, shown in (("deps", "in"), ("outs", "out"))
        for path, content in dvc_files.hashes({name: stage}, kinds=[kind]).items()
        if not path.startswith(_CODE)
    ]
    title = "inputs and outputs, as DVC knows them"
    console.print(table(title, ("stage", "", "path", "hash"), rows=rows))


def _facts(run: Origin, where: Tracking) -> list[tuple[str, str | None]]:
    libraries = origin.read_libraries(run.run_id, tracking=where)
    metrics = {
        name: f"{value:.2f}" for name, value in run.metrics.items() if name in _SHOWN_METRICS
    }
    facts = [
        ("run", f"{run.run_id}, {run.status.lower()}"),
        ("versions", ", ".join(_versions(run, where)) or "none registered"),
        ("extends", ", ".join(_parents(run, where).values())),
        ("commit", _commit(run)),
        ("repository", run.repository),
        ("DVC experiment", run.experiment),
        ("seeds", _listed(run.seeds)),
        ("training workers", str(run.num_workers or "")),
        ("machine", _listed(run.machine)),
        ("split digest", run.split),
        ("libraries", _listed({k: libraries[k] for k in _SHOWN_LIBRARIES if k in libraries})),
    ]
    for data in run.data_sets:
        facts += [
            ("data set", f"{data.name}, from {data.source}"),
            ("counts", _listed(data.counts)),
        ]
    return [*facts, ("metrics", _listed(metrics))]


def _commit(run: Origin) -> str:
    if run.commit is None:
        return "none was recorded: there was no git repository"
    patch = f", with local changes ({origin.FOLDER}/{origin.PATCH_FILE})"
    return f"{run.commit}{patch if run.has_local_changes else ''}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, []))
