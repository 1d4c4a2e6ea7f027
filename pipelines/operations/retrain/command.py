"""Operation `retrain`: what a scheduler starts. New data → a version → the gate → a commit."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from typer import Exit, Option, echo

from components.params import RetrainParams, load_section
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.retrain.report import RetrainReport, written
from pipelines.operations.retrain.state import LockedError, only_one
from pipelines.operations.retrain.steps import take_steps
from pipelines.shell import exit_codes, options
from pipelines.shell.environment import project_folder
from pipelines.shell.reporting import console, print_json

REPORTS = Path("reports")

AcceptData = Annotated[bool, Option("--accept-data", help="Train although the data differs.")]
Push = Annotated[bool | None, Option("--push/--no-push", help="dvc push (default: retrain.push).")]
GitPush = Annotated[
    bool | None, Option("--git-push/--no-git-push", help="git push (default: retrain.git_push).")
]


def retrain(
    *,
    accept_data: AcceptData = False,
    push: Push = None,
    git_push: GitPush = None,
    embeddings_root: options.EmbeddingsRoot = str(options.EMBEDDINGS_ROOT),
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Fetch data, train on what is new, promote what is better, and record it in git and DVC.

    Exit status: 0 promoted, 10 rejected, 11 nothing new, 12 another one is running, 1 failed. If
    it is killed, the next one resumes it and ends in the same state.
    """
    report = RetrainReport()
    inputs = Inputs(embeddings_root=embeddings_root, params=params)
    folder = project_folder() / ".hemline" / "retrain"
    with ExitStack() as stack:
        stack.enter_context(_terminated())
        with report.at("lock"):
            try:
                stack.enter_context(only_one(folder))
            except LockedError as error:
                echo(f"hemline: {error}", err=True)
                raise Exit(exit_codes.LOCKED) from error
        stack.enter_context(written(report, REPORTS))
        given: dict[str, Any] = {"push": push, "git_push": git_push}
        overrides = {name: value for name, value in given.items() if value is not None}
        take_steps(
            report,
            state_file=folder / "begun.json",
            section=replace(load_section(params, RetrainParams), **overrides),
            accept_data=accept_data,
            inputs=inputs,
        )
    if output_format == "json":
        print_json(report.as_dict())
    else:
        console.print(f"{report.outcome}; details in {REPORTS}/retrain.md and .json", style="bold")
    raise Exit(report.exit_code)


@contextmanager
def _terminated() -> Iterator[None]:
    """Turns SIGTERM into an exception, so that children are stopped and the report is written."""

    def stop(number: int, _frame: Any) -> None:
        raise SystemExit(f"hemline: stopped by {signal.Signals(number).name}")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
