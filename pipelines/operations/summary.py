"""Operation `summary`: what the last run gave, and what to try next."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.embedding.embeddings import read_embeddings
from components.evaluation.figures import gain_text, not_above_random
from components.params import DataParams, load_section
from components.registry import versions
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, table


def summary(
    *,
    metrics: options.Metrics = options.EVALUATION,
    catalog: options.Catalog = options.CATALOG,
    queries: options.Queries = options.QUERIES,
    registration: options.Registration = options.REGISTRATION,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    params: options.Params = options.PARAMS,
) -> None:
    """Print MAP per attribute beside a random ranking, the model version, and three commands."""
    figures = files.read_json(metrics)
    version = versions.read_registration(registration)
    embedded = read_embeddings(embeddings)
    source = tables.read_catalog(catalog)
    scores = files.read_table(queries, schema=tables.QUERY_SCORES)
    attribute = max(
        (row for row in source.schema.attributes if row.name in figures["attributes"]),
        key=lambda row: len(row.values),
    ).name
    path = source.images["path"][median_query(scores, attribute)].as_py()
    image = Path(load_section(params, DataParams).root) / path
    rows = [
        (
            name,
            f"{row['map']:.2f}",
            f"{row['random_map']:.2f}",
            gain_text(row),
            str(row["num_queries"]),
        )
        for name, row in {**figures["attributes"], "all": figures}.items()
    ]
    columns = ("hemline", "random", "gain, %", "queries")
    maps = table("MAP on the test split, percent", ["attribute"], columns, rows=rows)
    maps.rows[-1].style = "bold"
    console.print(maps)
    if names := not_above_random(figures):
        console.print(f"not above a random ranking: {', '.join(names)}", markup=False)
    where = tracking(params)
    console.print(
        f"model       {version.uri} in {where.registry_address}\n"
        f"embeddings  {embeddings}/attribute=*/part-*.parquet, {embedded.num_images} images\n"
        f"\nTry next, after `. .venv/bin/activate`:\n"
        f"  hemline search --image {image} --attribute {attribute}\n"
        f"  mlflow ui --backend-store-uri {where.address}\n"
        f"  dvc exp run -S train.margin=0.3"
    )


def median_query(scores: pa.Table, attribute: str) -> int:
    """Returns the image of the query with median average precision: neither best nor worst."""
    alone = scores.filter(pc.field("attribute") == attribute).sort_by("average_precision")
    return int(alone["image"][alone.num_rows // 2].as_py())
