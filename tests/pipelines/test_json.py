"""Every command that reports prints a JSON document, with the fields that docs name."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from builders import PROJECT
from documents import check_document, documented
from project import Project

from pipelines.shell import cli
from pipelines.shell.completion import option_names

pytestmark = pytest.mark.slow

# section of docs/commands.md → arguments and exit status; in an order in which all can run
COMMANDS: dict[str, tuple[list[str], int]] = {
    "describe": (["describe"], 0),
    "summary": (["summary"], 0),
    "search": (["search", "--id", "3", "--attribute", "neckline_design", "--all-items"], 0),
    "embed": (["embed"], 0),
    "index": (["index", "--attribute", "neckline_design"], 0),
    "neighbours": (["neighbours", "--attribute", "neckline_design"], 0),
    "tag": (["tag", "--audit"], 0),
    "lineage": (["lineage", "models:/hemline/1"], 0),
    "lineage --mend": (["lineage", "--mend", "--dry-run"], 0),
    "promote": (["promote"], 0),
    "publish": (["publish", "models:/hemline/1", "--to", "sqlite:///another.db"], 0),
    "check": (["check"], 0),
    "compare --list": (["compare", "--list"], 0),
    "preset": (["preset"], 0),
    "preset NAME": (["preset", "paper"], 0),
    "preset --write": (["preset", "hemline", "--write"], 0),
    "retrain": (["retrain"], 11),
}
ELSEWHERE = {
    "compare": "test_compare.py",
    "grow": "test_grow_line.py",
    "reproduce": "test_reproduce.py",
    "rollback": "test_promote.py",
}


@pytest.fixture(scope="module")
def here(project: Project) -> Project:
    """The project, whose results are committed: a retrain finds nothing new."""
    project.run("python", "-m", "pipelines", "promote")
    for arguments in (["add", "-A"], ["commit", "-qm", "results"]):
        project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments)
    return project


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_output_is_one_documented_document(
    command: str,
    here: Project,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(here.folder)
    monkeypatch.setattr(cli, "check_code", lambda here: None)  # the copy's code is the same
    monkeypatch.setenv("PYTHONPATH", str(here.folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments, status = COMMANDS[command]
    before = (here.folder / "params.yaml").read_text()
    try:
        document = output_of([*arguments, "--format", "json"], capfd, status=status)
    finally:
        (here.folder / "params.yaml").write_text(before)
    check_document(command, document)


def output_of(
    arguments: list[str], capfd: pytest.CaptureFixture[str], *, status: int
) -> dict[str, Any]:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capfd.readouterr()
    assert (stopped.value.code or 0) == status, err
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(document, dict)
    return document


def test_every_command_with_the_option_is_documented_and_tested() -> None:
    reporting = {
        name for name in cli.COMMANDS if "--format" in option_names(cli._source_of(name), name)
    }
    assert reporting == {section.split()[0] for section in [*COMMANDS, *ELSEWHERE]}
    for section in [*COMMANDS, *ELSEWHERE]:
        assert documented(section)
    for section, file in ELSEWHERE.items():
        text = (PROJECT / "tests/pipelines/operations" / file).read_text()
        assert f'check_document("{section}"' in text, Path(file)
