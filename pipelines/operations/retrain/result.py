"""The results of a retrain: into git as a commit and a tag, and to the remotes."""

from pathlib import Path

from components.errors import HemlineError
from components.evaluation.verdict import Verdict
from components.params import RegistryParams
from components.provenance import dvc_files, git
from pipelines.operations.retrain.learning import own_changes
from pipelines.operations.retrain.report import Outcome, RetrainReport
from pipelines.operations.retrain.state import Decision, RetrainState
from pipelines.shell import dvc
from pipelines.shell.options import REGISTRATION
from pipelines.shell.reporting import as_notes, notes


def commit(report: RetrainReport, state: RetrainState, *, params: Path) -> str:
    """Commits `dvc.lock` and what else DVC leaves to git; returns the commit that holds it.

    Params go along where the retrain has changed them.

    Raises:
        HemlineError: the branch is not the one on which the retrain began, or somebody has changed
            the params too.
    """
    here = git.branch()
    if here != state.branch:
        raise HemlineError(
            f"the retrain began on {state.branch or 'no branch'} and finds {here or 'no branch'} "
            f"checked out; git switch {state.branch or state.base}, and start it again"
        )
    if changed := git.unrecorded([*dvc.recorded_paths(), *own_changes(params)]):
        message = _message(report.version, report.verdict, report.decision)
        git.commit_only(changed, message)
    return git.head()


def tag(verdict: Verdict, *, model: str, decision: Decision | None = None) -> str:
    """Tags the commit with version and outcome, once; returns the tag.

    It names the model, unless that has the default name: a repository may hold several projects.

    Raises:
        HemlineError: the tag is taken, by a commit that registered another version.
    """
    named = "" if model == RegistryParams().model else f"{model}-"
    name = f"retrain-{named}{verdict.challenger}-{outcome(verdict)}"
    if not git.read("tag", "--list", name):
        git.tag(name, _message(verdict.challenger, verdict, decision))
    elif _registered(f"refs/tags/{name}") != _registered("HEAD"):
        raise HemlineError(
            f"git has a tag {name} already, of another version {verdict.challenger}: was it made "
            f"with another registry? Rename it (git tag old-{name} {name}; git tag -d {name}), and "
            "start again"
        )
    return name


def outcome(verdict: Verdict | None) -> Outcome:
    """Returns the outcome of a verdict; without one, there was nothing to judge."""
    if verdict is None:
        return "nothing new"
    return "promoted" if verdict.passed else "rejected"


def push_data(report: RetrainReport, *, wanted: bool) -> None:
    """Pushes what `dvc.lock` names to DVC's remote, where there is one."""
    if not wanted:
        notes.print("not asked for")
    elif not dvc.has_remote():
        notes.print("DVC has no remote: data and models stay in its cache here")
    else:
        dvc.run("push")
        report.pushed.append("dvc")


def push_commit(name: str | None, report: RetrainReport, *, wanted: bool) -> None:
    """Pushes the branch, and a tag where one is named, to git's remote, if there is one.

    Raises:
        HemlineError: the remote refuses, for instance because somebody else pushed to the branch.
    """
    if not wanted:
        notes.print("not asked for")
        return
    remote = git.remote()
    if remote is None:
        notes.print("git has no remote for this branch: commit and tag stay here")
        return
    refs = [] if name is None else [f"refs/tags/{name}"]
    if here := git.branch():
        refs.insert(0, f"HEAD:{git.upstream(here)}")
    else:
        notes.print("no branch is checked out: its commit is not pushed, only a tag")
    if not refs:
        return
    try:
        with as_notes():
            git.push(remote, refs)
    except HemlineError as error:
        raise HemlineError(
            f"{error}\nNothing is lost: fix it (`git pull --rebase`, if somebody pushed to the "
            "branch meanwhile), and `hemline retrain` resumes with the push"
        ) from error
    report.pushed.append(remote)


def _registered(revision: str) -> str | None:
    """Returns the hash of the registration in a revision's `dvc.lock`; None where it has none."""
    stages = dvc_files.read_committed_lock(revision)
    return dvc_files.output_hashes(stages).get(str(REGISTRATION))


def _message(version: int | None, verdict: Verdict | None, decision: Decision | None) -> str:
    """Returns a commit message: what happened, and the gate's figures."""
    learned = [decision.note, ""] if decision and decision.note else []
    if verdict is None:
        reason = "nothing was grown" if decision and not decision.trains else "the code changed"
        subject = f"Retrain: {reason}" + (f", version {version} stands" if version else "")
        return "\n".join([subject, "", *learned]).strip()
    champion = verdict.champion
    against = f"against version {champion}" if champion else "without another to compare"
    rules = [
        f"{'kept' if rule.passed else 'not kept'}: {rule.title} {rule.measured:.4g}, "
        f"asked {rule.bound} {rule.limit:.4g}"
        for rule in verdict.rules
    ]
    subject = f"Retrain: version {verdict.challenger} {outcome(verdict)}"
    return "\n".join([subject, "", *learned, f"{against}:", *rules, *verdict.remarks])
