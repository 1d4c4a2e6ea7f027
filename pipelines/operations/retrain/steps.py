"""The steps of a retrain, one after the other; each does nothing where it is done."""

from dataclasses import replace
from pathlib import Path

from components.params import RetrainParams
from components.registry import promotion, registry
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
    record.champion_after = promotion.champion(tracking())
    with record.at("fetch data"):
        begun = _begin(mark, record)
        record.champion_before = begun.champion
        new_data.fetch()
    with record.at("look for news"):
        if not begun.has_news:
            begun = _note(replace(begun, judged=_judged_version(), has_news=_has_news()), mark)
        record.version = begun.judged
        if begun.judged and not begun.has_news:
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
        record.version = registry.read_registration(options.REGISTRATION).version
    if record.version != begun.judged:  # else code changed, and what it makes did not
        with record.at("gate and promote"):
            record.verdict = promote_version(record.version, params=params)
            record.champion_after = promotion.champion(tracking())
    with record.at("commit"):
        record.commit = result.commit(record, begun)
    if record.verdict:
        with record.at("tag"):
            record.tag = result.tag(record.verdict)
    with record.at("dvc push"):
        result.push_data(record, wanted=section.push)
    with record.at("git push"):
        result.push_commit(record.tag, record, wanted=section.git_push)
    record.outcome = result.outcome(record.verdict)
    mark.unlink()


def _begin(mark: Path, record: Record) -> Begun:
    """Returns the retrain that did not end, ready to go on, or a new one; its mark is on disk."""
    begun = read_begun(mark)
    record.went_on = begun is not None
    new_data.check_tree(gone_on=begun is not None)
    if begun is None:
        return _note(begin(record.champion_after), mark)
    console.print(f"goes on with the retrain that began at {begun.base[:10]}")
    if begun.was_refused:
        new_data.put_back(begun.base)
    return _note(replace(begun, was_refused=False), mark)


def _note(begun: Begun, mark: Path) -> Begun:
    write_begun(begun, mark)
    return begun


def _has_news() -> bool:
    """Returns whether stages are not as `dvc.lock` says, or git does not have that `dvc.lock`."""
    return not workspace.is_unchanged() or bool(workspace.unrecorded_paths())


def _judged_version() -> int | None:
    """Returns the version that the workspace stands for, if the gate has judged it."""
    if not options.REGISTRATION.exists():
        return None
    version = registry.read_registration(options.REGISTRATION).version
    verdict = promotion.read_tag(version, promotion.VERDICT_TAG, tracking=tracking())
    return None if verdict is None else version
