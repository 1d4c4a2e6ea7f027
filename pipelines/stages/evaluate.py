"""Stage `evaluate`: the trained network on the test split → metrics, plots and a report."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
from typer import Option

from components import files, tables
from components.evaluation.attention import (
    add_attention,
    attention_in_regions,
    labelled_regions,
)
from components.evaluation.boxes import add_boxes, boxes_in_regions
from components.evaluation.categories import evaluate_categories
from components.evaluation.encode import encode
from components.evaluation.evaluation import (
    bars_of,
    evaluate_retrieval,
    held_out_images,
    metrics_of,
    report,
)
from components.evaluation.figures import (
    gain_text,
    hits_text,
    item_row,
    landmarks_text,
    manipulation_text,
    not_above_random,
)
from components.evaluation.growth import evaluate_growth, growth_text
from components.evaluation.landmarks import landmark_error, landmark_metrics
from components.evaluation.manipulation_figures import (
    evaluate_manipulation,
    manipulation_metrics,
    manipulation_report,
)
from components.evaluation.quantisation import evaluate_quantised, quantisation_text
from components.evaluation.query_scores import query_scores, write_query_scores
from components.evaluation.triplet_relations import evaluate_triplets
from components.freed_memory import keep_freed_memory
from components.images.geometry import landmarks_in_square
from components.images.store import ImageStore
from components.prototypes.prototypes import read_prototypes_of
from components.prototypes.tag_figures import evaluate_tags, tag_metrics
from components.provenance import recording
from components.provenance.origin import read_champion, read_origin
from components.registry.quantised import quantised_graph
from components.report.compose import compose, render
from components.report.content import Measured
from components.tracking import runs
from components.training.trained import (
    TrainedModel,
    identity,
    read_description,
    read_trained_model,
)
from pipelines.shell import options
from pipelines.shell.environment import store_location, tracking
from pipelines.shell.reporting import console, progress

Bars = Annotated[Path, Option(help="CSV file for MAP per attribute.")]
Curve = Annotated[Path, Option(help="CSV file of the learning curve.")]
ReportFile = Annotated[Path, Option("--report", help="HTML file for people to look at.")]


def evaluate(
    *,
    model: options.Model,
    run: options.Run,
    catalog: options.Catalog,
    store: options.StoreAddress,
    splits: options.Splits,
    triplets: options.Triplets,
    prototypes_file: options.PrototypesFile,
    quantised: options.Quantised,
    curve: Curve,
    metrics: options.Metrics,
    bars: Bars,
    queries: options.Queries,
    report_file: ReportFile,
    params: options.Params = options.PARAMS,
) -> None:
    """Measure MAP per attribute beside a random ranking, triplets, and attribute manipulation.

    The gain is what MAP has of the way from a random ranking to a perfect one, in percent.
    If the data set says in which region an attribute shows, measure the share of attention in it
    too, and how the boxes of a network that makes some meet it. If it marks landmarks, measure how
    far from them those are that a network finds. Of a graph in 8-bit integers, measure what it
    loses. The report shows the results, and
    which values are confused with which.
    """
    keep_freed_memory()
    where = tracking(params)
    run_id = runs.read_run(run, where)
    trained = read_trained_model(model)
    prototypes = read_prototypes_of(prototypes_file, model=model, identity=identity(model))
    table = tables.read_splits(splits)
    catalogued = files.read_table(catalog / tables.IMAGES_FILE, schema=tables.IMAGES)
    images = held_out_images(table, "test")
    pictures = ImageStore(store_location(store).local())
    pictures.check_crop(trained.crop, of=str(model))
    start = time.perf_counter()
    with progress("embedding the test split", total=len(images)) as advance:
        embeddings = encode(
            trained.embed,
            pictures,
            images,
            num_attributes=len(trained.schema.attributes),
            device=torch.device("cpu"),
            on_progress=advance,
        )
    images_per_s = len(images) / (time.perf_counter() - start)
    test_triplets = files.read_table(triplets / "test.parquet", schema=tables.TRIPLETS)
    results = evaluate_retrieval(table, "test", images, embeddings)
    figures = report(
        results,
        trained.schema,
        triplet_accuracy=evaluate_triplets(test_triplets, images, embeddings),
    )
    categories = evaluate_categories(table, "test", images, embeddings, schema=trained.schema)
    if categories:
        figures["categories"] = categories
    figures["num_parameters"] = sum(p.numel() for p in trained.network.parameters())
    _add_places(figures, trained, pictures, catalogued, catalog=catalog, splits=table)
    attributes, dim = trained.schema.attributes, embeddings.shape[-1]
    grown = read_description(model).get("grown")
    if grown:
        figures["growth"] = evaluate_growth(
            table, "test", images, embeddings, schema=trained.schema, known=grown["known"]
        )
    manipulation = evaluate_manipulation(
        table,
        "test",
        images,
        embeddings,
        prototypes=[
            np.empty((0, dim), np.float32)
            if attribute.is_identity
            else prototypes.attributes[attribute.name].vectors_VD
            for attribute in attributes
        ],
        weights=[0.0 if x.is_identity else prototypes.weights[x.name] for x in attributes],
    )
    figures["manipulation"] = manipulation_report(manipulation, trained.schema)
    figures["tags"] = evaluate_tags(
        table, "test", images, embeddings, prototypes=prototypes, schema=trained.schema
    )
    integers = quantised_graph(quantised, model=identity(model))
    if integers is not None:
        # the extra hemline[openvino]
        from components.registry.openvino_graph import load_by_openvino  # noqa: PLC0415

        with progress("embedding the test split in 8-bit integers", total=len(images)) as advance:
            by_integers = encode(
                load_by_openvino(integers, "int8"),
                pictures,
                images,
                num_attributes=len(attributes),
                device=torch.device("cpu"),
                on_progress=advance,
            )
        figures["quantisation"] = evaluate_quantised(
            table, "test", images, embeddings, by_integers, results=results, schema=trained.schema
        )
    files.write_json(figures, metrics)
    scores = query_scores(
        results,
        embeddings,
        schema=trained.schema,
        known=trained.schema,
        splits=tables.split_digest(splits),
        model=identity(model),
    )
    write_query_scores(scores, queries)
    files.write_csv(bars_of(figures), bars, schema=tables.MAP_PER_ATTRIBUTE)
    measured = Measured(
        schema=trained.schema,
        network=files.read_json(model / "model.json")["model"],
        origin=read_origin(run_id, tracking=where),
        champion=read_champion(tracking=where),
        num_catalog_images=catalogued.num_rows,
        splits=table,
        triplets=test_triplets,
        curve=files.read_csv(curve, schema=tables.TRAINING),
        store=pictures,
        attend=trained.attend,
        images=images,
        embeddings=embeddings,
        results=results,
        manipulation=manipulation,
        item_names=tables.item_names(catalogued, table, trained.schema),
        figures=figures,
    )
    with progress("drawing the report", total=len(results), unit="attributes") as advance:
        composed = compose(measured, splits=str(splits), on_progress=advance)
        files.write_text(render(composed), report_file)
    logged = {
        **metrics_of(figures, prefix="test"),
        **manipulation_metrics(figures["manipulation"], prefix="test"),
        **tag_metrics(figures["tags"], prefix="test"),
        "test/images_per_s": images_per_s,
        **landmark_metrics(figures, prefix="test"),
    }
    runs.log_metrics(logged, tracking=where, run_id=run_id)
    for file in (metrics, queries, report_file):
        runs.log_file(file, tracking=where, run_id=run_id)
    runs.link_artifact("report", report_file.name, tracking=where, run_id=run_id)
    recording.record_outputs(run, tracking=where, run_id=run_id)
    _print(figures)


def _print(figures: Mapping[str, Any]) -> None:
    console.print(
        f"test MAP {figures['map']:.2f}, random {figures['random_map']:.2f}, "
        f"gain {gain_text(figures)} %"
    )
    if unsure := not_above_random(figures):
        console.print(f"not above a random ranking: {', '.join(unsure)}", markup=False)
    if items := item_row(figures):
        console.print(f"items found: {hits_text(items)}")
    if landmarks := figures.get("landmarks"):
        console.print(f"landmarks found {landmarks_text(landmarks)}")
    console.print(f"attribute manipulation {manipulation_text(figures)}")
    for name, row in figures.get("growth", {}).items():
        console.print(growth_text(name, row), markup=False)
    if quantisation := figures.get("quantisation"):
        console.print(quantisation_text(quantisation), markup=False)


def _add_places(
    figures: dict[str, Any],
    trained: TrainedModel,
    pictures: ImageStore,
    images: pa.Table,
    *,
    catalog: Path,
    splits: pa.Table,
) -> None:
    """Adds how what the network looks at, cuts out and finds meets what the data set marks."""
    boxes, schema = tables.read_boxes(catalog), trained.schema
    regions = files.read_table(catalog / tables.REGIONS_FILE, schema=tables.REGIONS)
    of_split = labelled_regions(regions, splits, "test")
    shown = (pictures, of_split, images, boxes)
    add_attention(figures, attention_in_regions(trained.attend, *shown), schema)
    add_boxes(figures, boxes_in_regions(trained.locate, *shown), schema)
    marks, names = tables.read_landmarks(catalog), schema.landmarks
    landmarks = landmark_error(
        trained.find_landmarks,
        pictures,
        landmarks_in_square(marks, images, boxes, names, crop=pictures.crop),
        names=names,
        trained=held_out_images(splits, "train"),
        held_out=held_out_images(splits, "test"),
    )
    if landmarks:
        figures["landmarks"] = landmarks
