"""Command-line options that several stages share."""

from pathlib import Path
from typing import Annotated, Literal

from typer import BadParameter, Option

from components.tables import (
    EVALUATION_FILE,
    PROTOTYPES_FILE,
    QUERY_SCORES_FILE,
    REPORT_FILE,
)


def _made_in(folder: str) -> Path:
    if "://" in str(folder):  # of which a Path would make one of a folder `s3:`
        raise BadParameter(
            f"{folder} is a URL, and embeddings are made in a folder: `hemline promote "
            "--embeddings-root URL` publishes them at one"
        )
    return Path(folder)


Format = Annotated[
    Literal["table", "json"],
    Option("--format", help="What to print: for people, or one JSON document."),
]
Where = Annotated[
    list[str] | None,
    Option(
        metavar="CONDITION",
        help="Only items that meet a condition on a column or a label, such as 'width>=200' or "
        "'neckline_design=v'; may be repeated.",
    ),
]
AllItems = Annotated[bool, Option("--all-items", help="Include items without a label.")]
Params = Annotated[Path, Option(help="The params file.")]
Data = Annotated[
    Path | None, Option(help="Folder of the data set, if it is not data.root of the params.")
]
Catalog = Annotated[Path, Option(help="Folder of the catalog.")]
Store = Annotated[Path, Option(help="Folder of the image store.")]
StoreAddress = Annotated[str, Option(help="Folder or URL of the image store.")]
Splits = Annotated[Path, Option(help="Folder of the splits.")]
Triplets = Annotated[Path, Option(help="Folder of triplets and batches.")]
Model = Annotated[Path, Option(help="Folder of the trained model.")]
Parent = Annotated[Path, Option(help="Folder of the version that train.parent names.")]
PrototypesFile = Annotated[
    Path, Option("--prototypes", help="Parquet file with a vector of every value.")
]
Quantised = Annotated[Path, Option(help="Folder of the network's graph in 8-bit integers.")]
Run = Annotated[Path, Option(help="File that names the MLflow run.")]
Registration = Annotated[Path, Option(help="File that names the registered version.")]
Embeddings = Annotated[
    Path, Option(metavar="PATH", parser=_made_in, help="Folder of the embeddings.")
]
EmbeddingsAddress = Annotated[
    str, Option(metavar="PATH|URL", help="Folder or URL of the embeddings.")
]
EmbeddingsRoot = Annotated[
    str, Option(metavar="PATH|URL", help="Parent of all champions' embeddings, a folder or a URL.")
]
Neighbours = Annotated[Path, Option(help="Folder of every item's neighbours.")]
Tags = Annotated[Path, Option(help="Folder of every item's tags.")]
Metrics = Annotated[Path, Option(help="JSON file of the evaluation's metrics.")]
Queries = Annotated[Path, Option(help="Parquet file of the scores of every test query.")]

PARAMS = Path("params.yaml")
CATALOG = Path("data/catalog")
STORE = Path("data/store")
SPLITS = Path("data/splits")
TRIPLETS = Path("data/triplets")
MODEL = Path("models/network")
PARENT = Path("models/parent")
PROTOTYPES = Path("models") / PROTOTYPES_FILE
QUANTISED = Path("models/quantised")
RUN = Path("models/run.json")
REGISTRATION = Path("models/registration.json")
EMBEDDINGS = Path("data/embeddings")
EMBEDDINGS_ROOT = Path("data/published")
NEIGHBOURS = Path("data/neighbours")
TAGS = Path("data/tags")
EVALUATION = Path("metrics") / EVALUATION_FILE
QUERIES = Path("data/evaluation") / QUERY_SCORES_FILE
REPORT = Path("reports") / REPORT_FILE
