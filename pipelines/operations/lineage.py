"""Operation `lineage`: where a version or a run comes from, and what was made from a commit."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from components.errors import HemlineError
from components.provenance import history, provenance, record
from components.provenance.history import History
from components.registry import registry
from components.tracking.runs import Tracking
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console

Target = Annotated[str | None, typer.Argument(help="models:/hemline/3 or so, or the id of a run.")]
Commit = Annotated[
    str | None,
    typer.Option(metavar="REV", help="Find what was made from this commit, branch or tag."),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="How it is printed.")]

# of the many that are installed, what the numbers come from; --format json has them all
_SHOWN_LIBRARIES = ("torch", "torchvision", "numpy", "pyarrow", "pillow", "ray", "dvc", "mlflow")
_CODE = ("components/", "pipelines/")  # which the commit tells; --format json has it too
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def lineage(
    target: Target = None, *, commit: Commit = None, output_format: Format = "table"
) -> None:
    """Print code, data, params, machine and libraries of a version or a run.

    With --commit, the versions and runs that were made from a commit, or whose results it records.
    """
    where = tracking()
    as_json = output_format == "json"
    if (target is None) == (commit is None):
        raise HemlineError(
            "lineage takes a version or a run, such as models:/hemline@champion, or --commit REV"
        )
    if commit is not None:
        _print_found(_made_from(commit, where), commit=commit, as_json=as_json)
        return
    found = history.read_all(_run_id(str(target), where), tracking=where)
    if as_json:
        print(json.dumps(_content(found), indent=2))
    else:
        _print_history(found, title=str(target))


def _run_id(target: str, where: Tracking) -> str:
    if _RUN_ID.fullmatch(target):
        return target
    return history.run_of(registry.resolve(target, where), tracking=where)


def _made_from(revision: str, where: Tracking) -> list[History]:
    # DVC, which only a revision needs
    from pipelines.operations.reproduce.recorded import (  # noqa: PLC0415
        committed_stages,
        resolve_commit,
    )

    commit = resolve_commit(revision)
    outputs = provenance.hashes(committed_stages(commit), kinds=["outs"])
    run_file = outputs.get(record.RUN_FILE)
    run_ids = history.runs_from(commit, run_file=run_file, tracking=where)
    return [history.read_all(run_id, tracking=where) for run_id in run_ids]


def _content(found: History) -> dict[str, Any]:
    return {**asdict(found), "seeds": found.seeds, "versions": [v.uri for v in found.versions]}


def _print_found(found: Sequence[History], *, commit: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_content(each) for each in found], indent=2))
        return
    if not found:
        console.print(f"no run was made from {commit}, nor are results of one recorded in it")
        return
    table = _table(f"made from {commit}", ("version", "run", "status", "commit", "MAP", "split"))
    for each in found:
        score = each.metrics.get("test.map")
        table.add_row(
            ", ".join(version.uri for version in each.versions) or "none registered",
            each.lineage.run_id,
            each.status,
            _commit(each),
            "" if score is None else f"{score:.2f}",
            (each.split or "")[:12],
        )
    console.print(table)


def _print_history(found: History, *, title: str) -> None:
    facts = _table(title, ("what", "which"))
    for what, which in _facts(found).items():
        facts.add_row(what, which)
    console.print(facts)
    params = _table("params", ("name", "value"))
    for name, value in sorted(found.lineage.params.items()):
        params.add_row(name, value)
    console.print(params)
    if found.stages:
        console.print(_hashes(found.stages))
    else:
        console.print("no hashes of stages: none has followed on training")


def _facts(found: History) -> dict[str, str]:
    machine, libraries = found.machine, found.libraries
    facts: dict[str, str | None] = {
        "run": f"{found.lineage.run_id}, {found.status.lower()}",
        "versions": ", ".join(version.uri for version in found.versions) or "none registered",
        "commit": _commit(found),
        "repository": found.repository,
        "DVC experiment": found.experiment,
        "seeds": _listed(found.seeds),
        "training workers": str(found.num_workers or ""),
        "machine": _listed(machine),
        "split digest": found.split,
        "libraries": _listed({k: libraries[k] for k in _SHOWN_LIBRARIES if k in libraries}),
    }
    for data in found.data_sets:
        facts["data set"] = f"{data.name}, from {data.source}"
        facts["counts"] = _listed(data.counts)
    facts["metrics"] = _listed(
        {
            name: f"{value:.2f}"
            for name, value in found.metrics.items()
            if name in ("test.map", "test.random_map", "test.triplet_accuracy")
        }
    )
    return {what: which for what, which in facts.items() if which}


def _hashes(stages: provenance.Stages) -> Table:
    table = _table("inputs and outputs, as DVC knows them", ("stage", "", "path", "hash"))
    for name, stage in stages.items():
        for kind, shown in (("deps", "in"), ("outs", "out")):
            for path, content in provenance.hashes({name: stage}, kinds=[kind]).items():
                if not path.startswith(_CODE):
                    table.add_row(name, shown, path, content)
    return table


def _commit(found: History) -> str:
    if found.lineage.commit is None:
        return "not in a git repository"
    return found.lineage.commit + (
        f", with local changes ({record.FOLDER}/{record.PATCH_FILE})"
        if found.lineage.has_local_changes
        else ""
    )


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, []))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
