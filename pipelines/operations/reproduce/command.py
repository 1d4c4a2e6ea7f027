"""Operation `reproduce`: makes a version, a run or a commit again, and compares the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from components import files
from components.errors import HemlineError
from components.provenance import dvc_files, machine, origin
from components.tracking.runs import Tracking
from pipelines.operations.reproduce.agreement import Agreement, Tolerances
from pipelines.operations.reproduce.comparison import (
    Reproduced,
    compare_outputs,
    overall,
    print_comparisons,
)
from pipelines.operations.reproduce.grown import grown_from
from pipelines.operations.reproduce.recorded import Recorded, read_recorded
from pipelines.operations.reproduce.worktree import Worktree, checked_out
from pipelines.shell import dvc, exit_codes, options
from pipelines.shell.environment import project_folder, tracking
from pipelines.shell.reporting import notes

Target = Annotated[str, Argument(help="A version (models:/hemline/3), a run's id or a revision.")]
FromScratch = Annotated[bool, Option("--from-scratch", help="Compute everything; use no cache.")]
Keep = Annotated[bool, Option("--keep", help="Keep the worktree, and say where it is.")]
IgnoreEnvironment = Annotated[
    bool, Option("--ignore-environment", help="Run even if libraries are not those pinned.")
]
WeightsTolerance = Annotated[
    float, Option(min=0, help="Largest difference of a weight that passes.")
]
EmbeddingsTolerance = Annotated[
    float, Option(min=0, help="Largest difference of an embedding's component that passes.")
]
MetricsTolerance = Annotated[
    float, Option(min=0, help="Largest difference of a metric; MAP is in percent points.")
]

# continued by their stages, so that images and labels keep the numbers that they were given
_CONTINUED = (str(options.CATALOG), str(options.SPLITS))
# fetched even when they are computed again, to measure how far the new ones are from them
_MEASURED = (str(options.MODEL), str(options.EMBEDDINGS))


def reproduce(
    target: Target,
    *,
    from_scratch: FromScratch = False,
    keep: Keep = False,
    ignore_environment: IgnoreEnvironment = False,
    weights_tolerance: WeightsTolerance = 1e-4,
    embeddings_tolerance: EmbeddingsTolerance = 1e-3,
    metrics_tolerance: MetricsTolerance = 0.5,
    output_format: options.Format = "table",
) -> None:
    """Run a commit's stages in a worktree, and compare hashes, weights and metrics.

    Of a version that was grown, what it was grown from is made again first.

    Exit status: 0 identical or within the tolerances, 3 different, 1 failed or refused.
    """
    tolerances = Tolerances(
        weights=weights_tolerance, embeddings=embeddings_tolerance, metrics=metrics_tolerance
    )
    made = _reproduced(
        target,
        where=tracking(),
        tolerances=tolerances,
        from_scratch=from_scratch,
        keep=keep,
        ignore_environment=ignore_environment,
    )
    print_comparisons(made, as_json=output_format == "json")
    if any(overall(each.rows) is Agreement.DIFFERENT for each in made):
        raise Exit(exit_codes.DIFFERENT)


def _reproduced(
    target: str,
    *,
    where: Tracking,
    tolerances: Tolerances,
    from_scratch: bool,
    keep: bool,
    ignore_environment: bool,
) -> list[Reproduced]:
    """Returns what was made again, each with what it was grown from before it."""
    recorded = read_recorded(target, tracking=where)
    folder = project_folder() / ".hemline" / "reproduce"
    with checked_out(recorded.commit, parent=folder, keep=keep) as worktree:
        _prepare(worktree, recorded, ignore_environment=ignore_environment)
        parent = grown_from(worktree, where=where)
        made = []
        if parent is not None:
            notes.print(f"{recorded.name} was grown from {parent}, which is made again first")
            made = _reproduced(
                parent,
                where=where,
                tolerances=tolerances,
                from_scratch=from_scratch,
                keep=keep,
                ignore_environment=ignore_environment,
            )
        ran = _run(worktree, recorded, from_scratch=from_scratch)
        rows = compare_outputs(worktree, recorded, tolerances=tolerances)
        kept = worktree.folder if keep else None
        return [*made, Reproduced(recorded=recorded, rows=rows, computed=ran, kept=kept)]


def _prepare(worktree: Worktree, recorded: Recorded, *, ignore_environment: bool) -> None:
    """Gives the worktree what the run started from: code, `dvc.lock`, and files kept in git."""
    if not ignore_environment:
        _check_libraries(worktree.folder / "constraints.txt", recorded)
    here = machine.describe_machine()
    for key in ("system", "processor", "gpus"):
        before = recorded.machine.get(key, here[key])
        if before != here[key]:
            notes.print(f"the {key} was {before} and is {here[key]}: bits may differ", markup=False)
    dvc.share_cache(worktree.folder)
    if recorded.patch:
        worktree.apply(recorded.patch)
    if recorded.run_id:
        origin.copy_outputs(recorded.run_id, worktree.folder, tracking=tracking())
    files.write_text(dvc_files.format_lock(recorded.stages), worktree.folder / dvc_files.LOCK)


def _check_libraries(constraints: Path, recorded: Recorded) -> None:
    if not constraints.exists():
        raise HemlineError(
            f"{recorded.name}: its commit has no constraints.txt, so its libraries are not "
            "recorded; --ignore-environment runs it with those of this environment"
        )
    different = machine.differences(constraints.read_text(), machine.installed_libraries())
    if different:
        listed = "".join(
            f"\n  {name}: {asked} is pinned, {found} is installed"
            for name, (asked, found) in different.items()
        )
        raise HemlineError(
            f"this environment is not the one of {recorded.name}:{listed}\n"
            f"Install what its commit pins, in an environment of its own (`git show "
            f"{recorded.commit[:10]}:constraints.txt > pins.txt; pip install -c pins.txt -e .`), "
            "or see what --ignore-environment gives"
        )


def _run(worktree: Worktree, recorded: Recorded, *, from_scratch: bool) -> list[str]:
    """Runs the stages and returns those that computed something, in order."""
    stages = list(recorded.stages)
    made = list(dvc_files.output_hashes(recorded.stages))
    small = {str(path) for path in dvc_files.uncached_outputs(worktree.folder / dvc_files.PIPELINE)}
    wanted = [*_CONTINUED, *_MEASURED] if from_scratch else made
    worktree.fetch([path for path in wanted if path in made and path not in small])
    changed = dvc.changed_outputs(stages, folder=worktree.folder)
    gone = [path for paths in changed.values() for path in paths if path in _CONTINUED]
    if gone:
        raise HemlineError(
            f"{', '.join(gone)} of {recorded.name} is neither in DVC's cache nor in its remote, "
            "and without it images and splits would get other numbers: `dvc push` where it still "
            "is, or bring the remote back"
        )
    planned = stages if from_scratch else _planned(recorded.stages, list(changed))
    _check_inputs(worktree, recorded, planned)
    again = [out["path"] for name in planned for out in recorded.stages[name].get("outs", [])]
    worktree.set_aside(path for path in again if path not in _CONTINUED)
    if from_scratch:
        worktree.run("repro", "--force", "--single-item", "--no-run-cache", "--no-commit", *planned)
        return planned
    if planned:
        notes.print(f"missing, computed again: {', '.join(planned)}")
        worktree.run("repro", "--single-item", *planned)
    worktree.run("repro", "--allow-missing", *stages)
    return planned


def _planned(stages: dvc_files.Stages, changed: Sequence[str]) -> list[str]:
    """Returns the stages to run so that the changed ones are made again.

    Stages after training add to its MLflow run, which is in another store, so that any of them
    needs training and all that follows it to run too.
    """
    wanted = set(changed)
    for name, stage in stages.items():
        if str(options.RUN) in dvc_files.output_hashes({name: stage}):
            with_training = dvc_files.with_followers(stages, name)
            wanted |= with_training if with_training & wanted else set()
    return [name for name in stages if name in wanted]


def _check_inputs(worktree: Worktree, recorded: Recorded, planned: Sequence[str]) -> None:
    wrong = worktree.changed_inputs(recorded.stages)
    needed = worktree.changed_inputs(planned) if planned else {}
    refused = {path: what for path, what in wrong.items() if path in needed or what != "deleted"}
    if refused:
        listed = "".join(f"\n  {path}: {what}" for path, what in refused.items())
        raise HemlineError(
            f"what the stages of {recorded.name} read cannot be fetched as it was:{listed}\n"
            "Bring data back (to DVC's remote, or to where it lay in this checkout); code and "
            "params that differ were changed without git's knowledge"
        )
