"""Street to shop: AHBN, with and without what it is taught, beside the triplet network.

    python -m benchmarks.instance_retrieval [--seeds 3 4 5] [--variants "triplet network" ahbn]

In a project over products, after `dvc repro triplets`. Every variant is trained anew on the same
batches, with the objective and recipe of params.yaml, and measured on the test split.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from components import tables
from components.evaluation.encode import encode
from components.evaluation.evaluation import HIT_KS, evaluate_retrieval, held_out_images
from components.evaluation.landmarks import landmark_error
from components.images.geometry import landmarks_in_square
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore
from components.params import (
    CheckpointParams,
    ModelParams,
    SamplingParams,
    TrainParams,
    load_section,
)
from components.precision import resolve_precision
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.trained import TrainedModel, read_trained_model, write_trained_model
from components.training.worker import run_training

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "triplet network": {"name": "triplet_network"},
    "ahbn": {"name": "ahbn"},
    "ahbn without landmarks": {"name": "ahbn", "landmark_supervision": False},
    "ahbn without attributes": {"name": "ahbn", "attribute_supervision": False},
    "ahbn attribute branch": {"name": "ahbn", "branches": "attribute"},
}
CATALOG, STORE, SPLITS, TRIPLETS = (
    Path("data", name).absolute() for name in ("catalog", "store", "splits", "triplets")
)
PARAMS = Path("params.yaml")


def main() -> None:
    """Prints hit rates, MAP and landmark errors in percent, a line for each variant and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)[:3])
    arguments = parser.parse_args()
    num_images = pq.ParquetFile(TRIPLETS / tables.BATCHES_FILE).metadata.num_rows
    print(f"{machine()}; {num_images} images seen", flush=True)
    measures = [*(f"hit_at_{k}" for k in HIT_KS), "map"]
    print(f"{'':32}" + "".join(f"{name:>10}" for name in (*measures, "landmarks")), flush=True)
    for seed in arguments.seeds:
        for name in arguments.variants:
            with tempfile.TemporaryDirectory() as folder:
                trained = train(VARIANTS[name], seed=seed, folder=Path(folder))
            scores, error = found_items(trained), landmarks_of(trained)
            figures = [100 * scores[measure].mean() for measure in measures]
            shown = "".join(f"{figure:10.2f}" for figure in (*figures, 100 * error))
            print(f"{name:24} seed {seed:2}{shown}", flush=True)
    random = "".join(f"{100 * scores[f'random_{measure}'].mean():10.2f}" for measure in measures)
    print(f"{'random':32}{random}")


def train(chosen: Mapping[str, Any], *, seed: int, folder: Path) -> TrainedModel:
    """Returns a network trained in this process by the recipe of params.yaml."""
    model = load_section(PARAMS, ModelParams)
    if chosen["name"] != model.name:  # whose parts it does not have
        chosen = {**dict.fromkeys(model.parts), **chosen}
    model = replace(model, **chosen)
    params = load_section(PARAMS, TrainParams)
    precision = resolve_precision(params.precision, on_gpu=params.use_gpu)
    store = StoreLocation(address=str(STORE), cache=folder)
    run_training(
        TrainingInputs(catalog=CATALOG, store=store, splits=SPLITS, triplets=TRIPLETS),
        model_params=model,
        train_params=replace(params, seed=seed, precision=precision, num_workers=0),
        checkpoint_params=CheckpointParams(),
        state_folder=folder / "state",
        attributes=load_section(PARAMS, SamplingParams).attributes,
        log=lambda metrics, *, step, kind: None,
    )
    pictures = ImageStore(STORE)
    write_trained_model(
        folder / "model",
        folder / "state" / BEST_WEIGHTS,
        description={"model": asdict(model)},
        schema=tables.read_schema(CATALOG),
        image_size_px=pictures.image_size_px,
        crop=pictures.crop,
    )
    return read_trained_model(folder / "model")


def found_items(trained: TrainedModel) -> Mapping[str, NDArray[np.float64]]:
    """Returns the scores of every query of the test split that asks for its product."""
    splits = tables.read_splits(SPLITS)
    images = held_out_images(splits, "test")
    embeddings = encode(
        trained.embed,
        ImageStore(STORE),
        images,
        num_attributes=len(trained.schema.attributes),
        device=torch.device("cpu"),
    )
    identity = trained.schema.identity
    if identity is None:
        raise SystemExit(f"{CATALOG} has no items")
    return evaluate_retrieval(splits, "test", images, embeddings)[identity].scores


def landmarks_of(trained: TrainedModel) -> float:
    """Returns the mean error of landmarks in the test split; NaN of a network that finds none."""
    images = tables.read_catalog(CATALOG).images
    pictures, splits = ImageStore(STORE), tables.read_splits(SPLITS)
    names = trained.schema.landmarks
    marked = landmarks_in_square(
        tables.read_landmarks(CATALOG),
        images,
        tables.read_boxes(CATALOG),
        names,
        crop=pictures.crop,
    )
    found = landmark_error(
        trained.find_landmarks,
        pictures,
        marked,
        names=names,
        trained=held_out_images(splits, "train"),
        held_out=held_out_images(splits, "test"),
    )
    return float(found.get("error", np.nan))


if __name__ == "__main__":
    main()
