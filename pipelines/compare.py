"""Operation `compare`: networks and ablations under one budget, as DVC experiments → a table."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components import files
from components.errors import HemlineError
from components.figures.bars import Bar, write_bars
from components.params import changed, check, parse_value, resolved
from components.retrieval.comparison import Measured, as_markdown, tabulate
from components.tracking import runs
from components.tracking.runs import Tracking
from pipelines import options
from pipelines.environment import tracking
from pipelines.experiments import (
    experiment_name,
    finished_experiments,
    read_results,
    run_experiment,
)
from pipelines.reporting import console

Values = dict[str, Any]

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Variants or groups of the file; all where none is given."),
]
VariantsFile = Annotated[Path, typer.Option(help="File of groups and variants.")]
SetParam = Annotated[
    list[str] | None,
    typer.Option("--set-param", "-S", help="section.key=value, for every variant: the budget."),
]
Out = Annotated[Path, typer.Option(help="Folder for the table and the chart.")]
List = Annotated[bool, typer.Option("--list", help="List groups and variants, and train nothing.")]


def compare(
    names: Names = None,
    *,
    variants: VariantsFile = Path("comparison.yaml"),
    set_param: SetParam = None,
    out: Out = Path("comparison"),
    list_only: List = False,
    params: options.Params = options.PARAMS,
) -> None:
    """Train variants on the same data, seeds and steps, and set them side by side.

    Every variant is a DVC experiment in a copy of the workspace: `dvc exp show` lists them, `dvc
    exp apply` takes one over. What was trained before is not trained again.
    """
    groups = _read_groups(variants)
    if list_only:
        _list(groups)
        return
    budget = dict(_parse(text) for text in set_param or [])
    chosen = {name: {**budget, **values} for name, values in _choose(groups, names).items()}
    experiments = _name_experiments(chosen, params)
    failed = _train(chosen, experiments)
    if len(failed) < len(chosen):
        measured = _measure({name: experiments[name] for name in chosen if name not in failed})
        _report(measured, out)
    if failed:
        raise HemlineError(f"failed: {', '.join(failed)}; what they printed stands above")


def _read_groups(path: Path) -> dict[str, dict[str, Values]]:
    groups: dict[str, dict[str, Values]] = files.read_yaml(path)
    names = [name for variants in groups.values() for name in variants] + [*groups]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HemlineError(f"{path}: {twice.pop()!r} stands there twice; give each its own name")
    return groups


def _list(groups: Mapping[str, Mapping[str, Values]]) -> None:
    for group, variants in groups.items():
        console.print(group)
        for name, values in variants.items():
            console.print(f"  {name:32}{' '.join(f'{k}={v}' for k, v in values.items())}")


def _choose(
    groups: Mapping[str, Mapping[str, Values]], names: Sequence[str] | None
) -> dict[str, Values]:
    known = {name: values for variants in groups.values() for name, values in variants.items()}
    chosen: dict[str, Values] = {}
    for name in names or known:
        if name not in known and name not in groups:
            raise HemlineError(
                f"there is no variant {name!r}; groups: {', '.join(groups)}; "
                f"variants: {', '.join(known)}"
            )
        chosen |= groups.get(name) or {name: known[name]}
    return chosen


def _parse(text: str) -> tuple[str, Any]:
    key, is_there, value = text.partition("=")
    if not is_there:
        raise HemlineError(f"--set-param {text}: give section.key=value")
    return key, parse_value(value)


def _name_experiments(chosen: Mapping[str, Values], params: Path) -> dict[str, str]:
    """Returns the experiment of each variant; every variant's params are checked on the way."""
    sections = resolved(params)
    experiments = {}
    for name, values in chosen.items():
        varied = changed(sections, values)
        check(varied, source=f"variant {name!r}")
        trained = {section: varied[section] for section in ("sampling", "model", "train")}
        experiments[name] = experiment_name(name, trained)
    return experiments


def _train(chosen: Mapping[str, Values], experiments: Mapping[str, str]) -> list[str]:
    """Runs the experiments that have not finished yet; returns the variants that failed."""
    finished = finished_experiments()
    failed = []
    for number, (name, values) in enumerate(chosen.items(), start=1):
        done = experiments[name] in finished
        state = "trained before" if done else experiments[name]
        console.print(f"[{number}/{len(chosen)}] {name}: {state}", markup=False)
        if not done and not run_experiment(experiments[name], values):
            failed.append(name)
    return failed


def _measure(experiments: Mapping[str, str]) -> list[Measured]:
    where = tracking()
    results = read_results(experiments.values())
    measured = []
    for name, experiment in experiments.items():
        figures, run_id = results[experiment]
        speeds = runs.read_history(run_id, "images_per_s", tracking=where)
        embedding = runs.read_history(run_id, "test.images_per_s", tracking=where)
        measured.append(
            Measured(
                name=name,
                figures=figures,
                trained_images_per_s=statistics.median(speeds) if speeds else None,
                embedded_images_per_s=embedding[-1] if embedding else None,
            )
        )
    return measured


def _report(measured: Sequence[Measured], out: Path) -> None:
    table = tabulate(measured)
    markdown = as_markdown(table)
    files.write_text(markdown, out / "table.md")
    files.write_text(table.to_csv(index=False), out / "table.csv")
    write_bars(_bars(table), out / "map.png", title="MAP on the test split", axis="percent")
    _log(table, out, where=tracking())
    console.print(markdown, markup=False)
    console.print(f"written: {out}/table.md, {out}/table.csv, {out}/map.png")


def _bars(table: pd.DataFrame) -> list[Bar]:
    rows = table[["variant", "map", "map_low", "map_high"]].astype(object)
    rows = rows.where(rows.notna(), None)
    return [
        Bar(label=name, score=score, low=low, high=high) for name, score, low, high in rows.values
    ]


def _log(table: pd.DataFrame, out: Path, *, where: Tracking) -> None:
    run_id = runs.start_run(where, params={}, tags={"mlflow.runName": "comparison"})
    with runs.ending(where, run_id):
        scores = {
            f"map.{_metric(name)}": score
            for name, score in zip(table["variant"], table["map"], strict=True)
        }
        runs.log_metrics(scores, tracking=where, run_id=run_id)
        for name in ("table.md", "table.csv", "map.png"):
            runs.log_file(out / name, tracking=where, run_id=run_id)


def _metric(variant: str) -> str:
    """Returns a name that MLflow takes for a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in variant)
