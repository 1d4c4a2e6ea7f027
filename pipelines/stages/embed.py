"""Stage `embed`: images and a registered model → embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Option

from components import tables
from components.embedding.embeddings import Embeddings, read_embeddings
from components.embedding.file_source import catalogued_boxes, list_files
from components.embedding.job import embed_all
from components.embedding.part_files import holds, numbered_images
from components.embedding.source import Source, stored_images
from components.errors import HemlineError
from components.params import DataParams, EmbedParams, load_section
from components.registry import promotion, versions
from components.tracking.runs import Tracking
from pipelines.shell import options
from pipelines.shell.environment import ray_session, shared_scratch, store_location, tracking
from pipelines.shell.reporting import console, notes, print_json, progress

Images = Annotated[
    str | None,
    Option(
        metavar="PATH|URL",
        help="Embed these instead of the catalog: a folder of images, or a manifest of them "
        "(.parquet or .csv with a column `path`), on disk or at any URL that fsspec reads.",
    ),
]
ModelUri = Annotated[
    str | None,
    Option(
        "--model", metavar="URI", help="Model to use instead, such as models:/hemline@champion."
    ),
]
Attributes = Annotated[
    list[str] | None, Option("--attribute", help="Embed for this attribute only; may be repeated.")
]


def embed(
    *,
    images: Images = None,
    catalog: options.Catalog = options.CATALOG,
    store: options.StoreAddress = str(options.STORE),
    model: ModelUri = None,
    registration: options.Registration = options.REGISTRATION,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    attribute: Attributes = None,
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Embed images for every attribute, in one pass over each image.

    Images that this model has already embedded are kept: after a kill, or after images were added,
    run it again to embed the rest. A version that was grown from another takes over the embeddings
    that both share.
    """
    where = tracking(params)
    version = versions.resolve(model, where) if model else versions.read_registration(registration)
    if images is None:
        catalogued = tables.read_catalog(catalog)
        source = stored_images(store_location(store), catalogued.images, catalogued.boxes)
    else:
        boxes = catalogued_boxes(catalog, Path(load_section(params, DataParams).root))
        source = list_files(images, numbered=numbered_images(embeddings), boxes=boxes)
        for what, number in source.passed_over.items():
            notes.print(f"passed over: {number} {what}", markup=False)
    embedded = embed_with(
        version,
        source,
        embeddings,
        attributes=attribute,
        graph_sha256=None if model else versions.registered_graph(registration),
        params=params,
        where=where,
    )
    if output_format == "json":
        print_json(
            {
                "model": version.uri,
                "embeddings": str(embeddings),
                "attributes": embedded.attributes,
                "num_images": embedded.num_images,
                "num_quarantined": embedded.num_quarantined,
                "passed_over": source.passed_over,
            }
        )
    else:
        console.print(embedded.summary())


def embed_with(
    version: versions.RegisteredVersion,
    source: Source,
    folder: Path,
    *,
    attributes: Sequence[str] | None = None,
    graph_sha256: str | None = None,
    earlier: Sequence[Path] = (),
    params: Path,
    where: Tracking,
) -> Embeddings:
    """Returns the embeddings of images by a registered version; those that exist are kept.

    Embeddings by versions that it was grown from are taken over as far as they are the same: those
    in `folder`, where these were published, and those in the folders `earlier`.

    Raises:
        HemlineError: the folder holds embeddings by another registry's version of the same number,
            or the version's graph is another one than that of the given SHA-256.
    """
    with shared_scratch() as scratch:  # actors on all nodes load the package
        package = versions.download(version, tracking=where, into=scratch)
        if graph_sha256 not in (None, package.graph_sha256):
            raise HemlineError(
                f"{version.uri} in {where.address} is another model than the one that this project "
                "registered: set MLFLOW_TRACKING_URI to the store that has it, or register it here "
                "with `dvc repro -f register`"
            )
        if load_section(params, EmbedParams).precision == "int8" and not package.quantised_crc32:
            notes.print(
                f"{version.uri} has no graph in 8-bit integers: embedding as embed.precision auto "
                "says",
                markup=False,
            )
        if holds(folder, model_name=version.name, model_version=version.version):
            read_embeddings(folder).check_model(
                package.graph_sha256, registry=where.registry_address
            )
        return embed_all(
            source,
            package,
            folder,
            model_name=version.name,
            model_version=version.version,
            attributes=attributes,
            earlier=[*promotion.published_folders(package.ancestors, where), *earlier],
            params=load_section(params, EmbedParams),
            ray_session=ray_session,
            progress=progress("embedding", total=len(source.items)),
        )
