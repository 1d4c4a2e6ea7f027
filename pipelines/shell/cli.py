"""The `hemline` command: a thin door to stages and operations.

A command's module is imported when the command is called, so that `hemline --help` does not wait
for torch, Ray and MLflow.
"""

import atexit
import errno
import functools
import gc
import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from components.credentials import without_credentials
from components.errors import HemlineError, command_line
from pipelines.shell import completion, reporting

COMMANDS = {
    "wardrobe": "Draw the demo data set, labelled as FashionAI or with every label.",
    "ingest": "Stage: read a data set's labels and images into the catalog.",
    "describe": "Print what a catalog or a data set on disk holds, and what was left out.",
    "preprocess": "Stage: decode and resize all images into the store (Ray Data).",
    "split": "Stage: assign images to train, valid and test, and to query and gallery.",
    "triplets": "Stage: draw what training sees, for all epochs in advance.",
    "train": "Stage: train the network (Ray Train).",
    "prototypes": "Stage: make a vector for every value of an attribute.",
    "quantise": "Stage: make the network's graph in 8-bit integers, if params ask for it.",
    "evaluate": "Stage: measure retrieval on the test split.",
    "register": "Stage: log the model to MLflow and register it.",
    "embed": "Stage: embed all images with the registered model (Ray Data).",
    "index": "Prepare embeddings for fast search.",
    "search": "Find the items nearest to an image or an item, by one attribute or several.",
    "neighbours": "Find every item's nearest items, as a table: what similar items are made from.",
    "tag": "Name every item's values with a confidence, and list labels that look wrong.",
    "browse": "Search in a browser: pick or drop a picture, and see where the model looked.",
    "compare": "Train networks and ablations under one budget, and tabulate the results.",
    "preset": "Print or apply a named recipe: hemline's or the paper's.",
    "retrain": "Train on new data and promote the model if it is better; for schedulers.",
    "grow": "Add an attribute to a version; embeddings of all others stay as they are.",
    "promote": "Make a version champion, with its embeddings, if it passes the gate.",
    "publish": "Copy a version, with its run, to another MLflow store.",
    "rollback": "Go back to the previous champion and its embeddings.",
    "lineage": "Print where a version or a run comes from, or what was made from a commit.",
    "reproduce": "Rerun what made a version, a run or a commit, and compare the results.",
    "check": "Look for damaged files: shards, weights, packages, embeddings, indexes.",
    "summary": "Print the results of the last run, and what to try next.",
}

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]

# these import more while they work, and end before garbage could matter
SHORT_COMMANDS = ("describe", "lineage", "rollback", "search", "summary")

_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)
"""What a system says of a place where nothing can be written: it needs no trace of the code."""

_ROOT = Path(__file__).parents[2]

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
    """Runs a command; an expected error is one message on stderr and exit status 1.

    So is what the system says of a place where nothing can be written.
    """
    atexit.register(_keep_until_the_end)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # DVC runs stages with the `python` of PATH: let it be this one, even if its environment is not
    # activated
    bin_folder = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)])
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if completion.is_asked_for():
            return _app(
                lambda name: completion.outline(_source_of(name), name, further=["--quiet"])
            )(prog_name="hemline")
        check_code(Path.cwd())
        called = next((each for each in arguments if not each.startswith("-")), None)
        return _app(lambda name: _command(name) if name == called else lambda: None)(
            arguments, prog_name="hemline"
        )
    except HemlineError as error:
        typer.echo(f"hemline: {without_credentials(str(error))}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"hemline: {where}{error.strerror}", err=True)
        sys.exit(1)


def _keep_until_the_end() -> None:
    """Lets the process end without taking modules apart, two fifths of a `summary`'s CPU time.

    Where PyTorch is in use they are taken apart: nanobind, in its Triton, prints what is left.
    """
    if "torch" not in sys.modules:
        gc.freeze()


def _app(command_of: Callable[[str], Callable[..., None]]) -> typer.Typer:
    """Returns the app with the function of every command."""
    app = typer.Typer(
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        help="Fine-grained fashion retrieval: from labelled images to searchable embeddings.",
    )
    app.callback(invoke_without_command=True)(_without_command)
    for name, text in COMMANDS.items():
        app.command(name, help=text)(command_of(name))
    return app


def _command(name: str) -> Callable[..., None]:
    """Returns a command with the further option --quiet, and JSON alone on its standard output."""
    command = getattr(_module(name), name)

    @functools.wraps(command)
    def run(*, quiet: bool, **given: Any) -> None:
        with reporting.speaking(quiet=quiet, as_json=given.get("output_format") == "json"):
            command(**given)

    signature = inspect.signature(command)
    last = inspect.Parameter(
        "quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), last]
    )
    return run


def _without_command(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    quiet: Quiet = False,
) -> None:
    context.with_resource(reporting.speaking(quiet=quiet, as_json=False))
    if version:
        typer.echo(version_of("hemline"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _module(name: str) -> ModuleType:
    """Returns the module of a command."""
    gc.disable()  # modules are no garbage, and looking for some takes a sixth of importing them
    source = _source_of(name).relative_to(_ROOT).with_suffix("")
    module = import_module(".".join(source.parts))
    if name not in SHORT_COMMANDS:
        gc.enable()
    return module


def _source_of(name: str) -> Path:
    """Returns the file of a command: a stage's, an operation's, or `command` in its folder."""
    if COMMANDS[name].startswith("Stage: "):
        return _ROOT / "pipelines" / "stages" / f"{name}.py"
    folder = _ROOT / "pipelines" / "operations"
    inside = folder / name / "command.py"
    return inside if inside.exists() else folder / f"{name}.py"


def check_code(here: Path) -> None:
    """Refuses to run one checkout's code in another, which would be recorded as its own.

    The `hemline` script imports the code that was installed; a second clone, a worktree and the
    copy in which DVC runs a queued experiment hold code of their own. The project is the current
    folder, `here`, or the nearest folder around it with code.

    Raises:
        HemlineError: the code that runs is not the project's.
    """
    files = ("pipelines/__init__.py", "components/params.py")
    with_code = (x for x in (here, *here.parents) if all((x / file).exists() for file in files))
    folder = next(with_code, _ROOT)
    if not folder.samefile(_ROOT):
        install = command_line("pip", "install", "-e", folder)
        raise HemlineError(
            f"the code in {_ROOT} was about to run in the project {folder}, which has its own: "
            f"run `python -m pipelines ...` in {folder}, or install that code with `{install}`"
        )
