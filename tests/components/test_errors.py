"""Commands in messages: what a shell would take apart is quoted."""

import re
import shlex
from pathlib import Path

from components.errors import command_line

ROOT = Path(__file__).parents[2]
# a command between backticks, in a source, up to a value in it
_VALUE = re.compile(r"`(?:hemline|dvc|git|pip|mlflow) [^`\n]*\{([^}]*)\}")
# numbers and hashes, constants, and what is quoted already
_PLAIN = "|".join(
    (
        r"(recorded\.)?commit\[:10\]",
        r"dvc_files\.LOCK",
        r"found\.experiment_id",
        r"number|target",
        r"(challenger|version)\.version",
    )
)


def test_a_command_is_taken_as_it_is_meant() -> None:
    words = ["dvc", "checkout", Path("it's a & b"), "$HOME", ""]
    assert shlex.split(command_line(*words)) == [str(word) for word in words]
    assert command_line("dvc", "checkout", "models/network") == "dvc checkout models/network"


def test_no_message_puts_other_values_into_a_command() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {value}"
        for folder in ("components", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for value in _VALUE.findall(path.read_text())
        if not re.fullmatch(_PLAIN, value)
    ]
    assert found == ["components/provenance/git.py: folder"]  # which git quotes
