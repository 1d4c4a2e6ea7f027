"""The `hemline` command: a thin door to stages and operations.

A command's module is imported when the command is called, so that `hemline --help` does not wait
for torch, Ray and MLflow.
"""

import gc
import os
import sys
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from components.credentials import without_credentials
from components.errors import HemlineError, command_line

COMMANDS = {
    "wardrobe": "Draw the demo data set in FashionAI's on-disk layout.",
    "ingest": "Stage: read a data set's labels and images into the catalog.",
    "describe": "Print what a catalog or a data set on disk holds, and what was left out.",
    "preprocess": "Stage: decode and resize all images into the store (Ray Data).",
    "split": "Stage: assign images to train, valid and test, and to query and gallery.",
    "triplets": "Stage: draw what training sees, for all epochs in advance.",
    "train": "Stage: train the network (Ray Train).",
    "evaluate": "Stage: measure retrieval on the test split.",
    "register": "Stage: log the model to MLflow and register it.",
    "embed": "Stage: embed all images with the registered model (Ray Data).",
    "index": "Prepare embeddings for fast search.",
    "search": "Find the items nearest to an image or an item, by one attribute or several.",
    "browse": "Search in a browser: pick or drop a picture, and see where the model looked.",
    "compare": "Train networks and ablations under one budget, and tabulate the results.",
    "preset": "Print or apply a named recipe: hemline's or the paper's.",
    "retrain": "Train on new data and promote the model if it is better; for schedulers.",
    "promote": "Make a version champion, with its embeddings, if it passes the gate.",
    "rollback": "Go back to the previous champion and its embeddings.",
    "lineage": "Print where a version or a run comes from, or what was made from a commit.",
    "reproduce": "Rerun what made a version, a run or a commit, and compare the results.",
    "check": "Look for damaged files: shards, weights, packages, embeddings, indexes.",
    "summary": "Print the results of the last run, and what to try next.",
}

# these import more while they work, and end before garbage could matter
SHORT_COMMANDS = ("describe", "lineage", "rollback", "search", "summary")

# read by MLflow, Ray and S3's clients when they are imported, which is why they are set here
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing leaves the machine unasked
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # workers start in half the time
    # of S3's clients, which have retries of their own around it: by their default of five attempts,
    # a store that hangs is waited for up to seven minutes
    "AWS_MAX_ATTEMPTS": "2",
}


def main(arguments: list[str] | None = None) -> Any:
    """Runs a command; an expected error is one message on stderr and exit status 1."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # DVC runs stages with the `python` of PATH: let it be this one, even if its environment is not
    # activated
    bin_folder = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)])
    try:
        check_code(Path.cwd())
        return _app(sys.argv[1:] if arguments is None else arguments)(
            arguments, prog_name="hemline"
        )
    except HemlineError as error:
        typer.echo(f"hemline: {without_credentials(str(error))}", err=True)
        sys.exit(1)


def _app(arguments: list[str]) -> typer.Typer:
    """Returns the app with all commands; only the one that is called is imported."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Fine-grained fashion retrieval: from labelled images to searchable embeddings.",
    )
    app.callback(invoke_without_command=True)(_without_command)
    for name, text in COMMANDS.items():
        is_called = arguments[:1] == [name]
        app.command(name, help=text)(getattr(_module(name), name) if is_called else lambda: None)
    return app


def _without_command(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(version_of("hemline"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _module(name: str) -> ModuleType:
    """Returns the module of a command: a stage's, an operation's, or `command` in its folder."""
    gc.disable()  # modules are no garbage, and looking for some takes a sixth of importing them
    if COMMANDS[name].startswith("Stage: "):
        module = import_module(f"pipelines.stages.{name}")
    else:
        module = import_module(f"pipelines.operations.{name}")
        if hasattr(module, "__path__"):
            module = import_module(f"{module.__name__}.command")
    if name not in SHORT_COMMANDS:
        gc.enable()
    return module


def check_code(here: Path) -> None:
    """Refuses to run one checkout's code in another, which would be recorded as its own.

    The `hemline` script imports the code that was installed; a second clone, a worktree and the
    copy in which DVC runs a queued experiment hold code of their own. The project is the current
    folder, `here`, or the nearest folder around it with code.

    Raises:
        HemlineError: the code that runs is not the project's.
    """
    running = Path(__file__).parents[2]
    files = ("pipelines/__init__.py", "components/params.py")
    with_code = (x for x in (here, *here.parents) if all((x / file).exists() for file in files))
    folder = next(with_code, running)
    if not folder.samefile(running):
        install = command_line("pip", "install", "-e", folder)
        raise HemlineError(
            f"the code in {running} was about to run in the project {folder}, which has its own: "
            f"run `python -m pipelines ...` in {folder}, or install that code with `{install}`"
        )
