"""The steps of a retrain, one after the other; each does nothing where it is done."""

from dataclasses import replace
from pathlib import Path

from components.params import RetrainParams
from components.provenance import git
from components.registry import promotion, versions
from components.tracking.runs import Tracking
from pipelines.operations.promote.command import promote_version
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.retrain import learning, new_data, result
from pipelines.operations.retrain.new_data import DataRefusedError
from pipelines.operations.retrain.report import RetrainReport
from pipelines.operations.retrain.state import RetrainState, read_state, save_state
from pipelines.shell import dvc, options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import notes


def take_steps(
    report: RetrainReport,
    *,
    state_file: Path,
    section: RetrainParams,
    accept_data: bool,
    inputs: Inputs,
) -> None:
    """Takes the steps after the lock and reports on them; `inputs` are the promotion's.

    The state file exists while a retrain has not ended, for the next one to resume.

    Raises:
        HemlineError: a step failed; the next retrain resumes there.
    """
    report.champion_after = versions.champion(tracking(inputs.params))
    with report.at("fetch data"):
        state = _resume_or_begin(state_file, report, inputs.params)
        report.champion_before = state.champion
        new_data.fetch()
    with report.at("look for news"):
        if not state.has_news:
            state = save_state(
                replace(
                    state, judged=_judged_version(tracking(inputs.params)), has_news=_has_news()
                ),
                state_file,
            )
        report.version = state.judged
        if state.judged and not state.has_news:
            report.outcome = "nothing new"
            state_file.unlink()
            return
        state = save_state(replace(state, has_news=True), state_file)
    with report.at("check data"):
        dvc.run("repro", "split")
        try:
            new_data.check_data(state.base, section=section, accept=accept_data, report=report)
        except DataRefusedError:
            save_state(replace(state, was_refused=True), state_file)
            raise
    with report.at("train"):
        decision = learning.decide(
            section.strategy, params=inputs.params, where=tracking(inputs.params)
        )
        if decision is not None:
            state = save_state(replace(state, decision=decision), state_file)
            notes.print(decision.note or "", markup=False)
        report.decision = state.decision
        if decision is None or decision.trains:
            dvc.run("repro")
        report.version = _registered_version()
    if report.version not in (None, state.judged):  # else what the stages make is what it was
        with report.at("gate and promote"):
            report.verdict = promote_version(report.version, inputs=inputs)
            report.champion_after = versions.champion(tracking(inputs.params))
    with report.at("commit"):
        report.commit = result.commit(report, state, params=inputs.params)
    if report.verdict:
        with report.at("tag"):
            report.tag = result.tag(
                report.verdict,
                model=tracking(inputs.params).model_name,
                decision=state.decision,
            )
    with report.at("dvc push"):
        result.push_data(report, wanted=section.push)
    with report.at("git push"):
        result.push_commit(report.tag, report, wanted=section.git_push)
    report.outcome = result.outcome(report.verdict)
    state_file.unlink()


def _resume_or_begin(state_file: Path, report: RetrainReport, params: Path) -> RetrainState:
    """Returns the state of the retrain that did not end, or of a new one; it is on disk."""
    report.resumed = state_file.exists()
    new_data.check_tree(resumed=report.resumed, params=params)
    if not report.resumed:
        state = RetrainState(base=git.head(), branch=git.branch(), champion=report.champion_after)
        return save_state(state, state_file)
    state = read_state(state_file)
    notes.print(f"resuming the retrain that began at {state.base[:10]}")
    if state.was_refused:
        new_data.restore(state.base)
    return save_state(replace(state, was_refused=False), state_file)


def _has_news() -> bool:
    """Returns whether stages are not as `dvc.lock` says, or git does not have that `dvc.lock`."""
    return not dvc.is_unchanged() or bool(git.unrecorded(dvc.recorded_paths()))


def _registered_version() -> int | None:
    """Returns the number of the version that the workspace stands for; None where it has none."""
    if not options.REGISTRATION.exists():
        return None
    return versions.read_registration(options.REGISTRATION).version


def _judged_version(where: Tracking) -> int | None:
    """Returns the version that the workspace stands for, if the gate has judged it."""
    if not options.REGISTRATION.exists():
        return None
    version = versions.read_registration(options.REGISTRATION)
    if version.name != where.model_name:  # the model was renamed: it has no version of this yet
        return None
    verdict = versions.read_tag(version, promotion.VERDICT_TAG, tracking=where)
    return None if verdict is None else version.version
