"""Stage `embed`: the store and a registered model → the embedded catalogue."""

from components import tables
from components.params import EmbedParams, load_section
from components.retrieval.embed import EmbedderActors, embed_catalogue
from components.tracking import registry
from pipelines import options
from pipelines.environment import ray_session, store_location, tracking
from pipelines.reporting import progress


def embed(
    *,
    catalog: options.Catalog,
    store: options.StoreAddress,
    registration: options.Registration,
    embeddings: options.Embeddings,
    params: options.Params = options.PARAMS,
) -> None:
    """Embed every image for every attribute, all attributes in one pass over the image."""
    section = load_section(params, EmbedParams)
    version = registry.read_registration(registration)
    package = registry.download(version, tracking=tracking())
    images = tables.read_catalog(catalog).images
    with ray_session(), progress("embedding", total=images.num_rows) as advance:
        embed_catalogue(
            store_location(store),
            images,
            embeddings,
            schema=package.schema,
            load_network=package.load_network,
            model_name=version.name,
            model_version=version.version,
            actors=EmbedderActors(
                num_workers=section.num_workers,
                cpus_per_worker=section.cpus_per_worker,
                use_gpu=section.use_gpu,
                batch_size_per_worker=section.batch_size_per_worker,
            ),
            on_progress=advance,
        )
