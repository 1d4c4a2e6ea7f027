"""Reproduced outputs compared with the recorded ones: a verdict on each, as table or JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.errors import command_line
from components.provenance import dvc_files
from components.training.trained import DESCRIPTION_FILE, WEIGHTS_FILE
from pipelines.operations.reproduce import agreement
from pipelines.operations.reproduce.agreement import Agreement, Difference, Tolerances
from pipelines.operations.reproduce.recorded import Recorded
from pipelines.operations.reproduce.worktree import Worktree
from pipelines.shell import options
from pipelines.shell.reporting import console, print_json, table

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
            found = Difference(Agreement.IDENTICAL)
            if again.get(path) != content:
                found = _difference(worktree, path, tolerances=tolerances)
            outputs.append(Compared(stage=name, output=path, **vars(found)))
    return outputs


def _difference(worktree: Worktree, path: str, *, tolerances: Tolerances) -> Difference:
    """Returns how far two outputs of different hashes are apart, where that can be measured."""
    recorded, again = worktree.aside / path, worktree.folder / path
    if path in _NOT_COMPARED:
        return Difference(Agreement.NOT_COMPARED, _NOT_COMPARED[path])
    if not recorded.exists():
        return Difference(Agreement.DIFFERENT, "the recorded output is gone: it is not measured")
    compare = {
        str(options.MODEL): partial(_model_difference, tolerance=tolerances.weights),
        str(options.PROTOTYPES): partial(
            agreement.compare_prototypes, tolerance=tolerances.embeddings
        ),
        str(options.EMBEDDINGS): partial(
            agreement.compare_embeddings, tolerance=tolerances.embeddings
        ),
    }.get(path)
    if compare is not None:
        return compare(recorded, again)
    if recorded.suffix in (".json", ".csv"):
        return agreement.compare_metrics(recorded, again, tolerance=tolerances.metrics)
    return Difference(Agreement.DIFFERENT, "another hash")


def _model_difference(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Returns how far the weights are apart; networks described differently are different."""
    described = agreement.compare_metrics(
        recorded / DESCRIPTION_FILE,
        again / DESCRIPTION_FILE,
        tolerance=0,
        left_out=("crc32",),  # of the weights, which are compared themselves
    )
    if described.verdict is not Agreement.IDENTICAL:
        return Difference(Agreement.DIFFERENT, f"{DESCRIPTION_FILE}: {described.detail}")
    return agreement.compare_weights(
        recorded / WEIGHTS_FILE, again / WEIGHTS_FILE, tolerance=tolerance
    )


def overall(rows: Sequence[Compared]) -> Agreement:
    """Returns the verdict on the whole: the worst of those on the outputs."""
    found = {row.verdict for row in rows}
    worst_first = (Agreement.DIFFERENT, Agreement.WITHIN_TOLERANCE)
    return next((verdict for verdict in worst_first if verdict in found), Agreement.IDENTICAL)


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """What was made again, and how it compares.

    `computed` names the stages that computed something; `kept` is the worktree's folder, if it
    stays.
    """

    recorded: Recorded
    rows: Sequence[Compared]
    computed: Sequence[str]
    kept: Path | None

    @property
    def first_difference(self) -> Compared | None:
        """The first output that differs; None where none does."""
        return next((row for row in self.rows if row.verdict is Agreement.DIFFERENT), None)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        first = self.first_difference
        return {
            "target": self.recorded.name,
            "commit": self.recorded.commit,
            "verdict": overall(self.rows),
            "computed_stages": list(self.computed),
            "first_difference": first and asdict(first),
            "outputs": [asdict(row) for row in self.rows],
            "worktree": self.kept and str(self.kept),
        }


def print_comparisons(made: Sequence[Reproduced], *, as_json: bool) -> None:
    """Prints a verdict per output, and where the first difference is.

    The last is what was asked for; those before it, what it was grown from, oldest first.
    """
    if as_json:
        *grown_from, asked = (each.as_dict() for each in made)
        print_json({**asked, "grown_from": grown_from})
        return
    for each in made:
        _print(each)


def _print(made: Reproduced) -> None:
    columns = ("stage", "output", "verdict", "detail")
    cells = [(row.stage, row.output, row.verdict, row.detail) for row in made.rows]
    console.print(table(f"{made.recorded.name}: recorded and reproduced", columns, rows=cells))
    listed = ", ".join(made.computed) or "none; --from-scratch computes all of them"
    console.print(f"stages computed: {listed}", markup=False)
    first = made.first_difference
    where = f"; first in stage {first.stage}, {first.output}: {first.detail}" if first else ""
    console.print(f"{overall(made.rows)}{where}", markup=False, style="bold")
    if made.kept:
        remove = command_line("git", "worktree", "remove", "--force", made.kept)
        console.print(f"kept: {made.kept}; `{remove}` removes it", markup=False)
