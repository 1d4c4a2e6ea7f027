"""Operation `compare`: networks and ablations under one budget, as DVC experiments → a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError
from typer import Argument, Option

from components import files, tables
from components.attributes import metric_part, too_long
from components.errors import HemlineError
from components.evaluation.figures import not_above_random
from components.figures.variants import (
    MeasuredVariant,
    as_markdown,
    over_seeds,
    tabulate,
    write_bars,
    write_curves,
)
from components.params import changed, check, flat, parse_value, resolved
from components.provenance import recording
from components.tracking import runs
from components.tracking.runs import Tracking
from pipelines.operations.compare.experiments import (
    VARIED_SECTIONS,
    experiment_name,
    read_inputs,
    read_result,
    run_experiment,
)
from pipelines.shell import dvc, options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, notes, print_json

Values = dict[str, Any]
Groups = dict[str, dict[str, Values]]

_WRITTEN = ("table.md", "table.csv", "map.png", "learning.png")

Names = Annotated[
    list[str] | None,
    Argument(
        help="Variants or groups in the file; by default all, AHBN's for data with landmarks."
    ),
]
VariantsFile = Annotated[Path, Option(help="File of groups and variants.")]
SetParam = Annotated[
    list[str] | None,
    Option("--set-param", "-S", help="section.key=value, for every variant: the budget."),
]
Seed = Annotated[
    list[int] | None,
    Option(help="Seed of sampling and training; repeat it to train every variant with each."),
]
Out = Annotated[Path, Option(help="Folder for the table and the charts.")]
List = Annotated[bool, Option("--list", help="List groups and variants; train nothing.")]


def compare(
    names: Names = None,
    *,
    variants: VariantsFile = Path("comparison.yaml"),
    set_param: SetParam = None,
    seed: Seed = None,
    out: Out = Path("comparison"),
    list_only: List = False,
    output_format: options.Format = "table",
) -> None:
    """Train variants on the same data, with the same seeds and steps, and tabulate their results.

    Every variant is a DVC experiment in a copy of the workspace: `dvc exp show` lists them, `dvc
    exp apply` applies one to the workspace. Variants that were trained before are not trained
    again.
    """
    groups = _read_groups(variants)
    as_json = output_format == "json"
    if list_only:
        if as_json:
            print_json({"groups": groups})
        else:
            _list(groups)
        return
    if not names:
        groups = _without_landmarks(groups, options.CATALOG)
    budget = dict(_parse_param(text) for text in set_param or [])
    chosen = {name: {**budget, **values} for name, values in _choose(groups, names).items()}
    trials = _plan_trials(chosen, seeds=seed or [])
    failures = _run_trials(trials)
    finished = [trial for trial in trials if trial.experiment not in failures]
    if finished:
        _report(finished, out, as_json=as_json)
    if failures:
        failed = [trial for trial in trials if trial.experiment in failures]
        ends = "".join(f"\n\n{x.name} ended with\n{failures[x.experiment]}" for x in failed)
        raise HemlineError(f"failed: {', '.join(trial.name for trial in failed)}{ends}")


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
    # of two entries with one name, reading YAML keeps only the last
    document = yaml.compose(path.read_text())
    assert isinstance(document, yaml.MappingNode)
    variants = [variant for _, group in document.value for variant in group.value]
    names = [key.value for key, _ in document.value + variants]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HemlineError(f"{path}: {twice.pop()!r} occurs twice; give each its own name")
    if long := [name for name in names if too_long(name)]:
        raise HemlineError(f"{path}: the name {long[0]!r} is too long for a metric in MLflow")
    return groups


def _list(groups: Groups) -> None:
    for group, variants in groups.items():
        console.print(group)
        for name, values in variants.items():
            console.print(f"  {name:32}{' '.join(f'{k}={v}' for k, v in values.items())}")


def _without_landmarks(groups: Groups, catalog: Path) -> Groups:
    """Returns the groups without AHBN's variants where the catalog marks no landmarks.

    Some need none, but without the others they are not what its paper compares.
    """
    if not (catalog / tables.SCHEMA_FILE).exists() or tables.read_schema(catalog).landmarks:
        return groups
    kept = {
        group: {name: x for name, x in variants.items() if x.get("model.name") != "ahbn"}
        for group, variants in groups.items()
    }
    if kept != groups:
        notes.print("left out: variants of ahbn, as no landmarks are marked; name those to train")
    return kept


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


def _parse_param(text: str) -> tuple[str, Any]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise HemlineError(f"--set-param {text}: give section.key=value")
    return name, parse_value(value)


def _plan_trials(chosen: Mapping[str, Values], *, seeds: Sequence[int]) -> list[Trial]:
    """Returns what to train, with checked params."""
    sections = resolved(options.PARAMS)
    inputs = read_inputs(sections)
    trials = []
    for variant, values in chosen.items():
        for seeded in [{"train.seed": s, "sampling.seed": s} for s in seeds] or [{}]:
            varied = changed(sections, {**values, **seeded})
            check(varied, source=f"variant {variant!r}")
            _check_same_data(sections, varied, variant=variant)
            params = {section: varied[section] for section in VARIED_SECTIONS}
            trials.append(
                Trial(
                    variant=variant,
                    seed=varied["train"]["seed"],
                    values={**values, **seeded},
                    experiment=experiment_name(variant, params=params, inputs=inputs),
                )
            )
    return trials


def _check_same_data(
    sections: Mapping[str, Values], varied: Mapping[str, Values], *, variant: str
) -> None:
    before, after = flat(sections), flat(varied)
    different = [
        name
        for name in before
        if before[name] != after[name] and name.partition(".")[0] not in VARIED_SECTIONS
    ]
    if different:
        raise HemlineError(
            f"variant {variant!r} changes {', '.join(different)}, but a comparison varies only "
            f"{', '.join(VARIED_SECTIONS)}: its data is that of the workspace. "
            "Change params.yaml, run `dvc repro triplets`, and then compare"
        )


def _run_trials(trials: Sequence[Trial]) -> dict[str, str]:
    """Runs the experiments that have not finished; returns errors by experiment name."""
    finished = dvc.experiments()
    failures = {}
    for number, trial in enumerate(trials, start=1):
        is_done = trial.experiment in finished
        state = f"{trial.experiment}{', trained before' if is_done else ''}"
        notes.print(f"[{number}/{len(trials)}] {trial.name}: {state}", markup=False)
        try:
            if not is_done:
                run_experiment(trial.experiment, trial.values)
        except HemlineError as error:
            failures[trial.experiment] = str(error)
    return failures


def _report(trials: Sequence[Trial], out: Path, *, as_json: bool) -> None:
    """Writes, logs and prints the table and the charts."""
    where = tracking()
    measured = []
    curves: dict[str, list[list[float]]] = {}
    for trial in trials:
        result = read_result(trial.experiment)
        curves.setdefault(trial.variant, []).append(result.valid_maps)
        trained = runs.metric_values(result.run_id, "train/images_per_s", tracking=where)
        embedded = runs.metric_values(result.run_id, "test/images_per_s", tracking=where)
        measured.append(
            MeasuredVariant(
                variant=trial.variant,
                seed=trial.seed,
                figures=result.figures,
                trained_images_per_s=statistics.median(trained) if trained else None,
                embedded_images_per_s=embedded[-1] if embedded else None,
            )
        )
    table = tabulate(measured)
    means = over_seeds(table)
    has_seeds = len(means) < len(table)
    markdown = "\n".join(map(as_markdown, [means, table] if has_seeds else [table]))
    for variant in measured:
        if names := not_above_random(variant.figures):
            who = f"{variant.variant}, seed {variant.seed}"
            markdown += f"\n{who}: not above a random ranking in {', '.join(names)}.\n"
    files.write_text(markdown, out / "table.md")
    files.write_text(table.to_csv(index=False), out / "table.csv")
    line = "the lowest to the highest seed" if has_seeds else "the 95 % interval over queries"
    write_bars(
        means if has_seeds else table,
        out / "map.png",
        title="MAP on the test split",
        axis=f"percent; the line is {line}",
    )
    write_curves(curves, out / "learning.png", title="Learning curves", axis="validation MAP, %")
    _log(means, out, where=where)
    if as_json:
        print_json(
            {
                "variants": _records(means),
                "trials": _records(table),
                "written": [str(out / name) for name in _WRITTEN],
            }
        )
        return
    console.print(markdown, markup=False)
    console.print(f"written: {', '.join(f'{out}/{name}' for name in _WRITTEN)}")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns rows with their values as Python's own; missing ones are None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]


def _log(means: pd.DataFrame, out: Path, *, where: Tracking) -> None:
    tags = {runs.NAME_TAG: "comparison", **recording.git_tags()}
    run_id = runs.start_run(where, params={}, tags=tags)
    with runs.ending(where, run_id):
        scores = {
            f"{score}/{metric_part(variant)}": value
            for score in ("map", "gain", "hit_at_20")
            if score in means
            for variant, value in zip(means["variant"], means[score], strict=True)
            if pd.notna(value)  # a random ranking has no gain
        }
        runs.log_metrics(scores, tracking=where, run_id=run_id)
        for name in _WRITTEN:
            runs.log_file(out / name, tracking=where, run_id=run_id)
