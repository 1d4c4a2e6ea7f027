"""How a retrain learns what is new: the whole network, or attributes grown from the champion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from components import tables
from components.errors import HemlineError
from components.networks import GROWABLE
from components.params import ModelParams, TrainParams, load_section
from components.provenance import git
from components.registry import versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.retrain.news import News, changed_params, news_since
from pipelines.operations.retrain.state import Decision
from pipelines.shell import dvc, options
from pipelines.shell.params_file import write_values

_PARENT_KEY = "train.parent"
_PARENT_FILE = Path(f"{options.PARENT}.dvc")
_NUM_LISTED = 6  # of what is new beside attributes: params and files of code may be many


def decide(
    strategy: Literal["full", "grow", "auto"], *, params: Path, where: Tracking
) -> Decision | None:
    """Returns how what is new is learned; params.yaml and models/parent then say the same.

    None where nothing that training reads is new since it ran, and where there is no choice. Asked
    again, after a kill, it decides the same by the same data.

    Raises:
        HemlineError: the champion cannot be grown, or the registry does not answer.
    """
    is_whole = load_section(params, TrainParams).parent is None
    if strategy == "full" and is_whole and not own_changes(params):
        return None
    dvc.run("repro", "triplets")
    if dvc.is_unchanged("train"):
        return None
    if _put_back(params) and dvc.is_unchanged("train"):
        return Decision(trains=True)  # what an earlier start decided on is gone
    number = versions.champion(where)
    if strategy == "full" or number is None:
        return _whole(params)
    return _by_news(strategy, number, params=params, where=where)


def own_changes(params: Path) -> list[str]:
    """Returns the params file if a retrain changed it since the commit; else none.

    Raises:
        HemlineError: it has other changes too.
    """
    if not git.has_file("HEAD", params):
        return []
    changed = changed_params(params, "HEAD")
    if _PARENT_KEY not in changed:
        return []
    if others := [name for name in changed if name != _PARENT_KEY]:
        raise HemlineError(
            f"{params} has changes that are not the retrain's: {', '.join(others)}. A retrain is "
            "recorded as a commit that reproduces it: put them back, and start it again"
        )
    return [str(params)]


def _by_news(
    strategy: Literal["grow", "auto"], number: int, *, params: Path, where: Tracking
) -> Decision:
    """Returns what a strategy makes of what is new since the champion of that number."""
    champion = RegisteredVersion(name=where.model_name, version=number)
    news = news_since(champion, params=params, where=where)
    refused = _refused(news, params)
    others = _listed(news.others)
    if strategy == "auto" and (others or refused):
        return _whole(params, note=f"the whole network is trained: {others or refused}")
    also = f"; not learned: {others}" if others else ""
    if refused is None:
        return _grown(champion, news, also, params=params, where=where)
    return Decision(trains=False, note=f"nothing is grown: {refused}{also}")


def _put_back(params: Path) -> bool:
    """Undoes what an earlier start decided and did not commit; returns whether there was any."""
    own = own_changes(params)
    for path in own:
        git.read("checkout", "HEAD", "--", path)
    if not git.unrecorded([str(_PARENT_FILE)]):
        return bool(own)
    if git.has_file("HEAD", _PARENT_FILE):
        git.read("checkout", "HEAD", "--", str(_PARENT_FILE))
        dvc.run("checkout", "--force", str(_PARENT_FILE))
    else:
        _PARENT_FILE.unlink()
    return True


def _whole(params: Path, *, note: str | None = None) -> Decision:
    """Lets `dvc repro` train the whole network."""
    if load_section(params, TrainParams).parent is not None:
        write_values({_PARENT_KEY: None}, params)
    return Decision(trains=True, note=note)


def _grown(
    champion: RegisteredVersion, news: News, also: str, *, params: Path, where: Tracking
) -> Decision:
    """Lets `dvc repro` grow attributes, or names of values, from the champion."""
    from pipelines.operations.grow.command import prepare  # noqa: PLC0415 - torch

    prepare(champion, news.attributes, params=params, where=where)
    what = ", ".join([*news.attributes, *news.values])
    note = f"{what} grown from {champion.uri}{also}"
    return Decision(trains=True, grown=news.attributes, note=note)


def _listed(others: Sequence[str]) -> str:
    more = len(others) - _NUM_LISTED
    return ", ".join(others[:_NUM_LISTED]) + (f" and {more} more" if more > 0 else "")


def _refused(news: News, params: Path) -> str | None:
    """Returns why nothing can be grown, in words; None where all that is new can be."""
    from components.training.growth import check_labels  # noqa: PLC0415 - torch

    if not news.attributes and not news.values:
        return "no attribute is new"
    name = load_section(params, ModelParams).name
    if name not in GROWABLE:
        return f"the network {name}, which cannot be grown"
    try:
        splits = tables.read_splits(options.SPLITS)
        check_labels(splits, tables.read_schema(options.CATALOG), news.attributes)
    except HemlineError as error:
        return str(error)
    return None
