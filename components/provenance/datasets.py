"""The data set of a run: its counts, the digest of its split, and how MLflow is told of both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from components import files
from components.credentials import without_credentials
from components.tables import SPLITS_REPORT_FILE, read_catalog, split_digest
from components.tracking.runs import Tracking

_CONTEXT = "mlflow.data.context"  # the tag that MLflow's pages show
_DIGEST_LENGTH = 32  # hexadecimal digits; MLflow keeps 36


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a run was trained and measured on.

    Attributes:
        name: of the data set, as its schema says.
        source: where its raw files lie, without credentials.
        digest: of the splits, as `split_digest` returns it; read from MLflow, its beginning.
        counts: images, labels, attributes, rows in quarantine, and images by split and role.
    """

    name: str
    source: str
    digest: str
    counts: Mapping[str, int]


def read_data_set(*, source: str, catalog: Path, splits: Path) -> DataSet:
    """Returns what a catalog and its splits hold."""
    read = read_catalog(catalog)
    assigned = files.read_json(splits / SPLITS_REPORT_FILE)["splits"]
    return DataSet(
        name=read.schema.dataset,
        source=without_credentials(source),
        digest=split_digest(splits),
        counts={
            "images": read.images.num_rows,
            "labels": read.labels.num_rows,
            "attributes": len(read.schema.attributes),
            "quarantined": read.quarantine.num_rows,
            **{
                f"{split} {role}": size["num_images"]
                for split, roles in assigned.items()
                for role, size in roles.items()
            },
        },
    )


def log_data_set(data: DataSet, *, tracking: Tracking, run_id: str) -> None:
    """Logs a data set as the run's input; the same one again changes nothing.

    MLflow has room for the first 32 digits of the digest.
    """
    entity = Dataset(
        name=data.name,
        digest=data.digest[:_DIGEST_LENGTH],
        source_type="local" if "://" not in data.source else data.source.split("://")[0],
        source=json.dumps({"uri": data.source}),
        profile=json.dumps(dict(data.counts)),
    )
    tags = [InputTag(_CONTEXT, "training")]
    tracking.client().log_inputs(run_id, datasets=[DatasetInput(entity, tags)])


def logged_data_sets(run_inputs: Any) -> list[DataSet]:
    """Returns the data sets among the inputs of a run, as MLflow gives them."""
    return [
        DataSet(
            name=found.dataset.name,
            source=json.loads(found.dataset.source)["uri"],
            digest=found.dataset.digest,
            counts=json.loads(found.dataset.profile or "{}"),
        )
        for found in run_inputs.dataset_inputs
    ]
