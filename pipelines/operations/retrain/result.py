"""The result side of a retrain: into git as a commit and a tag, and to the remotes."""

import os

from components.errors import HemlineError
from components.evaluation.gate import Verdict
from pipelines.operations.retrain.record import Outcome, Record
from pipelines.operations.retrain.state import Begun
from pipelines.shell import commands, workspace
from pipelines.shell.reporting import console

_NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0"}  # a missing password fails, and does not wait for one


def commit(record: Record, begun: Begun) -> str:
    """Commits `dvc.lock` and what else DVC leaves to git; returns the commit that holds it.

    Raises:
        HemlineError: another branch is checked out than when the retrain began.
    """
    here = workspace.branch()
    if here != begun.branch:
        raise HemlineError(
            f"the retrain began on {begun.branch or 'no branch'} and finds {here or 'no branch'} "
            f"checked out; git switch {begun.branch or begun.base}, and start it again"
        )
    if changed := workspace.unrecorded_paths():
        workspace.commit_only(changed, _message(record.version, record.verdict))
    return workspace.head()


def tag(verdict: Verdict) -> str:
    """Tags the commit with version and outcome, once; returns the tag.

    Raises:
        HemlineError: the tag is taken, by a commit that registered another version.
    """
    name = f"retrain-{verdict.challenger}-{outcome(verdict)}"
    if not workspace.git("tag", "--list", name):
        workspace.tag(name, _message(verdict.challenger, verdict))
    elif workspace.registered_hash(f"refs/tags/{name}") != workspace.registered_hash("HEAD"):
        raise HemlineError(
            f"git has a tag {name} already, of another version {verdict.challenger}: was it made "
            f"with another registry? Rename it (git tag old-{name} {name}; git tag -d {name}), and "
            "start again"
        )
    return name


def outcome(verdict: Verdict | None) -> Outcome:
    """Returns what came of a verdict; without one, there was nothing to judge."""
    if verdict is None:
        return "nothing new"
    return "promoted" if verdict.passed else "rejected"


def push_data(record: Record, *, wanted: bool) -> None:
    """Pushes what `dvc.lock` names to DVC's remote, where there is one."""
    if not wanted:
        console.print("not asked for")
    elif not workspace.has_dvc_remote():
        console.print("DVC has no remote: data and models stay in its cache here")
    else:
        workspace.dvc("push")
        record.pushed.append("dvc")


def push_commit(name: str | None, record: Record, *, wanted: bool) -> None:
    """Pushes the branch, and the tag of a name where one is given, to git's remote, if any.

    Raises:
        HemlineError: the remote refuses, as where somebody else pushed to the branch meanwhile.
    """
    remote = workspace.git_remote()
    if not wanted:
        console.print("not asked for")
        return
    if remote is None:
        console.print("git has no remote for this branch: commit and tag stay here")
        return
    here = workspace.branch()
    if here is None:
        console.print("no branch is checked out: its commit is not pushed, only a tag")
    refs = [f"HEAD:{workspace.upstream(here)}"] if here else []
    if name is not None:
        refs.append(f"refs/tags/{name}")
    if not refs:
        return
    try:
        commands.run(
            ["git", "push", "--atomic", remote, *refs],
            environment={**os.environ, **_NO_QUESTIONS},
        )
    except HemlineError as error:
        raise HemlineError(
            f"{error}\nNothing is lost: mend it (`git pull --rebase`, where somebody pushed to the "
            "branch meanwhile), and `hemline retrain` goes on with the push"
        ) from error
    record.pushed.append(remote)


def _message(version: int | None, verdict: Verdict | None) -> str:
    """Returns a commit message: what happened, and the gate's figures."""
    if verdict is None:
        return f"Retrain: the code changed, version {version} stands"
    against = (
        f"against version {verdict.champion}" if verdict.champion else "without another to compare"
    )
    rules = [
        f"{'kept' if rule.passed else 'not kept'}: {rule.name} {rule.measured:.4g}, "
        f"asked {rule.bound} {rule.limit:.4g}"
        for rule in verdict.rules
    ]
    subject = f"Retrain: version {verdict.challenger} {outcome(verdict)}"
    return "\n".join([subject, "", f"{against}:", *rules])
