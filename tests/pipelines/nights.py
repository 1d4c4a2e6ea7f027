"""Retrains of a project in this process, which run to their end or are killed on the way."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
import typer
from project import Project

from components.errors import HemlineError
from pipelines.operations.retrain import command
from pipelines.operations.retrain.report import RetrainReport
from pipelines.shell import dvc


@contextmanager
def working_in(project: Project, **environment: str) -> Iterator[pytest.MonkeyPatch]:
    """Lets this process run commands as in the project's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        for name, value in {**project.environment, **environment}.items():
            patch.setenv(name, value)
        patch.setattr(dvc, "PYTHON", str(project.programs / "python"))
        yield patch


def retrain(project: Project, *, status: int, **environment: str) -> str:
    """Returns what a retrain printed, and its error, which ended with that exit status."""
    printed = io.StringIO()
    with working_in(project, **environment), redirect_stdout(printed), redirect_stderr(printed):
        try:
            command.retrain()
        except typer.Exit as end:
            found, error = end.exit_code, ""
        except HemlineError as failure:
            found, error = 1, str(failure)
    assert found == status, printed.getvalue() + error
    return printed.getvalue() + error


class Killed(BaseException):
    """Stands for a SIGKILL: nothing that handles errors handles it."""


def killed_at(project: Project, step: str) -> str:
    """Returns what a retrain printed, which was killed as a step began."""

    class Report(RetrainReport):
        @contextmanager
        def at(self, name: str) -> Iterator[None]:
            with super().at(name):
                if name == step:
                    raise Killed
                yield

    printed = io.StringIO()
    with working_in(project) as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr(command, "RetrainReport", Report)
        with pytest.raises(Killed):
            command.retrain()
    return printed.getvalue()


def killed(project: Project, owner: object, name: str) -> None:
    """Begins a retrain, which is killed when it calls a function for the first time."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    printed = io.StringIO()
    with working_in(project) as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr(owner, name, kill)
        with pytest.raises(Killed):
            command.retrain()
