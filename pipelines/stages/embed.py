"""Stage `embed`: images and a registered model → embeddings."""

from pathlib import Path
from typing import Annotated

import typer

from components import tables
from components.embedding.file_source import list_files
from components.embedding.job import embed_all
from components.embedding.part_files import numbered_images
from components.embedding.source import Source, stored_images
from components.params import EmbedParams, load_section
from components.registry import versions
from pipelines.shell import options
from pipelines.shell.environment import ray_session, shared_scratch, store_location, tracking
from pipelines.shell.reporting import console, progress

Images = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="Instead of catalog and store: a folder of images, or a manifest of them "
        "(.parquet or .csv with a column `path`), on disk or at any URL that fsspec reads.",
    ),
]
ModelUri = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="URI", help="Instead of a registration, e.g. models:/hemline@champion."
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="Embed for this attribute only; may be repeated."),
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
) -> None:
    """Embed images for every attribute, all attributes in one pass over the image.

    Images that this model has embedded already are kept: run it again after a kill, or when images
    were added, and it embeds what is left.
    """
    section = load_section(params, EmbedParams)
    where = tracking()
    version = (
        versions.resolve(model, tracking=where)
        if model
        else versions.read_registration(registration)
    )
    source = _source(images, catalog=catalog, store=store, embeddings=embeddings)
    with shared_scratch() as folder:  # actors on all nodes load the package
        embedded = embed_all(
            source,
            versions.download(version, tracking=where, into=folder),
            embeddings,
            model_name=version.name,
            model_version=version.version,
            attributes=attribute,
            params=section,
            ray_session=ray_session,
            progress=progress("embedding", total=len(source.items)),
        )
    console.print(embedded.summary())


def _source(images: str | None, *, catalog: Path, store: str, embeddings: Path) -> Source:
    if images is None:
        return stored_images(store_location(store), tables.read_catalog(catalog).images)
    return list_files(images, numbered=numbered_images(embeddings))
