"""What the entry point does before it retrains: the newest commit, and never another one's pins."""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from manifests import INFRA

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository of a commit with this project's pins and an empty project."""
    author = tmp_path / "author"
    author.mkdir()
    shutil.copy(INFRA.parent / "constraints.txt", author)
    git(author, "init", "-q", "-b", "main")
    commit(author, "first")
    git(tmp_path, "clone", "-q", "--bare", str(author), "remote.git")
    git(author, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(author, "fetch", "-q", "origin")
    git(author, "branch", "-q", "--set-upstream-to=origin/main")
    return tmp_path / "remote.git"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message, "--allow-empty")


def enter(remote: Path, **more: str) -> subprocess.CompletedProcess[str]:
    own = {"HEMLINE_WORKSPACE": str(remote.parent / "workspace"), "HEMLINE_GIT_URL": str(remote)}
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(
        [INFRA / "entrypoint.sh", "--no-push"],
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | path | own | more,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_clones_pulls_and_ends_as_the_retrain_does(remote, tmp_path):
    """There is nothing to train in the empty project: the retrain's own failure comes through."""
    done = enter(remote)
    assert done.returncode == 1
    assert "hemline: " in done.stderr
    assert "pins other packages" not in done.stderr
    (tmp_path / "author/new.txt").write_text("new")
    commit(tmp_path / "author", "second")
    git(tmp_path / "author", "push", "-q", "origin", "main")
    assert enter(remote, HEMLINE_SUCCESS_CODES="0 1").returncode == 0
    assert (tmp_path / "workspace/new.txt").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a program as another user")
def test_another_users_workspace_is_read_as_the_image_has_it_and_refused_elsewhere(remote):
    """A clone that belongs to root, entered as user 10001."""
    with TemporaryDirectory(dir="/tmp") as name:  # pytest's own folders are closed to other users
        place = Path(name)
        place.chmod(0o755)
        git(place, "clone", "-q", str(remote), "workspace")
        (place / "infra").mkdir()
        for script in ("entrypoint.sh", "askpass.sh"):
            shutil.copy(INFRA / script, place / "infra")
        shutil.copy(INFRA.parent / "constraints.txt", place)
        (place / "bin").mkdir()
        (place / "bin/hemline").write_text("#!/bin/sh\nid -u; git rev-parse HEAD\n")
        (place / "bin/hemline").chmod(0o755)
        dockerfile = (INFRA / "docker/Dockerfile").read_text()
        (setting,) = re.findall(r"^RUN (git config --system .*)$", dockerfile, re.M)
        environment = {
            "PATH": f"{place / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": name,
            "HEMLINE_WORKSPACE": str(place / "workspace"),
            "GIT_CONFIG_SYSTEM": str(place / "gitconfig"),
        }

        def enter_as_other() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [place / "infra/entrypoint.sh"],
                env=environment,
                cwd=place,
                user=10001,
                group=10001,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )

        refused = enter_as_other()
        assert refused.returncode == 1
        assert f"git config --global --add safe.directory {place}/workspace" in refused.stderr
        assert "diverged" not in refused.stderr
        subprocess.run(setting, shell=True, env=environment, check=True)
        (place / "gitconfig").chmod(0o644)
        done = enter_as_other()
        assert done.stdout.split() == ["10001", git(place / "workspace", "rev-parse", "HEAD")]
        assert done.returncode == 0, done.stderr


def test_it_refuses_a_commit_with_other_pins(remote, tmp_path):
    with (tmp_path / "author/constraints.txt").open("a") as pins:
        pins.write("another==1.0\n")
    commit(tmp_path / "author", "pins")
    git(tmp_path / "author", "push", "-q", "origin", "main")
    done = enter(remote, HEMLINE_GIT_SHA="0a1b2c3", HEMLINE_SUCCESS_CODES="0 10 11")
    assert done.returncode == 1
    assert "image of 0a1b2c3" in done.stderr
    assert "roll out that commit's image" in done.stderr


def test_it_stops_where_branch_and_remote_have_diverged(remote, tmp_path):
    git(tmp_path, "clone", "-q", str(remote), "workspace")
    commit(tmp_path / "workspace", "here")
    commit(tmp_path / "author", "there")
    git(tmp_path / "author", "push", "-q", "origin", "main")
    done = enter(remote)
    assert done.returncode == 1
    assert "have diverged" in done.stderr
    assert git(tmp_path / "workspace", "log", "-1", "--format=%s") == "here"


def test_a_token_answers_git_and_is_in_no_url(tmp_path):
    asked = {"Username for 'https://git.example.org': ": "x-access-token", "Password: ": "secret"}
    for question, answer in asked.items():
        done = subprocess.run(
            [INFRA / "askpass.sh", question],
            env=os.environ | {"HEMLINE_GIT_TOKEN": "secret"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{answer}\n"


def test_the_check_of_the_image_names_a_tool_that_is_missing(tmp_path):
    for tool in ("bash", "dirname", "git", "buildah"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "/bin/true")
    done = subprocess.run(
        [INFRA / "docker/check_image.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "debootstrap is not installed: apt-get install buildah debootstrap git\n"
    )


@pytest.mark.parametrize("minutes", [-2, 2])
def test_the_night_comes_today_or_tomorrow(minutes):
    at = (datetime.now() + timedelta(minutes=minutes)).strftime("%H:%M")
    program = subprocess.Popen(
        [INFRA / "compose/nightly.sh"],
        env=os.environ | {"RETRAIN_AT": at},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout
    line = program.stdout.readline()
    os.killpg(program.pid, 9)
    program.wait()
    program.stdout.close()
    told = datetime.fromisoformat(line.removeprefix("next retrain: ").strip())
    ahead = told - datetime.now(told.tzinfo)
    assert f"{told:%H:%M}" == at
    assert timedelta(0) < ahead < timedelta(days=1, hours=1)
    assert (ahead < timedelta(minutes=5)) == (minutes > 0)
