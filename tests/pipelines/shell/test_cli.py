"""The command's door: what it lists, and that it stays light."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from pipelines.shell.cli import COMMANDS, main


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


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert output_of(["--version"], capsys, status=0) == f"{version('hemline')}\n"


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command 'hem'" in output_of(["hem"], capsys, status=2)


def test_help_waits_for_no_big_library() -> None:
    program = (
        "import sys\n"
        "from pipelines.shell.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
