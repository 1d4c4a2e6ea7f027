"""Outputs that came by DVC become usable here: a run of this store records what is known."""

from pathlib import Path

from components import files
from components.evaluation.evaluation import metrics_of
from components.provenance.pulled import start_run_of_pulled
from components.tables import split_digest
from components.tracking import runs
from components.tracking.runs import Tracking
from pipelines.shell import options
from pipelines.shell.reporting import notes


def run_here(run: Path, *, splits: Path, metrics: Path, queries: Path, where: Tracking) -> str:
    """Returns the id of the run that a file names, or of one that stands for it in this store.

    Where outputs were pulled, their run is in another store: a new run has params, split, metrics
    and evaluation of `dvc.lock` and the outputs. Asked again, it is the same one.

    Raises:
        HemlineError: `dvc.lock` is of another run, or the store does not answer.
    """
    known = runs.find_run(run, where)
    if known is not None:
        return known
    run_id = start_run_of_pulled(run, split=split_digest(splits), tracking=where)
    with runs.ending(where, run_id):
        figures = files.read_json(metrics)
        runs.log_metrics(metrics_of(figures, prefix="test"), tracking=where, run_id=run_id)
        runs.log_splits(splits, tracking=where, run_id=run_id)
        for file in (metrics, queries, options.REPORT):
            if file.exists():
                runs.log_file(file, tracking=where, run_id=run_id)
        # last: a run that was killed before does not stand for it
        named = {runs.ORIGIN_RUN_TAG: files.read_json(run)["run_id"]}
        runs.set_tags(named, tracking=where, run_id=run_id)
    notes.print(
        f"{run} names a run of another store: what dvc.lock and the outputs say of it is recorded "
        f"in {where.address} as run {run_id}"
    )
    return run_id
