"""The command's door: what it lists, and that it stays light."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from builders import PROJECT

from components.errors import HemlineError
from pipelines.shell import cli, reporting
from pipelines.shell.cli import COMMANDS, _module, _source_of, check_code, main
from pipelines.shell.completion import option_names
from pipelines.shell.options import Format


def output_of(arguments: list[str], capsys: pytest.CaptureFixture[str], *, status: int) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output_of(["--help"], capsys, status=0)
    assert all(f" {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--help" in output_of([command, "--help"], capsys, status=0)


def test_h_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["search"]):
        with_h = output_of([*arguments, "-h"], capsys, status=0)
        assert with_h == output_of([*arguments, "--help"], capsys, status=0)
    assert "--quiet" in with_h


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert output_of(["--version"], capsys, status=0) == f"{version('hemline')}\n"


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command 'hem'" in output_of(["hem"], capsys, status=2)


def test_a_mistyped_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'search'?" in output_of(["serch"], capsys, status=2)


@pytest.mark.parametrize("arguments", [["--quiet", "index"], ["index", "-q"]])
def test_quiet_leaves_results_warnings_and_errors(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def index(*, output_format: Format = "table") -> None:
        reporting.notes.print("a note")
        with reporting.progress("working", total=3) as advance:
            advance(3)
        with reporting.as_notes():
            sys.stdout.write("of another program\n")
        reporting.warn("a warning")
        reporting.console.print("a result")
        raise HemlineError("an error")

    monkeypatch.setattr(cli, "_module", lambda name: SimpleNamespace(index=index))
    with pytest.raises(SystemExit):
        main(arguments)
    quiet = capsys.readouterr()
    assert quiet.out == "a result\n"
    assert quiet.err == "warning: a warning\nhemline: an error\n"
    with pytest.raises(SystemExit):
        main(["index"])
    told = capsys.readouterr()
    assert told.out == "a result\n"
    assert [line.split(":")[0] for line in told.err.splitlines()] == [
        "a note",
        "working",
        "of another program",
        "warning",
        "hemline",
    ]


def test_json_is_all_of_the_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def index(*, output_format: Format = "table") -> None:
        sys.stdout.write("a library\n")
        reporting.console.print("for people")
        reporting.print_json({"map": float("nan"), "name": "Ärmel"})

    monkeypatch.setattr(cli, "_module", lambda name: SimpleNamespace(index=index))
    with pytest.raises(SystemExit):
        main(["index", "--format", "json"])
    told = capsys.readouterr()
    assert json.loads(told.out) == {"map": None, "name": "Ärmel"}
    assert "Ärmel" in told.out
    assert told.err == "a library\n"


def completions(arguments: str, monkeypatch: pytest.MonkeyPatch, capsys) -> list[str]:
    """Returns what a tab at the end of a command line gives in bash."""
    monkeypatch.setenv("_HEMLINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"hemline {arguments}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"hemline {arguments}x".split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    return capsys.readouterr().out.split()


def test_a_tab_completes_commands_and_options(monkeypatch, capsys, tmp_path: Path) -> None:
    assert completions("re", monkeypatch, capsys) == ["register", "retrain", "reproduce"]
    assert completions("search --all", monkeypatch, capsys) == ["--all-items"]
    assert completions("train --para", monkeypatch, capsys) == ["--params"]
    assert completions("embed --q", monkeypatch, capsys) == ["--quiet"]


@pytest.mark.parametrize("command", COMMANDS)
def test_completed_options_are_those_of_the_command(command: str) -> None:
    """Read from its source, and by typer from the imported function."""
    module = _module(command)
    app = typer.Typer()
    app.command()(getattr(module, command))
    options = [x for x in typer.main.get_command(app).params if x.param_type_name == "option"]
    real = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    ours = {*option_names(_source_of(command), command)}
    assert ours == real - {"--install-completion", "--show-completion"}


# what a command's module may not import; --help imports no command's module
HEAVY = {"torch", "torchvision", "ray"}
LIGHT_COMMANDS = {
    "summary": HEAVY | {"dvc", "scipy.stats"},
    "lineage": HEAVY | {"dvc"},
    "rollback": HEAVY | {"dvc"},
    "promote": HEAVY | {"dvc"},
    "describe": HEAVY | {"dvc", "mlflow"},
    "search": HEAVY | {"dvc", "mlflow"},
}


@pytest.mark.parametrize(("command", "heavy"), LIGHT_COMMANDS.items(), ids=LIGHT_COMMANDS.keys())
def test_commands_that_run_no_network_import_none(command: str, heavy: set[str]) -> None:
    assert (
        loaded_after(f"from pipelines.shell.cli import _module\n_module({command!r})") & heavy
        == set()
    )


def test_a_tab_waits_for_no_big_library() -> None:
    program = (
        "import os\n"
        "os.environ |= {'_HEMLINE_COMPLETE': 'complete_bash', 'COMP_CWORD': '2',"
        " 'COMP_WORDS': 'hemline train --'}\n"
        "from pipelines.shell.cli import main\ntry: main([])\nexcept SystemExit: pass\n"
    )
    assert loaded_after(program) & (HEAVY | {"mlflow", "pandas", "dvc", "pyarrow"}) == set()


def test_help_waits_for_no_big_library() -> None:
    program = (
        "from pipelines.shell.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    assert loaded_after(program) & (HEAVY | {"mlflow", "pandas", "dvc"}) == set()


@pytest.mark.parametrize(("library", "said"), [("json", ""), ("torch", "taken apart")])
def test_a_process_ends_without_taking_modules_apart(library: str, said: str) -> None:
    """With PyTorch it does: what is left would be reported on stderr as leaks."""
    program = (
        f"import os, sys, {library}\n"
        "from pipelines.shell.cli import main\n"
        "class Module:\n"
        "    def __del__(self, write=os.write): write(2, b'taken apart')\n"
        "module = Module()\n"
        "module.itself = module\n"
        "main(['--version'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == said


def loaded_after(program: str) -> set[str]:
    """Returns the modules that a program has imported at its end, in a process of its own."""
    code = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def other_checkout(tmp_path: Path) -> Path:
    for name in ("pipelines/__init__.py", "components/params.py", "notes/today.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("inside", [".", "notes", "pipelines"])
def test_code_of_another_checkout_is_refused(other_checkout: Path, inside: str) -> None:
    refused = (
        f"the code in {PROJECT} was about to run in the project {other_checkout}, which has its "
        f"own: run `python -m pipelines ...` in {other_checkout}, or install that code with "
        f"`pip install -e {other_checkout}`"
    )
    with pytest.raises(HemlineError, match=re.escape(refused)):
        check_code(other_checkout / inside)


def test_the_command_ends_with_1_and_the_remedy(
    other_checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(other_checkout)
    assert "hemline: the code in" in output_of(["summary"], capsys, status=1)


def test_a_projects_own_code_and_folders_without_code_are_fine(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(PROJECT)
    (tmp_path / "pipelines").mkdir()  # somebody's folder of that name
    for folder in (PROJECT, PROJECT / "docs", link, link / "docs", tmp_path):
        check_code(folder)


def test_stages_find_this_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    output_of(["--help"], capsys, status=0)
    assert os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
