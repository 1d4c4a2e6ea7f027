"""Stage `embed`: images and a registered model → an embedded catalogue."""

from pathlib import Path
from typing import Annotated

import typer

from components import files, tables
from components.embedding.file_source import list_files
from components.embedding.job import Workers
from components.embedding.job import embed as embed_images
from components.embedding.making import Recipe, plan_parts
from components.embedding.part_files import numbered_images
from components.embedding.source import Source, stored_images
from components.params import EmbedParams, load_section
from components.registry import registry
from components.registry.package import NETWORK_FILE, Package
from components.registry.registry import RegisteredVersion
from pipelines.shell import options
from pipelines.shell.environment import ray_session, shared_scratch, store_location, tracking
from pipelines.shell.reporting import console, progress

Images = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="Instead of catalog and store: a folder of images, or a manifest of them "
        "(.parquet or .csv with a column `path`), on disk or wherever fsspec reads.",
    ),
]
ModelUri = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="URI", help="Instead of a registration: models:/hemline@champion or so."
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="Embed for this attribute alone; may be repeated."),
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

    What is there already, by the same model, is kept: run again after a kill or with new images, it
    does what is left.
    """
    section = load_section(params, EmbedParams)
    where = tracking()
    version = (
        registry.resolve(model, tracking=where)
        if model
        else registry.read_registration(registration)
    )
    source = _source(images, catalog=catalog, store=store, embeddings=embeddings)
    with shared_scratch() as folder:  # actors on all nodes load the package
        package = registry.download(version, tracking=where, into=folder)
        _embed(
            source, package, version=version, embeddings=embeddings, names=attribute, params=section
        )


def _embed(
    source: Source,
    package: Package,
    *,
    version: RegisteredVersion,
    embeddings: Path,
    names: list[str] | None,
    params: EmbedParams,
) -> None:
    names = names or package.schema.names
    recipe = Recipe(
        model_name=version.name,
        model_version=version.version,
        model_sha256=files.sha256(package.folder / NETWORK_FILE),
        image_size_px=package.image_size_px,
        attributes={name: package.schema.index(name) for name in names},
        precision=params.precision,
    )
    plans = plan_parts(source, embeddings, recipe=recipe, images_per_part=params.images_per_part)
    workers = Workers(
        num_workers=params.num_workers,
        cpus_per_worker=params.cpus_per_worker,
        gpus_per_worker=params.gpus_per_worker,
        batch_size_per_worker=params.batch_size_per_worker,
        num_readers=params.num_readers,
    )
    needed = not all(plan.is_done for plan in plans)
    with (
        ray_session(needed=needed, num_cpus=workers.num_cpus(source.reader)),
        progress("embedding", total=len(source.items)) as advance,
    ):
        embedded = embed_images(
            source,
            plans,
            embeddings,
            recipe=recipe,
            load_network=package.load_network,
            workers=workers,
            on_progress=advance,
        )
    console.print(
        f"{embedded.num_images} images for {len(names)} attributes by {version.uri} in {embeddings}"
    )
    if embedded.num_quarantined:
        console.print(
            f"{embedded.num_quarantined} could not be read: {embeddings / 'quarantine.parquet'}"
        )


def _source(images: str | None, *, catalog: Path, store: str, embeddings: Path) -> Source:
    if images is None:
        return stored_images(store_location(store), tables.read_catalog(catalog).images)
    return list_files(images, numbered=numbered_images(embeddings))
