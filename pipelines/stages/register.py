"""Stage `register`: the trained network and its model card → a version in the model registry."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.embedding.unchanged import unchanged_sha256
from components.errors import HemlineError, command_line
from components.evaluation.evaluation import held_out_images
from components.evaluation.quantisation import quantisation_text, refuses
from components.files import read_about, read_json, sha256
from components.images.store import ImageStore
from components.params import EmbedParams, GateParams, load_section
from components.prototypes.prototypes import read_prototypes_of
from components.provenance import recording
from components.provenance.origin import read_origin
from components.registry import versions
from components.registry.card import Facts, model_card
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, read_package
from components.registry.parent import read_parent
from components.registry.quantised import quantised_graph
from components.registry.registration import register_package
from components.registry.versions import EXTENDS_TAG, UNCHANGED_TAG
from components.tables import QUERY_SCORES, SPLITS_REPORT_FILE, read_splits
from components.training.trained import identity, read_description, read_trained_model
from pipelines.operations.pulled import run_here
from pipelines.shell import options
from pipelines.shell.environment import store_location, tracking
from pipelines.shell.reporting import console, notes, progress


def register(
    *,
    model: options.Model = options.MODEL,
    run: options.Run = options.RUN,
    store: options.StoreAddress = str(options.STORE),
    splits: options.Splits = options.SPLITS,
    metrics: options.Metrics = options.EVALUATION,
    queries: options.Queries = options.QUERIES,
    prototypes_file: options.PrototypesFile = options.PROTOTYPES,
    quantised: options.Quantised = options.QUANTISED,
    parent: options.Parent = options.PARENT,
    registration: options.Registration = options.REGISTRATION,
    params: options.Params = options.PARAMS,
) -> None:
    """Export the network, log it and its card to its run, and register it as challenger.

    Only the network that was evaluated is registered. Nothing is trained: what `dvc pull` brought
    is registered too, with a new run where this store does not have the one that trained it. Of a
    version that was grown, it is proved first that embeddings of all attributes that its parent
    knows are the parent's, to the bit. A graph in 8-bit integers goes with it, unless it loses more
    MAP than `gate.max_quantisation_drop` allows.
    """
    where = tracking(params)
    run_id = run_here(run, splits=splits, metrics=metrics, queries=queries, where=where)
    trained = read_trained_model(model)
    check_evaluated(model, queries)
    description = read_description(model)
    grown = description.get("grown")
    grown_from = read_parent(parent) if grown else None
    ancestors = grown_from.ancestors(trained.schema.names) if grown_from else ()
    evaluation = read_json(metrics)
    integers = quantised_graph(quantised, model=identity(model))
    if integers is not None and _is_refused(evaluation, params):
        integers = None
    has_prototypes = check_prototypes(prototypes_file, model=model, evaluation=evaluation)
    origin = read_origin(run_id, tracking=where)
    card = model_card(
        Facts(
            model_name=where.model_name,
            schema=trained.schema,
            image_size_px=trained.image_size_px,
            crop=trained.crop,
            pixel_statistics=trained.network.pixel_statistics,
            ancestors=ancestors,
            splits=read_json(splits / SPLITS_REPORT_FILE),
            evaluation=evaluation,
            run_id=run_id,
            commit=origin.commit,
            has_local_changes=origin.has_local_changes,
            params=origin.params,
            inputs=origin.inputs,
            has_integers=integers is not None,
        )
    )
    with TemporaryDirectory() as folder:
        write_package(
            trained.network.for_inference(),
            Path(folder),
            schema=trained.schema,
            image_size_px=trained.image_size_px,
            crop=trained.crop,
            prototypes=prototypes_file if has_prototypes else None,
            ancestors=ancestors,
            description=description,
            quantised=integers and integers.parent,
        )
        tags = {}
        if grown_from is not None:
            images = held_out_images(read_splits(splits), "test")
            with progress(f"comparing with {grown_from.version.uri}", total=len(images)) as advance:
                unchanged = unchanged_sha256(
                    read_package(Path(folder)),
                    grown_from.package,
                    ImageStore(store_location(store).local()),
                    images,
                    params=load_section(params, EmbedParams),
                    parent_name=grown_from.version.uri,
                    on_progress=advance,
                )
            tags = {EXTENDS_TAG: grown_from.version.uri, UNCHANGED_TAG: unchanged}
        version = register_package(
            Path(folder), card=card, tracking=where, run_id=run_id, tags=tags
        )
        graph_sha256 = sha256(Path(folder) / NETWORK_FILE)
    recording.record_outputs(run, tracking=where, run_id=run_id)
    recording.tag_version(version, tracking=where, run_id=run_id)
    versions.write_registration(version, registration, graph_sha256=graph_sha256)
    console.print(f"registered {version.uri} as {versions.CHALLENGER}")


def _is_refused(evaluation: Mapping[str, Any], params: Path) -> bool:
    """Returns whether the gate refuses a graph in 8-bit integers, and says so."""
    max_drop = load_section(params, GateParams).max_quantisation_drop
    measured = evaluation["quantisation"]
    if not refuses(measured, max_drop=max_drop):
        return False
    notes.print(
        f"{quantisation_text(measured)}: more than gate.max_quantisation_drop {max_drop:g} allows. "
        "The version goes without them, and is embedded as embed.precision auto says",
        markup=False,
    )
    return True


def check_prototypes(path: Path, *, model: Path, evaluation: Mapping[str, Any]) -> bool:
    """Returns whether there are prototypes: what an older hemline trained and evaluated has none.

    Raises:
        HemlineError: the evaluation had some and they are missing, or they are damaged or another
            model's.
    """
    if not path.exists() and "tags" not in evaluation:
        return False
    read_prototypes_of(path, model=model, identity=identity(model))
    return True


def check_evaluated(model: Path, queries: Path) -> None:
    """Refuses a model that is not the one whose evaluation lies in the project.

    Raises:
        HemlineError: weights or description have changed since, or nothing was evaluated.
    """
    evaluated = read_about(queries, schema=QUERY_SCORES).get("model")
    if evaluated not in (None, identity(model)):  # None: an older hemline did not say
        checkout = command_line("dvc", "checkout", "--force", model)
        raise HemlineError(
            f"{model} is not the model that was evaluated: its weights or its description have "
            f"changed since {queries} was written; `{checkout}` brings that "
            "model back, `dvc repro -f evaluate` measures this one"
        )
