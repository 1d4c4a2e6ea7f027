"""Stage `train`: store, splits and triplets → the best network of a run."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from typer import Option

from components import files, tables
from components.freed_memory import keep_freed_memory
from components.images.store import ImageStore
from components.params import (
    CheckpointParams,
    DataParams,
    ModelParams,
    SamplingParams,
    TrainParams,
    load_section,
    resolved,
)
from components.precision import resolve_precision
from components.provenance import recording
from components.tracking import runs
from components.tracking.delivery import Delivery
from components.tracking.journal import Journal
from components.training.growth import grow, plan_growth, read_parent
from components.training.setup import (
    TrainingInputs,
    build_network,
    initial_weights,
    read_plan,
    with_absolute_weights,
)
from components.training.state import BEST_WEIGHTS, read_curve
from components.training.trained import write_trained_model
from pipelines.shell import options
from pipelines.shell.environment import (
    experiment_tags,
    project_folder,
    ray_session,
    store_location,
    tracking,
)
from pipelines.shell.reporting import console, progress
from pipelines.stages.dry_run import describe_training
from pipelines.stages.training_progress import training_progress

PRECISION_TAG = "hemline.precision"
PARENT_TAG = "hemline.parent"
INITIAL_WEIGHTS_TAG = "hemline.initial_weights_sha256"

Curve = Annotated[Path, Option(help="CSV file for the learning curve.")]
DryRun = Annotated[bool, Option("--dry-run", help="Say what would be trained, and stop.")]


def train(
    *,
    catalog: options.Catalog = options.CATALOG,
    store: options.StoreAddress = str(options.STORE),
    splits: options.Splits = options.SPLITS,
    triplets: options.Triplets = options.TRIPLETS,
    model: options.Model = options.MODEL,
    run: options.Run = options.RUN,
    curve: Curve = Path("plots/training.csv"),
    parent: options.Parent = options.PARENT,
    params: options.Params = options.PARAMS,
    dry_run: DryRun = False,
) -> None:
    """Train the network; an interrupted run of the same params and inputs is resumed.

    Where train.parent names a version, attributes that it does not know are added to it instead.
    """
    model_params = load_section(params, ModelParams)
    train_params = load_section(params, TrainParams)
    precision = resolve_precision(train_params.precision, on_gpu=train_params.use_gpu)
    train_params = replace(train_params, precision=precision)
    location = store_location(store)
    inputs = TrainingInputs(
        catalog=catalog.absolute(),
        store=location,
        splits=splits.absolute(),
        triplets=triplets.absolute(),
    )
    attributes = load_section(params, SamplingParams).attributes
    growth = (
        None
        if train_params.parent is None
        else plan_growth(
            read_parent(parent, train_params.parent),
            inputs,
            model_params,
            flip_probability=train_params.flip_probability,
        )
    )
    if dry_run:
        if growth is not None:
            console.print(growth.text)
            return
        describe_training(
            inputs, model_params=model_params, train_params=train_params, attributes=attributes
        )
        return
    keep_freed_memory()
    schema = tables.read_schema(catalog)
    if growth is None:
        build_network(model_params, schema)  # refused here what cannot be made, not by each worker
    initial = None if growth else initial_weights(model_params)
    source = load_section(params, DataParams).root
    folders = [catalog, location.local(), splits, triplets, *([parent] if growth else [])]
    state_folder = _state_folder(params, folders, initial, precision=precision)
    where, sections, experiment = tracking(params), resolved(params), experiment_tags()
    run_id = runs.continue_or_start_run(
        state_folder / "run.json",
        where,
        params=sections,
        tags={
            runs.NAME_TAG: recording.run_name(
                sections, params=params, data_set=schema.dataset, experiment=experiment
            ),
            PRECISION_TAG: precision,
            **({INITIAL_WEIGHTS_TAG: files.sha256(initial)} if initial else {}),
            **({PARENT_TAG: growth.parent.uri} if growth else {}),
            **recording.origin_tags(
                [source, catalog, store, splits, triplets], experiment=experiment
            ),
        },
    )
    journal = state_folder / "metrics.jsonl"
    log = Journal(journal).append
    with (
        runs.ending(where, run_id),
        Delivery(journal, where, run_id),
        runs.system_metrics(where, run_id),
    ):
        runs.log_splits(splits, tracking=where, run_id=run_id)
        data = recording.read_data_set(source=source, catalog=catalog, splits=splits)
        recording.record_start(data, tracking=where, run_id=run_id)
        if growth is not None:
            console.print(growth.text)
            with progress("features of the frozen network", total=growth.num_read) as advance:
                grown = grow(
                    growth, train_params, folder=state_folder, log=log, on_progress=advance
                )
            description, rows = grown.description, [grown.row]
        else:
            # a second of Ray's, which growing need not wait for
            from components.training.worker import run_training  # noqa: PLC0415

            plan = read_plan(triplets, train_params)
            with (
                ray_session(needed=train_params.workers[0] > 0),
                training_progress(
                    journal,
                    num_epochs=plan.num_epochs,
                    num_steps=plan.num_epochs * plan.num_steps,
                    classification_epochs=train_params.classification_epochs,
                ),
            ):
                run_training(
                    inputs,
                    model_params=with_absolute_weights(model_params),
                    train_params=train_params,
                    checkpoint_params=load_section(params, CheckpointParams),
                    attributes=attributes,
                    state_folder=state_folder,
                    log=log,
                )
            description, rows = {"model": asdict(model_params)}, read_curve(state_folder)
    pictures = ImageStore(location.local())
    write_trained_model(
        model,
        state_folder / BEST_WEIGHTS,
        description=description,
        schema=schema,
        image_size_px=pictures.image_size_px,
        crop=pictures.crop,
    )
    files.write_csv(rows, curve, schema=tables.TRAINING)
    shutil.copyfile(state_folder / "run.json", run)
    shutil.rmtree(state_folder)  # all that is worth keeping now lies in the stage's outputs


def _state_folder(
    params: Path, inputs: list[Path], initial: Path | None, *, precision: str
) -> Path:
    """Returns the folder of a run's state, named by all that the run depends on."""
    sections = {name: resolved(params)[name] for name in ("model", "sampling", "train")}
    sections["train"]["precision"] = precision
    small = ("*.json", "*.parquet")  # the store's manifest stands for its shards
    described = sorted(file for folder in inputs for kind in small for file in folder.glob(kind))
    if initial is not None:
        described.append(initial)
    return project_folder() / ".hemline" / "training" / files.content_key(sections, described)
