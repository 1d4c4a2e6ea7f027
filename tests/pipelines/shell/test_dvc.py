"""What DVC says of a checkout that it does not trust: with real DVC, in programs of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_line import SmallLine

pytestmark = pytest.mark.slow

# libgit2, which DVC uses, reads the settings of a home folder once, when it is loaded
PROGRAM = """
import sys
from pathlib import Path

from components.errors import HemlineError
from pipelines.shell import dvc

for call in (
    lambda: dvc.resolve("HEAD"),
    lambda: dvc.tree("HEAD"),
    lambda: dvc.run("exp", "run", "-S", "train.seed=4"),
):
    try:
        call()
    except HemlineError as error:
        print("REFUSED", error)
    else:
        print("DONE")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_checkout_of_another_user_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    line = SmallLine(tmp_path / "line")
    subprocess.run(["chown", "-R", "10001:10001", line.folder], check=True)
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", PROGRAM]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=line.folder, env=environment, capture_output=True, text=True, check=True
    )
    lines = [x for x in done.stdout.splitlines() if x.startswith(("REFUSED", "DONE"))]
    assert len(lines) == 3, done.stdout + done.stderr
    for refused in lines:
        assert refused.startswith("REFUSED")
        assert f"`git config --global --add safe.directory {line.folder}`" in refused
