"""A version's embeddings of all images, in a folder of their own that its tag names."""

from pathlib import Path

from components import tables
from components.embedding.embeddings import read_embeddings
from components.embedding.part_files import copy_parts, holds, read_complete
from components.errors import HemlineError
from components.params import EmbedParams, load_section
from components.registry import promotion, versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.shell.environment import ray_session, shared_scratch, store_location
from pipelines.shell.reporting import console, progress


def publish(version: RegisteredVersion, inputs: Inputs, where: Tracking) -> None:
    """Embeds all images with a version, and records the folder in the version's tag.

    Images that the version has embedded already are kept; after a kill it resumes.
    """
    # torch, Ray and the image store take seconds to import, which only embedding needs
    from components.embedding.job import embed_all  # noqa: PLC0415
    from components.embedding.source import stored_images  # noqa: PLC0415

    folder = (inputs.embeddings_root / f"{version.name}-{version.version}").absolute()
    if holds(inputs.embeddings, model_name=version.name, model_version=version.version):
        copy_parts(read_embeddings(inputs.embeddings), folder)
    images = tables.read_catalog(inputs.catalog).images
    source = stored_images(store_location(inputs.store), images)
    with shared_scratch() as scratch:  # actors on all nodes load the package
        embedded = embed_all(
            source,
            versions.download(version, tracking=where, into=scratch),
            folder,
            model_name=version.name,
            model_version=version.version,
            params=load_section(inputs.params, EmbedParams),
            ray_session=ray_session,
            progress=progress("embedding", total=len(source.items)),
        )
    console.print(embedded.summary())
    versions.write_tag(version.version, promotion.EMBEDDINGS_TAG, str(folder), tracking=where)


def why_not_published(version: RegisteredVersion, where: Tracking) -> str | None:
    """Returns why the version's embeddings cannot be used; None where nothing is missing."""
    address = versions.read_tag(version.version, promotion.EMBEDDINGS_TAG, tracking=where)
    if address is None:
        return f"{version.uri} has no embeddings"
    try:
        embeddings = read_complete(Path(address))
    except HemlineError as error:
        return f"the embeddings of {version.uri} are gone ({error})"
    if embeddings.model_version != version.version:
        return f"{address} holds embeddings of version {embeddings.model_version}"
    return None
