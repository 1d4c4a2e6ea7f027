"""Reproduced outputs compared with the recorded ones: a verdict on each, as table or JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from components.provenance import dvc_files
from components.training.trained import DESCRIPTION_FILE, WEIGHTS_FILE
from pipelines.operations.reproduce import agreement
from pipelines.operations.reproduce.agreement import Agreement, Difference, Tolerances
from pipelines.operations.reproduce.recorded import Recorded
from pipelines.operations.reproduce.worktree import Worktree
from pipelines.shell import options
from pipelines.shell.reporting import console

# outputs that differ although nothing does, or that other outputs sum up
_NOT_COMPARED = {
    str(options.RUN): "names its run",
    str(options.REGISTRATION): "names its version",
    str(options.REPORT): "names its run",
    str(options.QUERIES): f"{options.EVALUATION} sums it up",
}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How an output of a stage compares."""

    stage: str
    output: str
    verdict: Agreement
    detail: str


def compare_outputs(
    worktree: Worktree, recorded: Recorded, *, tolerances: Tolerances
) -> list[Compared]:
    """Returns a verdict on every output of the recorded stages, in their order."""
    again = dvc_files.output_hashes(dvc_files.read_lock(worktree.folder / dvc_files.LOCK))
    outputs = []
    for name, stage in recorded.stages.items():
        for path, content in dvc_files.output_hashes({name: stage}).items():
            found = _difference(
                worktree, path, same=again.get(path) == content, tolerances=tolerances
            )
            outputs.append(
                Compared(stage=name, output=path, verdict=found.verdict, detail=found.detail)
            )
    return outputs


def _difference(worktree: Worktree, path: str, *, same: bool, tolerances: Tolerances) -> Difference:
    if same:
        return Difference(verdict=Agreement.IDENTICAL, detail="")
    if path in _NOT_COMPARED:
        return Difference(verdict=Agreement.NOT_COMPARED, detail=_NOT_COMPARED[path])
    recorded, again = worktree.aside / path, worktree.folder / path
    if not recorded.exists():
        return Difference(
            verdict=Agreement.DIFFERENT,
            detail="the recorded one is gone: how far apart they are is unknown",
        )
    return _measured(path, recorded, again, tolerances=tolerances)


def _measured(path: str, recorded: Path, again: Path, *, tolerances: Tolerances) -> Difference:
    """Returns how far two outputs of different hashes are apart, where that can be measured."""
    if path == str(options.MODEL):
        return _measured_model(recorded, again, tolerance=tolerances.weights)
    if path == str(options.EMBEDDINGS):
        return agreement.compare_embeddings(recorded, again, tolerance=tolerances.embeddings)
    if recorded.suffix in (".json", ".csv"):
        return agreement.compare_metrics(recorded, again, tolerance=tolerances.metrics)
    return Difference(verdict=Agreement.DIFFERENT, detail="another hash")


def _measured_model(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Returns how far the weights are apart; networks described differently are different."""
    descriptions = [folder / DESCRIPTION_FILE for folder in (recorded, again)]
    described = agreement.compare_metrics(*descriptions, tolerance=0)
    if described.verdict is not Agreement.IDENTICAL:
        return Difference(
            verdict=Agreement.DIFFERENT, detail=f"{DESCRIPTION_FILE}: {described.detail}"
        )
    weights = [folder / WEIGHTS_FILE for folder in (recorded, again)]
    return agreement.compare_weights(*weights, tolerance=tolerance)


def overall(rows: Sequence[Compared]) -> Agreement:
    """Returns the verdict on the whole: that of the output that came out worst."""
    found = {row.verdict for row in rows}
    for verdict in (Agreement.DIFFERENT, Agreement.WITHIN_TOLERANCE):
        if verdict in found:
            return verdict
    return Agreement.IDENTICAL


def print_table(
    recorded: Recorded,
    rows: Sequence[Compared],
    *,
    computed: Sequence[str],
    kept: Path | None,
) -> None:
    """Prints a verdict per output, and where the first difference is."""
    table = Table(title=f"{recorded.name}: recorded and reproduced", title_justify="left")
    for column in ("stage", "output", "verdict", "detail"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.stage, row.output, row.verdict, row.detail)
    console.print(table)
    listed = ", ".join(computed) or "none; --from-scratch computes all of them"
    console.print(f"stages computed: {listed}", markup=False)
    first = _first_difference(rows)
    where = f"; first in stage {first.stage}, {first.output}: {first.detail}" if first else ""
    console.print(f"{overall(rows)}{where}", markup=False, style="bold")
    if kept:
        console.print(
            f"kept: {kept}; `git worktree remove --force {kept}` removes it", markup=False
        )


def print_json(
    recorded: Recorded,
    rows: Sequence[Compared],
    *,
    computed: Sequence[str],
    kept: Path | None,
) -> None:
    """Prints the same for programs."""
    first = _first_difference(rows)
    content: dict[str, Any] = {
        "target": recorded.name,
        "commit": recorded.commit,
        "verdict": overall(rows),
        "computed_stages": list(computed),
        "first_difference": first and asdict(first),
        "outputs": [asdict(row) for row in rows],
        "worktree": kept and str(kept),
    }
    print(json.dumps(content, indent=2))


def _first_difference(rows: Sequence[Compared]) -> Compared | None:
    return next((row for row in rows if row.verdict is Agreement.DIFFERENT), None)
