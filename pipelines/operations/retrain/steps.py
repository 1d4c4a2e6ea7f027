"""The steps of a retrain, one after the other; each does nothing where it is done."""

from dataclasses import replace
from pathlib import Path

from components.params import RetrainParams
from components.registry import promotion, versions
from pipelines.operations.promote.command import promote_version
from pipelines.operations.retrain import new_data, result
from pipelines.operations.retrain.new_data import DataRefusedError
from pipelines.operations.retrain.record import Record
from pipelines.operations.retrain.state import Begun, begin, read_begun, write_begun
from pipelines.shell import options, workspace
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console


def take_steps(
    record: Record, *, mark: Path, section: RetrainParams, accept_data: bool, params: Path
) -> None:
    """Takes the steps after the lock; what they come to goes into the record.

    Args:
        record: of the retrain.
        mark: file that stands while a retrain has not ended, for the next one to go on with.
        section: of the params, as the command line changed it.
        accept_data: train although the labels differ from the last run's.
        params: the params file.

    Raises:
        HemlineError: a step failed; the next retrain goes on with it.
    """
    record.champion_before = record.champion_after = versions.champion(tracking())
    with record.at("fetch data"):
        begun = _begin(mark, record)
        new_data.fetch()
    with record.at("look for news"):
        if not _has_news(begun, record):
            record.outcome = "nothing new"
            mark.unlink()
            return
        begun = _note(replace(begun, has_news=True), mark)
    with record.at("check data"):
        workspace.dvc("repro", "split")
        try:
            new_data.check_data(begun.base, section=section, accept=accept_data, record=record)
        except DataRefusedError:
            _note(replace(begun, was_refused=True), mark)
            raise
    with record.at("train"):
        workspace.dvc("repro")
    with record.at("gate and promote"):
        record.version = versions.read_registration(options.REGISTRATION).version
        verdict = record.verdict = promote_version(record.version, params=params)
        record.champion_before, record.champion_after = (
            verdict.champion,
            versions.champion(tracking()),
        )
    with record.at("commit"):
        record.commit = result.commit(verdict, begun)
    with record.at("tag"):
        record.tag = result.tag(verdict)
    with record.at("dvc push"):
        result.push_data(record, wanted=section.push)
    with record.at("git push"):
        result.push_commit(record.tag, record, wanted=section.git_push)
    record.outcome = "promoted" if verdict.passed else "rejected"
    mark.unlink()


def _begin(mark: Path, record: Record) -> Begun:
    """Returns the retrain that did not end, ready to go on, or a new one; its mark is on disk."""
    begun = read_begun(mark)
    record.went_on = begun is not None
    new_data.check_tree(gone_on=begun is not None)
    if begun is None:
        return _note(begin(), mark)
    console.print(f"goes on with the retrain that began at {begun.base[:10]}")
    if begun.was_refused:
        new_data.put_back(begun.base)
    return _note(replace(begun, was_refused=False), mark)


def _note(begun: Begun, mark: Path) -> Begun:
    write_begun(begun, mark)
    return begun


def _has_news(begun: Begun, record: Record) -> bool:
    """Returns whether there is something to do.

    There is not when the stages are as `dvc.lock` says, git has that `dvc.lock`, and the gate has
    judged its version; a retrain that found something and did not end always has.
    """
    if begun.has_news or not workspace.is_unchanged() or workspace.unrecorded_paths():
        return True
    record.version = versions.read_registration(options.REGISTRATION).version
    verdict = versions.read_tag(record.version, promotion.VERDICT_TAG, tracking=tracking())
    return verdict is None
