"""Command-line options that several stages share."""

from pathlib import Path
from typing import Annotated

import typer

from components.tables import EVALUATION_FILE, QUERY_SCORES_FILE

Params = Annotated[Path, typer.Option(help="File with the run's parameters.")]
Data = Annotated[Path, typer.Option(help="The data set as it lies on disk.")]
Catalog = Annotated[Path, typer.Option(help="Folder of the catalog.")]
Store = Annotated[Path, typer.Option(help="Folder of the image store.")]
StoreAddress = Annotated[
    str, typer.Option(help="Folder of the image store, or the URL that it is published at.")
]
Splits = Annotated[Path, typer.Option(help="Folder of the splits.")]
Triplets = Annotated[Path, typer.Option(help="Folder of triplets and batches.")]
Model = Annotated[Path, typer.Option(help="Folder of the trained model.")]
Run = Annotated[Path, typer.Option(help="File that names the MLflow run.")]
Registration = Annotated[Path, typer.Option(help="File that names the registered version.")]
Embeddings = Annotated[Path, typer.Option(help="Folder of the embeddings.")]
EmbeddingsRoot = Annotated[
    Path, typer.Option(help="Where each champion's embeddings lie, in a folder of its own.")
]
Metrics = Annotated[Path, typer.Option(help="File of the evaluation's figures.")]
Queries = Annotated[Path, typer.Option(help="Parquet file of the scores of every test query.")]

PARAMS = Path("params.yaml")
CATALOG = Path("data/catalog")
STORE = Path("data/store")
SPLITS = Path("data/splits")
TRIPLETS = Path("data/triplets")
MODEL = Path("models/network")
RUN = Path("models/run.json")
REGISTRATION = Path("models/registration.json")
EMBEDDINGS = Path("data/embeddings")
EMBEDDINGS_ROOT = Path("data/published")
EVALUATION = Path("metrics") / EVALUATION_FILE
QUERIES = Path("data/evaluation") / QUERY_SCORES_FILE
REPORT = Path("reports/report.html")
