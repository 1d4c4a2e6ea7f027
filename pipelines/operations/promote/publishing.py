"""A version's embeddings of all images, in a folder of their own that its tag names."""

from pathlib import Path

from components import tables
from components.embedding.embeddings import read_embeddings
from components.embedding.part_files import copy_parts, holds, read_complete
from components.errors import HemlineError
from components.registry import promotion, versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.shell.environment import store_location


def publish(version: RegisteredVersion, inputs: Inputs, where: Tracking) -> None:
    """Embeds all images with a version, and records the folder in the version's tag.

    Images that the version has already embedded are kept; after a kill it resumes.

    Raises:
        HemlineError: its folder, or the stage's, is by another registry's version of its number.
    """
    # torch, Ray and the image store take seconds to import, which only embedding needs
    from components.embedding.source import stored_images  # noqa: PLC0415
    from pipelines.stages.embed import embed_with  # noqa: PLC0415

    folder = (inputs.embeddings_root / f"{version.name}-{version.version}").absolute()
    if holds(inputs.embeddings, model_name=version.name, model_version=version.version):
        embedded = read_embeddings(inputs.embeddings)
        embedded.check_model(
            versions.download(version, tracking=where), registry=where.registry_address
        )
        copy_parts(embedded, folder)
    images = tables.read_catalog(inputs.catalog).images
    source = stored_images(store_location(inputs.store), images)
    embed_with(version, source, folder, params=inputs.params, where=where)
    versions.write_tag(version, promotion.EMBEDDINGS_TAG, str(folder), tracking=where)


def why_not_published(version: RegisteredVersion, where: Tracking) -> str | None:
    """Returns why the version's embeddings cannot be used; None where nothing is missing.

    Raises:
        HemlineError: they are by another registry's version of the same number.
    """
    address = versions.read_tag(version, promotion.EMBEDDINGS_TAG, tracking=where)
    if address is None:
        return f"{version.uri} has no embeddings"
    try:
        embeddings = read_complete(Path(address))
    except HemlineError as error:
        return f"the embeddings of {version.uri} are gone ({error})"
    if embeddings.model_version != version.version:
        return f"{address} holds embeddings of version {embeddings.model_version}"
    embeddings.check_model(
        versions.download(version, tracking=where), registry=where.registry_address
    )
    return None
