"""The result side of a retrain: into git as a commit and a tag, and to the remotes."""

from components.errors import HemlineError
from components.evaluation.gate import Verdict
from components.provenance import git
from pipelines.operations.retrain.record import Record
from pipelines.operations.retrain.state import Begun
from pipelines.shell import dvc
from pipelines.shell.reporting import console


def commit(verdict: Verdict, begun: Begun) -> str:
    """Commits `dvc.lock` and what else DVC leaves to git; returns the commit that holds it.

    Raises:
        HemlineError: another branch is checked out than when the retrain began.
    """
    here = git.branch()
    if here != begun.branch:
        raise HemlineError(
            f"the retrain began on {begun.branch or 'no branch'} and finds {here or 'no branch'} "
            f"checked out; git switch {begun.branch or begun.base}, and start it again"
        )
    if changed := git.unrecorded(dvc.recorded_paths()):
        git.commit_only(changed, _message(verdict))
    return git.head()


def tag(verdict: Verdict) -> str:
    """Tags the commit with version and outcome, once; returns the tag.

    Raises:
        HemlineError: the tag is taken, by a commit with another `dvc.lock`.
    """
    name = f"retrain-{verdict.challenger}-{outcome(verdict)}"
    if not git.read("tag", "--list", name):
        git.tag(name, _message(verdict))
    elif git.read("diff", "--name-only", name, "HEAD", "--", "dvc.lock"):
        raise HemlineError(
            f"git has a tag {name} already, of another run: was it made with another registry? "
            f"Rename it (git tag old-{name} {name}; git tag -d {name}), and start again"
        )
    return name


def outcome(verdict: Verdict) -> str:
    """Returns what came of a verdict, in one word."""
    return "promoted" if verdict.passed else "rejected"


def push_data(record: Record, *, wanted: bool) -> None:
    """Pushes what `dvc.lock` names to DVC's remote, where there is one."""
    if not wanted:
        console.print("not asked for")
    elif not dvc.has_remote():
        console.print("DVC has no remote: data and models stay in its cache here")
    else:
        dvc.run("push")
        record.pushed.append("dvc")


def push_commit(name: str, record: Record, *, wanted: bool) -> None:
    """Pushes the branch, and the tag of a name, to git's remote, where there is one.

    Raises:
        HemlineError: the remote refuses, as where somebody else pushed to the branch meanwhile.
    """
    remote = git.remote()
    if not wanted:
        console.print("not asked for")
        return
    if remote is None:
        console.print("git has no remote for this branch: commit and tag stay here")
        return
    here = git.branch()
    if here is None:
        console.print("no branch is checked out: only the tag is pushed")
    refs = [f"refs/tags/{name}", *([f"HEAD:{git.upstream(here)}"] if here else [])]
    try:
        git.push(remote, refs)
    except HemlineError as error:
        raise HemlineError(
            f"{error}\nNothing is lost: mend it (`git pull --rebase`, where somebody pushed to the "
            "branch meanwhile), and `hemline retrain` goes on with the push"
        ) from error
    record.pushed.append(remote)


def _message(verdict: Verdict) -> str:
    """Returns a commit message: what happened, and the gate's figures."""
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
