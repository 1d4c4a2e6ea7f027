"""Stage `train`: store, splits and triplets → the best network of a run."""

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from components import files, tables
from components.images.store import ImageStore
from components.params import ModelParams, TrainParams, load_section, resolved
from components.tracking import provenance, runs
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS, read_history
from components.training.trained import write_trained_model
from components.training.worker import run_training
from pipelines import options
from pipelines.environment import project_folder, ray_session, store_location, tracking

Curve = Annotated[Path, typer.Option(help="CSV file for the learning curve.")]


def train(
    *,
    catalog: options.Catalog,
    store: options.StoreAddress,
    splits: options.Splits,
    triplets: options.Triplets,
    model: options.Model,
    run: options.Run,
    curve: Curve,
    params: options.Params = options.PARAMS,
) -> None:
    """Train the network; an interrupted run of the same params and inputs is gone on with."""
    model_params = load_section(params, ModelParams)
    train_params = load_section(params, TrainParams)
    location = store_location(store)
    state_folder = _state_folder(params, [catalog, location.local(), splits, triplets])
    where = tracking()
    run_id = runs.continue_or_start_run(
        state_folder / "run.json",
        where,
        params=resolved(params),
        tags={
            **provenance.git_tags(),
            **provenance.dvc_tags([catalog, Path(store), splits, triplets]),
        },
    )
    with (
        runs.ending(where, run_id),
        ray_session(needed=train_params.num_workers > 0),
    ):
        runs.log_splits(splits, tracking=where, run_id=run_id)
        run_training(
            TrainingInputs(
                catalog=catalog.absolute(),
                store=location,
                splits=splits.absolute(),
                triplets=triplets.absolute(),
            ),
            model_params=model_params,
            train_params=train_params,
            state_folder=state_folder,
            log_epoch=partial(runs.log_epoch, tracking=where, run_id=run_id),
        )
    write_trained_model(
        model,
        state_folder / BEST_WEIGHTS,
        model_params=model_params,
        schema=tables.read_schema(catalog / "schema.json"),
        image_size_px=ImageStore(location.local()).image_size_px,
    )
    files.write_csv(read_history(state_folder), curve, schema=tables.TRAINING)
    shutil.copyfile(state_folder / "run.json", run)
    shutil.rmtree(state_folder)  # all that is worth keeping now lies in the stage's outputs


def _state_folder(params: Path, inputs: list[Path]) -> Path:
    sections = {name: resolved(params)[name] for name in ("model", "sampling", "train")}
    small = ("*.json", "*.parquet")  # the store's manifest stands for its shards
    files = sorted(file for folder in inputs for kind in small for file in folder.glob(kind))
    return project_folder() / ".hemline" / "training" / provenance.run_key(sections, files)
