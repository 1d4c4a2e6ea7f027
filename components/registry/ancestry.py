"""What a version was grown from, told by the graphs of versions: numbers differ between stores."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from components.errors import HemlineError
from components.registry import versions
from components.registry.package import PACKAGE_FILE, Ancestor, Package, read_package
from components.registry.versions import EXTENDS_TAG, UNCHANGED_TAG, RegisteredVersion
from components.tracking.runs import AbsentError, Tracking


def described(version: RegisteredVersion, *, tracking: Tracking) -> Package:
    """Returns what a version's package says of itself; its network is not fetched.

    Raises:
        HemlineError: the registry has no such version, or does not answer.
    """
    with TemporaryDirectory() as folder:
        uri = f"{version.uri}/artifacts/{PACKAGE_FILE}"
        try:
            found = tracking.download(uri, Path(folder), address=tracking.registry_address)
        except (AbsentError, OSError) as error:
            raise HemlineError(
                f"{version.uri} in the registry {tracking.registry_address} lacks its "
                f"{PACKAGE_FILE} ({error})"
            ) from error
        return read_package(found.parent)


def ancestors(version: RegisteredVersion, *, tracking: Tracking) -> tuple[Ancestor, ...]:
    """Returns the versions that a version was grown from, nearest first.

    None without the tag of what was proved when it was registered: that it has their embeddings.

    Raises:
        HemlineError: the registry has no such version, or does not answer.
    """
    if versions.read_tag(version, UNCHANGED_TAG, tracking=tracking) is None:
        return ()
    return described(version, tracking=tracking).ancestors


def shared_attributes(
    version: RegisteredVersion, earlier: RegisteredVersion, *, tracking: Tracking
) -> tuple[str, ...]:
    """Returns the attributes of which a version has an earlier one's embeddings, bit for bit.

    None unless it was grown from that one, directly or by way of others.

    Raises:
        HemlineError: the registry lacks one of them, or does not answer.
    """
    grown_from = ancestors(version, tracking=tracking)
    if not grown_from:
        return ()
    graph = versions.graph_sha256(earlier, tracking=tracking)
    return next((each.attributes for each in grown_from if each.graph_sha256 == graph), ())


def parent_of(version: RegisteredVersion, *, tracking: Tracking) -> str | None:
    """Returns the URI of the version that a version extends, as people read it; None: of none.

    The tag has the number of the store where it was grown; the graph tells which one it is here.

    Raises:
        HemlineError: the registry has no such version, or does not answer.
    """
    tag = versions.read_tag(version, EXTENDS_TAG, tracking=tracking)
    if tag is None:
        return None
    here = parent_here(described(version, tracking=tracking).ancestors, tracking=tracking)
    return f"{tag} of another registry" if here is None else here.uri


def parent_here(grown_from: Sequence[Ancestor], *, tracking: Tracking) -> RegisteredVersion | None:
    """Returns the nearest of a version's ancestors as this registry has it; None: it has it not."""
    for nearest in grown_from[:1]:
        return versions.of_graph(nearest.name, nearest.graph_sha256, tracking)
    return None
