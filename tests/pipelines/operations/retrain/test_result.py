"""A retrain's commit, tag and push, in real repositories: what is refused loses nothing."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import HemlineError
from components.evaluation.verdict import Rule, Verdict
from components.provenance.dvc_files import LOCK, format_lock
from components.provenance.git import branch, commit_only, head
from pipelines.operations.retrain import result
from pipelines.operations.retrain.report import RetrainReport
from pipelines.operations.retrain.state import RetrainState

VERDICT = Verdict(
    challenger=3,
    champion=2,
    splits="0" * 64,
    limits={},
    rules=(Rule(name="change of MAP", measured=-1.23456, bound="at least", limit=0.0),),
    attributes=(),
)
NAME = "retrain-3-rejected"


def git(*arguments: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *author, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_tag_says_what_the_gate_said_and_is_set_once(repository: Path) -> None:
    write_lock(registration="a" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "Retrain: version 3 rejected")
    assert result.tag(VERDICT, model="hemline") == result.tag(VERDICT, model="hemline") == NAME
    assert git("tag", "--list", "--format=%(contents)", NAME) == (
        "Retrain: version 3 rejected\n\nagainst version 2:\n"
        "not kept: change of MAP -1.235, asked at least 0"
    )


def test_a_message_says_which_attribute_a_rule_is_about_and_what_is_unchanged(
    repository: Path,
) -> None:
    rule = Rule("MAP above a random ranking's", 12.5, "above", 0.0, "fit")
    verdict = replace(VERDICT, rules=(rule,), unchanged=("hem",))
    write_lock(registration="a" * 32, code="1" * 32)
    assert git("tag", "--list", "--format=%(contents)", result.tag(verdict, model="hemline")) == (
        "Retrain: version 3 promoted\n\nagainst version 2:\n"
        "kept: MAP above a random ranking's (fit) 12.5, asked above 0\n"
        "grown from version 2: its embeddings of hem are the same, bit for bit; what is new decides"
    )


def test_a_model_of_another_name_has_tags_of_its_own(repository: Path) -> None:
    """So that two projects of one repository can both have a third version."""
    write_lock(registration="a" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "one")
    assert result.tag(VERDICT, model="hemline") == NAME
    write_lock(registration="b" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "of the other project")
    assert result.tag(VERDICT, model="shop") == "retrain-shop-3-rejected"
    assert git("rev-parse", "retrain-shop-3-rejected^{commit}") == git("rev-parse", "HEAD")


def write_lock(*, registration: str, code: str) -> None:
    """Writes a `dvc.lock` with the hash of a registration, and of a file of code."""
    entry = {
        "deps": [{"path": "components/evaluation/examples.py", "md5": code}],
        "outs": [{"path": "models/registration.json", "md5": registration}],
    }
    LOCK.write_text(format_lock({"register": entry}))


def test_a_tag_stands_for_what_was_registered_whatever_code_changed(repository: Path) -> None:
    write_lock(registration="a" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "Retrain: version 3 rejected")
    assert result.tag(VERDICT, model="hemline") == NAME
    write_lock(registration="a" * 32, code="2" * 32)
    commit_only(["dvc.lock"], "code")
    assert result.tag(VERDICT, model="hemline") == NAME
    assert git("rev-parse", f"{NAME}^{{commit}}") == git("rev-parse", "HEAD~1")


def test_a_tag_of_another_registration_is_not_moved(repository: Path) -> None:
    write_lock(registration="a" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "one")
    git("tag", NAME)
    write_lock(registration="b" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "another")
    with pytest.raises(HemlineError, match=f"git tag old-{NAME} {NAME}"):
        result.tag(VERDICT, model="hemline")
    assert git("rev-parse", NAME) == git("rev-parse", "HEAD~1")


def test_another_branch_is_not_committed_to(repository: Path) -> None:
    state = RetrainState(base=head(), branch=branch(), champion=2)
    git("switch", "-q", "-c", "elsewhere")
    with pytest.raises(HemlineError, match="git switch main"):
        result.commit(RetrainReport(version=3, verdict=VERDICT), state, params=Path("params.yaml"))


def test_a_branch_that_moved_refuses_the_push_and_nothing_is_lost(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    remote, colleague = (tmp_path_factory.mktemp(name) for name in ("remote", "colleague"))
    git("init", "-q", "--bare", "-b", "main", str(remote))
    git("remote", "add", "origin", str(remote))
    git("push", "-q", "origin", "main")
    git("clone", "-q", str(remote), str(colleague))
    git("-C", str(colleague), "commit", "-q", "--allow-empty", "-m", "meanwhile")
    git("-C", str(colleague), "push", "-q")

    write_lock(registration="a" * 32, code="1" * 32)
    commit_only(["dvc.lock"], "Retrain: version 3 rejected")
    report = RetrainReport(tag=result.tag(VERDICT, model="hemline"))
    with pytest.raises(HemlineError, match="git pull --rebase"):
        result.push_commit(NAME, report, wanted=True)
    assert report.pushed == []
    assert git("ls-remote", "--tags", "origin") == "", "branch and tag, both or none"

    git("pull", "-q", "--rebase", "origin", "main")
    assert result.tag(VERDICT, model="hemline") == NAME
    result.push_commit(NAME, report, wanted=True)
    assert report.pushed == ["origin"]
    assert git("rev-parse", "HEAD") == git("ls-remote", "origin", "refs/heads/main").split()[0]
    assert git("ls-remote", "--tags", "--refs", "origin").endswith(f"refs/tags/{NAME}")


def test_without_a_remote_or_the_wish_nothing_is_pushed(repository: Path) -> None:
    report = RetrainReport()
    result.push_commit(NAME, report, wanted=True)
    git("remote", "add", "origin", "/nowhere")
    result.push_commit(NAME, report, wanted=False)
    assert report.pushed == []
