"""Operation `summary`: what the last run gave, and what to try next."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.embedding.embeddings import Embeddings, read_embeddings
from components.errors import HemlineError, command_line
from components.evaluation.figures import (
    gain_text,
    hits_text,
    item_row,
    manipulation_text,
    not_above_random,
)
from components.params import DataParams, load_section
from components.provenance import git
from components.registry import ancestry, versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.search.embedded import cached_package
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, print_json, table


def summary(
    *,
    metrics: options.Metrics = options.EVALUATION,
    catalog: options.Catalog = options.CATALOG,
    queries: options.Queries = options.QUERIES,
    registration: options.Registration = options.REGISTRATION,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Print MAP per attribute beside a random ranking, the model version, and what to try next."""
    figures = files.read_json(metrics)
    version = versions.read_registration(registration)
    embedded = read_embeddings(embeddings)
    where = tracking(params)
    source = tables.read_catalog(catalog)
    scores = files.read_table(queries, schema=tables.QUERY_SCORES)
    attribute = max(
        (row for row in source.schema.attributes if row.name in figures["attributes"]),
        key=lambda row: row.num_values,
    )
    asking = pc.field("image") == median_query(scores, attribute.name)
    (asked,) = source.images.filter(asking).to_pylist()
    image = Path(load_section(params, DataParams).root) / asked["path"]
    if output_format == "json":
        print_json(
            {
                "model": version.uri,
                "tracking_uri": where.address,
                "embeddings": str(embeddings),
                "num_images": embedded.num_images,
                "not_above_random": not_above_random(figures),
                "metrics": figures,
            }
        )
        return
    rows = [
        (
            name,
            f"{row['map']:.2f}",
            f"{row['random_map']:.2f}",
            gain_text(row),
            str(row["num_queries"]),
        )
        for name, row in [*figures["attributes"].items(), ("all", figures)]
    ]
    columns = ("hemline", "random", "gain, %", "queries")
    maps = table("MAP on the test split, percent", ["attribute"], columns, rows=rows)
    maps.rows[-1].style = "bold"
    console.print(maps)
    if names := not_above_random(figures):
        console.print(f"not above a random ranking: {', '.join(names)}", markup=False)
    if items := item_row(figures):
        console.print(f"items found   {hits_text(items)}")
    if "macro" in figures.get("manipulation", {}):
        console.print(f"manipulation  {manipulation_text(figures)}")
    shown, is_here = _model_here(version, embedded, where)
    console.print(f"model       {shown}", markup=False)
    console.print(f"embeddings  {embeddings}/vectors/*.parquet, {embedded.num_images} images")
    has_model = is_here or cached_package(embedded).exists()
    query = ("--image", image) if has_model and image.is_file() else ("--id", asked["path"])
    crosses = attribute.is_identity and asked["domain"] == "street"
    where_to = ("--where", "domain=shop") if crosses else ()
    proposals = [
        command_line("hemline", "search", *query, "--attribute", attribute.name, *where_to)
    ]
    if where.uri.startswith("sqlite:") and is_here:
        proposals.append(command_line("mlflow", "ui", "--backend-store-uri", where.uri))
    if _is_versioned():
        proposals.append("dvc exp run -S train.margin=0.3")
    activated = ", after `. .venv/bin/activate`" if Path(".venv/bin/activate").is_file() else ""
    console.print("\n  ".join([f"\nTry next{activated}:", *proposals]))


def _is_versioned() -> bool:
    """Returns whether DVC can run an experiment here: a project with a commit."""
    try:
        return Path(".dvc").is_dir() and git.find_head() is not None
    except HemlineError:  # said where a commit is needed
        return False


def _model_here(
    version: RegisteredVersion, embedded: Embeddings, where: Tracking
) -> tuple[str, bool]:
    """Returns what this registry has of the model that lies here, and whether it has it.

    A clone has the files that name a version, and perhaps not the store that it is in, or one that
    gave the number to another model.
    """
    place = where.registry_address
    remedy = (
        "`hemline register` registers the network that lies here, without training; or set "
        "MLFLOW_TRACKING_URI to the store that has it"
    )
    if not where.has_begun:
        return f"{version.uri} is in no store here ({place} does not exist): {remedy}", False
    try:
        here = versions.of_graph(embedded.model_name, embedded.model_sha256, where)
        aliases = versions.aliases_of(here or version, where)
        parent = None if here is None else ancestry.parent_of(here, tracking=where)
        is_another = (
            here is None
            and aliases is not None  # a version of an older hemline has no tag
            and versions.read_tag(version, versions.GRAPH_TAG, tracking=where) is not None
        )
    except HemlineError as error:
        return f"{version.uri}; whether the store has it is not known: {error}", False
    if aliases is None:
        return f"{version.uri} is not in {place}: {remedy}", False
    if is_another:
        return f"{version.uri} in {place} is another model: {remedy}", False
    named = f" ({', '.join(aliases)})" if aliases else ""
    extends = f", which extends {parent}" if parent else ""
    return f"{(here or version).uri}{named} in {place}{extends}", True


def median_query(scores: pa.Table, attribute: str) -> int:
    """Returns the image of the query with median average precision: neither best nor worst."""
    alone = scores.filter(pc.field("attribute") == attribute).sort_by("average_precision")
    return int(alone["image"][alone.num_rows // 2].as_py())
