"""The catalogue embedded with a version, in a folder of the version's own that it names."""

from dataclasses import dataclass
from pathlib import Path

from components.embedding.catalogue import read_embedded
from components.embedding.copying import copy_parts, holds, read_whole
from components.errors import HemlineError
from components.registry import promotion
from components.registry.registry import RegisteredVersion
from components.tracking.runs import Tracking


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a catalogue is embedded from, and where to.

    Attributes:
        catalog: folder of the catalog.
        store: folder or URL of the image store.
        embeddings: of the catalogue, by whatever version the stage `embed` took last.
        root: where the folders of the versions lie.
        params: the file with the section `embed`.
    """

    catalog: Path
    store: str
    embeddings: Path
    root: Path
    params: Path


def publish(version: RegisteredVersion, places: Places, where: Tracking) -> None:
    """Embeds the catalogue with a version, and lets the version's tag say where it lies.

    What lies embedded by it already is not embedded again. Killed, it goes on where it stopped.
    """
    from pipelines.stages.embed import embed  # noqa: PLC0415 - Ray and torch

    folder = (places.root / f"{version.name}-{version.version}").absolute()
    if holds(places.embeddings, model_name=version.name, model_version=version.version):
        copy_parts(read_embedded(places.embeddings), folder)
    embed(
        catalog=places.catalog,
        store=places.store,
        model=version.uri,
        embeddings=folder,
        params=places.params,
    )
    promotion.write_tag(version.version, promotion.EMBEDDINGS_TAG, str(folder), tracking=where)


def why_not_published(version: RegisteredVersion, where: Tracking) -> str | None:
    """Returns why the version's embeddings cannot be used; None where nothing is missing."""
    address = promotion.read_tag(version.version, promotion.EMBEDDINGS_TAG, tracking=where)
    if address is None:
        return f"{version.uri} has no embeddings"
    try:
        catalogue = read_whole(Path(address))
    except HemlineError as error:
        return f"the embeddings of {version.uri} are gone ({error})"
    if catalogue.model_version != version.version:
        return f"{address} holds embeddings of version {catalogue.model_version}"
    return None
