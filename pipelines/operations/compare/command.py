"""Operation `compare`: networks and ablations under one budget, as DVC experiments → a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from components import files
from components.errors import HemlineError
from components.figures.variants import (
    MeasuredVariant,
    as_markdown,
    over_seeds,
    tabulate,
    write_bars,
    write_curves,
)
from components.params import changed, check, parse_value, resolved
from components.provenance import recording
from components.tracking import runs
from components.tracking.runs import Tracking
from pipelines.operations.compare.experiments import (
    VARIED_SECTIONS,
    Result,
    experiment_name,
    read_inputs,
    read_result,
    run_experiment,
)
from pipelines.shell import dvc, options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console

Values = dict[str, Any]
Groups = dict[str, dict[str, Values]]

_WRITTEN = ("table.md", "table.csv", "map.png", "learning.png")

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Variants or groups of the file; all where none is given."),
]
VariantsFile = Annotated[Path, typer.Option(help="File of groups and variants.")]
SetParam = Annotated[
    list[str] | None,
    typer.Option("--set-param", "-S", help="section.key=value, for every variant: the budget."),
]
Seed = Annotated[
    list[int] | None,
    typer.Option(help="Seed of sampling and training; of several, every variant uses each."),
]
Out = Annotated[Path, typer.Option(help="Folder for the table and the charts.")]
List = Annotated[bool, typer.Option("--list", help="List groups and variants, and train nothing.")]


def compare(
    names: Names = None,
    *,
    variants: VariantsFile = Path("comparison.yaml"),
    set_param: SetParam = None,
    seed: Seed = None,
    out: Out = Path("comparison"),
    list_only: List = False,
) -> None:
    """Train variants on the same data, with the same seeds and steps, and tabulate their results.

    Every variant is a DVC experiment in a copy of the workspace: `dvc exp show` lists them, `dvc
    exp apply` applies one to the workspace. Variants that were trained before are not trained
    again.
    """
    groups = _read_groups(variants)
    if list_only:
        _list(groups)
        return
    budget = dict(_parse(text) for text in set_param or [])
    chosen = {name: {**budget, **values} for name, values in _choose(groups, names).items()}
    trials = _plan(chosen, seeds=seed or [])
    failures = _train(trials)
    trained = [trial for trial in trials if trial.experiment not in failures]
    if trained:
        _report(trained, out)
    if failures:
        failed = [trial for trial in trials if trial.experiment in failures]
        ends = "".join(f"\n\n{t.name} ended with\n{failures[t.experiment]}" for t in failed)
        raise HemlineError(f"failed: {', '.join(t.name for t in failed)}{ends}")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A variant with one seed, and the experiment that trains it."""

    variant: str
    seed: int
    values: Values
    experiment: str

    @property
    def name(self) -> str:
        """The variant and its seed, for people."""
        return f"{self.variant}, seed {self.seed}"


def _read_groups(path: Path) -> Groups:
    try:
        groups = TypeAdapter(Groups).validate_python(files.read_yaml(path), strict=True)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ": ".join(str(part) for part in detail["loc"]) or "the file"
        raise HemlineError(
            f"{path} must hold groups of variants, each with the params that it changes, such as "
            f"networks: {{csn: {{model.name: csn}}}}; {where} is {detail['input']!r}"
        ) from error
    names = _written_names(path)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HemlineError(f"{path}: {twice.pop()!r} occurs twice; give each its own name")
    return groups


def _written_names(path: Path) -> list[str]:
    """Returns the names of all groups and variants; YAML keeps only the last of two alike."""
    groups = yaml.compose(path.read_text())
    assert isinstance(groups, yaml.MappingNode)
    variants = [variant for _, group in groups.value for variant in group.value]
    return [key.value for key, _ in groups.value + variants]


def _list(groups: Groups) -> None:
    for group, variants in groups.items():
        console.print(group)
        for name, values in variants.items():
            console.print(f"  {name:32}{' '.join(f'{k}={v}' for k, v in values.items())}")


def _choose(groups: Groups, names: Sequence[str] | None) -> dict[str, Values]:
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


def _plan(chosen: Mapping[str, Values], *, seeds: Sequence[int]) -> list[Trial]:
    """Returns what to train, with checked params."""
    sections = resolved(options.PARAMS)
    inputs = read_inputs(sections)
    trials = []
    for name, values in chosen.items():
        for seeded in [{"train.seed": s, "sampling.seed": s} for s in seeds] or [{}]:
            varied = changed(sections, {**values, **seeded})
            check(varied, source=f"variant {name!r}")
            _check_data_stays(sections, varied, source=f"variant {name!r}")
            trained = {section: varied[section] for section in VARIED_SECTIONS}
            trials.append(
                Trial(
                    variant=name,
                    seed=varied["train"]["seed"],
                    values={**values, **seeded},
                    experiment=experiment_name(name, params=trained, inputs=inputs),
                )
            )
    return trials


def _check_data_stays(
    sections: Mapping[str, Values], varied: Mapping[str, Values], *, source: str
) -> None:
    others = [name for name in sections if name not in VARIED_SECTIONS]
    different = [
        f"{name}.{key}"
        for name in others
        for key, value in sections[name].items()
        if varied[name][key] != value
    ]
    if different:
        raise HemlineError(
            f"{source} changes {', '.join(different)}, but a comparison varies only "
            f"{', '.join(VARIED_SECTIONS)}: its data is that of the workspace. "
            "Change params.yaml, run `dvc repro triplets`, and then compare"
        )


def _train(trials: Sequence[Trial]) -> dict[str, str]:
    """Runs the experiments that have not finished; returns errors by name of the experiment."""
    finished = dvc.experiments()
    failures = {}
    for number, trial in enumerate(trials, start=1):
        done = trial.experiment in finished
        state = f"{trial.experiment}{', trained before' if done else ''}"
        console.print(f"[{number}/{len(trials)}] {trial.name}: {state}", markup=False)
        try:
            if not done:
                run_experiment(trial.experiment, trial.values)
        except HemlineError as error:
            failures[trial.experiment] = str(error)
    return failures


def _report(trained: Sequence[Trial], out: Path) -> None:
    """Writes, logs and prints the table and the charts."""
    where = tracking()
    results = [read_result(trial.experiment) for trial in trained]
    measured = [_measured(*pair, where=where) for pair in zip(trained, results, strict=True)]
    table = tabulate(measured)
    means = over_seeds(table)
    has_seeds = len(means) < len(table)
    markdown = "\n".join(map(as_markdown, [means, table] if has_seeds else [table]))
    files.write_text(markdown, out / "table.md")
    files.write_text(table.to_csv(index=False), out / "table.csv")
    line = "the lowest to the highest seed" if has_seeds else "the 95 % interval over queries"
    write_bars(
        means if has_seeds else table,
        out / "map.png",
        title="MAP on the test split",
        axis=f"percent; the line is {line}",
    )
    curves: dict[str, list[list[float]]] = {}
    for trial, result in zip(trained, results, strict=True):
        curves.setdefault(trial.variant, []).append(result.valid_maps)
    write_curves(curves, out / "learning.png", title="Learning curves", axis="validation MAP, %")
    _log(means, out, where=where)
    console.print(markdown, markup=False)
    console.print(f"written: {', '.join(f'{out}/{name}' for name in _WRITTEN)}")


def _measured(trial: Trial, result: Result, *, where: Tracking) -> MeasuredVariant:
    speeds = runs.metric_values(result.run_id, "images_per_s", tracking=where)
    embedding = runs.metric_values(result.run_id, "test.images_per_s", tracking=where)
    return MeasuredVariant(
        variant=trial.variant,
        seed=trial.seed,
        figures=result.figures,
        trained_images_per_s=statistics.median(speeds) if speeds else None,
        embedded_images_per_s=embedding[-1] if embedding else None,
    )


def _log(means: pd.DataFrame, out: Path, *, where: Tracking) -> None:
    tags = {"mlflow.runName": "comparison", **recording.git_tags()}
    run_id = runs.start_run(where, params={}, tags=tags)
    with runs.ending(where, run_id):
        scores = {
            f"map.{_metric(name)}": score
            for name, score in zip(means["variant"], means["map"], strict=True)
        }
        runs.log_metrics(scores, tracking=where, run_id=run_id)
        for name in _WRITTEN:
            runs.log_file(out / name, tracking=where, run_id=run_id)


def _metric(variant: str) -> str:
    """Returns a metric name that MLflow accepts."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in variant)
