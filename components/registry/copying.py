"""A version copied to another MLflow store: its model as it is, and its run."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import DatasetInput, LoggedModelStatus, Metric, Param, Run
from mlflow.models import Model

from components import files
from components.errors import HemlineError
from components.registry.package import NETWORK_FILE
from components.registry.promotion import EMBEDDINGS_TAG, VERDICT_TAG
from components.registry.versions import GRAPH_TAG, RegisteredVersion, of_graph
from components.tracking import runs
from components.tracking.runs import Tracking

_AT_ONCE = 100  # params or tags, MLflow's limit
_METRICS_AT_ONCE = 1000
_MODEL_FILE = "MLmodel"  # names run and model, which are new in another store
_DOWNLOADED_FILE = "registered_model_meta"  # MLflow adds it to copies of versions
_OF_ITS_STORE = (VERDICT_TAG, EMBEDDINGS_TAG)  # of versions: decided and embedded there
_OF_MLFLOW = ("mlflow.user", "mlflow.log-model.", "mlflow.parentRunId", "mlflow.rootRunId")
_NOT_COPIED = "system/"  # metrics of the machine, by the second


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A version in another store, and whether it was there before."""

    version: RegisteredVersion
    was_there: bool


def copy_version(version: RegisteredVersion, source: Tracking, target: Tracking) -> Copied:
    """Returns the version that another store now has of a model.

    Its run goes along, with params, metrics, tags and files; aliases do not. A graph that the other
    store has is not registered again, and a copy that was interrupted is completed.

    Raises:
        HemlineError: a store does not answer, or what arrived is not what was sent.
    """
    with TemporaryDirectory() as temporary:
        model, run_files = Path(temporary) / "model", Path(temporary) / "run"
        model = source.download(version.uri, model, address=source.registry_address)
        (model / _DOWNLOADED_FILE).unlink(missing_ok=True)
        graph = files.sha256(model / "artifacts" / NETWORK_FILE)
        there = of_graph(target.model_name, graph, target)
        if there is not None:
            return Copied(version=there, was_there=True)
        described = source.client().get_model_version(version.name, str(version.version))
        run = source.client().get_run(described.run_id)
        run_files.mkdir()
        if source.client().list_artifacts(run.info.run_id):
            source.client().download_artifacts(run.info.run_id, "", str(run_files))
        history = _history(run, source)

        run_id = _copy_run(run, history, run_files, source=source, target=target)
        model_id = _copy_model(model, run_id, target)
        tags = {name: text for name, text in described.tags.items() if name not in _OF_ITS_STORE}
        target.activate()
        with target.answering(target.registry_address):
            made = mlflow.register_model(
                f"models:/{model_id}", target.model_name, tags={**tags, GRAPH_TAG: graph}
            )
        source.activate()  # MLflow keeps the last one for whatever follows
        copy = target.client().get_run(run_id)
        description = _linked_to(copy, run, described.description or "")
        target.client().update_model_version(target.model_name, made.version, description)
        return Copied(
            version=RegisteredVersion(name=target.model_name, version=int(made.version)),
            was_there=False,
        )


def _history(run: Run, source: Tracking) -> list[Metric]:
    names = [name for name in run.data.metrics if not name.startswith(_NOT_COPIED)]
    client = source.client()
    return [
        Metric(entry.key, entry.value, entry.timestamp, entry.step)
        for name in names
        for entry in client.get_metric_history(run.info.run_id, name)
    ]


def _copy_run(
    run: Run, history: list[Metric], run_files: Path, *, source: Tracking, target: Tracking
) -> str:
    """Returns the id of the run that stands for another store's; MLflow takes things twice."""
    client, origin = target.client(), run.info.run_id
    run_id = runs.find_copy(origin, target) or runs.start_run(
        target,
        params={},
        tags={runs.ORIGIN_RUN_TAG: origin, runs.ORIGIN_STORE_TAG: source.address},
    )
    params = [Param(name, value) for name, value in run.data.params.items()]
    for start in range(0, len(params), _AT_ONCE):
        client.log_batch(run_id, params=params[start : start + _AT_ONCE])
    for start in range(0, len(history), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=history[start : start + _METRICS_AT_ONCE])
    # the first origin stays: a copy of a copy tells where the training's own run is
    copy = client.get_run(run_id)
    tags = {
        name: _linked_to(copy, run, text)
        for name, text in run.data.tags.items()
        if not name.startswith(_OF_MLFLOW)
    }
    runs.set_tags(tags, tracking=target, run_id=run_id)
    data_sets = [DatasetInput(each.dataset, each.tags) for each in run.inputs.dataset_inputs]
    if data_sets:
        client.log_inputs(run_id, datasets=data_sets)
    if any(run_files.iterdir()):
        client.log_artifacts(run_id, str(run_files))
    client.set_terminated(run_id, run.info.status)
    return run_id


def _linked_to(copy: Run, run: Run, text: str) -> str:
    """Returns a text whose links lead to the copy's pages instead of the run's."""
    return text.replace(runs.page_of(run), runs.page_of(copy))


def _copy_model(folder: Path, run_id: str, target: Tracking) -> str:
    """Returns the id of the model in the target's store, whose files were read back and compared.

    Raises:
        HemlineError: a file is not what was sent.
    """
    client = target.client()
    sent = {name: digest for name, digest in _digests(folder).items() if name != _MODEL_FILE}
    made = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=target.model_name.replace(".", "_"),  # MLflow takes no dot here
        source_run_id=run_id,
    )
    with target.answering():
        described = Model.load(str(folder))
        described.run_id, described.model_id = run_id, made.model_id
        described.artifact_path = made.artifact_location
        described.save(str(folder / _MODEL_FILE))
    client.log_model_artifacts(made.model_id, str(folder))
    with TemporaryDirectory() as temporary:
        arrived = _digests(target.download(f"models:/{made.model_id}", Path(temporary)))
    wrong = sorted(name for name, digest in sent.items() if arrived.get(name) != digest)
    if wrong:
        client.finalize_logged_model(made.model_id, LoggedModelStatus.FAILED)
        raise HemlineError(
            f"{', '.join(wrong)} arrived in {target.address} with other bytes than were sent: "
            "nothing was registered there; run the same command again"
        )
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    return str(made.model_id)


def _digests(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): files.sha256(path) for path in found}
