"""Where a run comes from and how its model stands to the champion, as the store knows it."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import read_json
from components.provenance import provenance
from components.registry.versions import MODEL_NAME, champion
from components.tables import EVALUATION_FILE
from components.tracking.runs import Tracking


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What a run was made from.

    Attributes:
        run_id: of the run.
        commit: of the code; None where it was not in a git repository.
        has_local_changes: whether the code differed from the commit.
        params: every value, by `section.key`.
        inputs: content hashes by path, as DVC knows them.
    """

    run_id: str
    commit: str | None
    has_local_changes: bool
    params: Mapping[str, str]
    inputs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that is in use: its number, its run, and its evaluation where that is known."""

    version: int
    lineage: Lineage
    evaluation: Mapping[str, Any] | None


def read_lineage(run_id: str, *, tracking: Tracking) -> Lineage:
    """Returns what a run was made from."""
    data = tracking.client().get_run(run_id).data
    return Lineage(
        run_id=run_id,
        commit=data.tags.get(provenance.COMMIT_TAG),
        has_local_changes=data.tags.get(provenance.DIRTY_TAG) == "true",
        params=data.params,
        inputs=_after(provenance.INPUT_PREFIX, data.tags),
    )


def read_champion(*, tracking: Tracking) -> Champion | None:
    """Returns the champion; None where there is none.

    Raises:
        HemlineError: the store does not answer.
    """
    number = champion(tracking)
    if number is None:
        return None
    run_id = tracking.client().get_model_version(MODEL_NAME, str(number)).run_id
    return Champion(
        version=number,
        lineage=read_lineage(run_id, tracking=tracking),
        evaluation=_read_evaluation(run_id, tracking=tracking),
    )


def _after(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)
    }


def _read_evaluation(run_id: str, *, tracking: Tracking) -> Mapping[str, Any] | None:
    """Returns the figures that the run's evaluation left; None where there are none."""
    client = tracking.client()
    if EVALUATION_FILE not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = read_json(
            Path(client.download_artifacts(run_id, EVALUATION_FILE, folder))
        )
    return figures
