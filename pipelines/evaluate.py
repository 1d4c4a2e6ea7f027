"""Stage `evaluate`: the trained network on the test split → metrics and plots."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from components import files, tables
from components.images.store import ImageStore
from components.images.transforms import normalise
from components.retrieval.encode import encode
from components.retrieval.evaluation import (
    bars_of,
    evaluate_retrieval,
    evaluate_triplets,
    held_out_images,
    metrics_of,
    report,
)
from components.tracking import runs
from components.training.trained import read_trained_model
from pipelines import options
from pipelines.environment import store_location, tracking
from pipelines.reporting import console, progress

Bars = Annotated[Path, typer.Option(help="CSV file for MAP per attribute.")]


def evaluate(
    *,
    model: options.Model,
    run: options.Run,
    store: options.StoreAddress,
    splits: options.Splits,
    triplets: options.Triplets,
    metrics: options.Metrics,
    bars: Bars,
) -> None:
    """Measure MAP per attribute beside a random ranking, and triplet relation accuracy."""
    where = tracking()
    run_id = runs.read_run(run, where)
    trained = read_trained_model(model)
    table = files.read_table(splits / "splits.parquet", schema=tables.SPLITS)
    images = held_out_images(table, "test")
    with progress("embedding the test split", total=len(images)) as advance:
        embeddings = encode(
            lambda pixels, attributes: trained.network(normalise(pixels), attributes),
            ImageStore(store_location(store).local()),
            images,
            num_attributes=len(trained.schema.attributes),
            device=torch.device("cpu"),
            on_progress=advance,
        )
    test_triplets = files.read_table(triplets / "test.parquet", schema=tables.TRIPLETS)
    figures = report(
        evaluate_retrieval(table, "test", images, embeddings),
        trained.schema,
        triplet_accuracy=evaluate_triplets(test_triplets, images, embeddings),
    )
    files.write_json(figures, metrics)
    files.write_csv(bars_of(figures), bars, schema=tables.MAP_PER_ATTRIBUTE)
    runs.log_metrics(metrics_of(figures, prefix="test"), tracking=where, run_id=run_id)
    runs.log_file(metrics, tracking=where, run_id=run_id)
    console.print(f"test MAP {figures['map']:.2f}, random {figures['random_map']:.2f}")
