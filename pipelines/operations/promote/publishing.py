"""A version's embeddings of all images, in a folder or at a URL of their own that its tag names."""

import shutil
from pathlib import Path

from components import tables
from components.embedding.earlier import embeddings_in, take_parts
from components.embedding.embeddings import read_embeddings
from components.embedding.part_files import holds, read_complete
from components.embedding.remote_embeddings import (
    check_published,
    check_url,
    fetch_embeddings,
    is_url,
    publish_embeddings,
)
from components.errors import HemlineError
from components.images.remote_store import UnreachableError, copy_name
from components.registry import promotion, versions
from components.registry.versions import RegisteredVersion
from components.search.index_paths import take_indexes
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.shell.environment import cache_folder, store_location
from pipelines.shell.reporting import notes


def publish(version: RegisteredVersion, inputs: Inputs, where: Tracking) -> None:
    """Embeds all images with a version, and records where the embeddings are in the version's tag.

    Images that the version has already embedded are kept; after a kill it resumes. What a version
    has embedded that it was grown from is taken over, and indexes of it with it. For a URL they are
    made in this machine's cache, and then published.

    Raises:
        HemlineError: its folder, or the stage's, is by another registry's version of its number, or
            the URL cannot be written.
    """
    # torch, Ray and the image store take seconds to import, which only embedding needs
    from components.embedding.source import stored_images  # noqa: PLC0415
    from pipelines.stages.embed import embed_with  # noqa: PLC0415

    name = f"{version.name}-{version.version}"
    if is_url(inputs.embeddings_root):
        address = f"{inputs.embeddings_root.rstrip('/')}/{name}"
        check_url(address)
        folder = cache_folder() / "publishing" / copy_name(address)
    else:
        folder = (Path(inputs.embeddings_root) / name).absolute()
        address = str(folder)
    if holds(inputs.embeddings, model_name=version.name, model_version=version.version):
        embedded = read_embeddings(inputs.embeddings)
        graph_sha256 = versions.graph_sha256(version, tracking=where)
        embedded.check_model(graph_sha256, registry=where.registry_address)
        published = promotion.published_folders(embedded.ancestors, where)
        take_parts(embedded, folder, relatives=filter(None, map(embeddings_in, published)))
    catalog = tables.read_catalog(inputs.catalog)
    source = stored_images(store_location(inputs.store), catalog.images, catalog.boxes)
    embedded = embed_with(
        version,
        source,
        folder,
        earlier=[inputs.embeddings],
        params=inputs.params,
        where=where,
    )
    notes.print(embedded.summary())
    if is_url(address):
        publish_embeddings(embedded, address)
        shutil.rmtree(folder)
    else:
        published = promotion.published_folders(embedded.ancestors, where)
        for other in filter(None, map(embeddings_in, [*published, inputs.embeddings])):
            take_indexes(embedded, other)
    versions.write_tag(version, promotion.EMBEDDINGS_TAG, address, tracking=where)


def why_not_published(version: RegisteredVersion, where: Tracking) -> str | None:
    """Returns why the version's embeddings cannot be used; None where nothing is missing.

    Raises:
        HemlineError: they are by another registry's version of the same number, or at a URL that
            cannot be read now.
    """
    address = versions.read_tag(version, promotion.EMBEDDINGS_TAG, tracking=where)
    if address is None:
        return f"{version.uri} has no embeddings"
    try:
        if is_url(address):
            check_published(address)
            folder = fetch_embeddings(address, cache_folder())
        else:
            folder = Path(address)
        embeddings = read_complete(folder)
    except UnreachableError:
        raise
    except HemlineError as error:
        return f"the embeddings of {version.uri} are gone ({error})"
    if embeddings.model_version != version.version:
        return f"{address} holds embeddings of version {embeddings.model_version}"
    graph_sha256 = versions.graph_sha256(version, tracking=where)
    embeddings.check_model(graph_sha256, registry=where.registry_address)
    return None
