"""Versions of the model in MLflow's registry: what names them, and what they carry."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow.entities.model_registry import RegisteredModel

from components.errors import HemlineError
from components.files import read_json, write_json
from components.registry.package import Package, read_package
from components.tracking.runs import AbsentError, Tracking

CHALLENGER = "challenger"
CHAMPION = "champion"
GRAPH_TAG = "hemline.graph_sha256"  # of the network's file
EXTENDS_TAG = "hemline.extends"  # the version that it was grown from
UNCHANGED_TAG = "hemline.unchanged_sha256"  # of the embeddings that it shares with that version

_URI = re.compile(r"models:/(?P<name>[^/@']+)(?P<which>/[0-9]+|/latest|@[\w.-]+)")


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A version of the model in the registry."""

    name: str
    version: int

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}/{self.version}"


def resolve(uri: str, tracking: Tracking) -> RegisteredVersion:
    """Returns the version that a URI names now, such as `models:/hemline@champion` (an alias).

    Raises:
        HemlineError: the URI has another form, the registry has no such version, or does not
            answer.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        forms = (
            f"models:/{tracking.model_name}{which}" for which in ("@champion", "/3", "/latest")
        )
        raise HemlineError(f"{uri!r} names no version of a model; the forms are {', '.join(forms)}")
    known = _known_versions(parts["name"], tracking)
    if parts["which"] not in known:
        listed = ", ".join(f"models:/{parts['name']}{which}" for which in known)
        raise HemlineError(
            f"{uri} is not in the registry {tracking.registry_address}, which has "
            f"{listed or 'no version of ' + parts['name']}; set MLFLOW_TRACKING_URI to the store "
            "that has it, or register the trained network here: hemline register"
        )
    return RegisteredVersion(name=parts["name"], version=known[parts["which"]])


def _known_versions(name: str, tracking: Tracking) -> dict[str, int]:
    """Returns the versions of a model by how a URI may name them, such as "/3" and "@champion"."""
    found = tracking.client().search_model_versions(f"name='{name}'")
    if not found:
        return {}
    numbers = sorted(int(version.version) for version in found)
    aliases = tracking.client().get_registered_model(name).aliases
    return {
        **{f"/{number}": number for number in numbers},
        "/latest": numbers[-1],
        **{f"@{alias}": int(number) for alias, number in aliases.items()},
    }


def of_graph(name: str, sha256: str, tracking: Tracking) -> RegisteredVersion | None:
    """Returns the newest version of a model that has a graph; None where none was tagged with it.

    Raises:
        HemlineError: the store does not answer.
    """
    asked = f"name='{name}' and tags.`{GRAPH_TAG}`='{sha256}'"
    found = tracking.client().search_model_versions(asked)
    number = max((int(version.version) for version in found), default=None)
    return None if number is None else RegisteredVersion(name=name, version=number)


def aliases_of(version: RegisteredVersion, tracking: Tracking) -> list[str] | None:
    """Returns the aliases that point at a version; None where the registry does not have it.

    Raises:
        HemlineError: the store does not answer.
    """
    try:
        found = tracking.client().get_model_version(version.name, str(version.version))
    except AbsentError:
        return None
    return sorted(found.aliases)


def registered_model(tracking: Tracking) -> RegisteredModel | None:
    """Returns the project's model with its aliases and tags; None before its first version.

    Raises:
        HemlineError: the store does not answer.
    """
    try:
        return tracking.client().get_registered_model(tracking.model_name)
    except AbsentError:
        return None


def champion(tracking: Tracking) -> int | None:
    """Returns the number of the champion; None where there is none.

    Raises:
        HemlineError: the store does not answer.
    """
    model = registered_model(tracking)
    return None if model is None else champion_of(model)


def champion_of(model: RegisteredModel) -> int | None:
    """Returns the number of a model's champion; None where it has none."""
    number = model.aliases.get(CHAMPION)
    return None if number is None else int(number)


def read_tag(version: RegisteredVersion, name: str, *, tracking: Tracking) -> str | None:
    """Returns a tag of a version; None where it has no such tag.

    Raises:
        HemlineError: the registry has no such version, or does not answer.
    """
    try:
        found = tracking.client().get_model_version(version.name, str(version.version))
    except AbsentError:
        raise HemlineError(
            f"{version.uri} is not in the registry {tracking.registry_address}"
        ) from None
    tag: str | None = found.tags.get(name)
    return tag


def write_tag(version: RegisteredVersion, name: str, value: str, *, tracking: Tracking) -> None:
    """Sets a tag of a version."""
    tracking.client().set_model_version_tag(version.name, str(version.version), name, value)


def graph_sha256(version: RegisteredVersion, *, tracking: Tracking) -> str:
    """Returns the SHA-256 of a version's graph: its tag, or that of the file, which is fetched.

    A version of an older hemline has no such tag.

    Raises:
        HemlineError: the registry has no such version, or does not answer.
    """
    tag = read_tag(version, GRAPH_TAG, tracking=tracking)
    return tag or download(version, tracking=tracking).graph_sha256


def run_file(
    version: RegisteredVersion, name: str, folder: Path, *, tracking: Tracking
) -> Path | None:
    """Returns a copy, in a folder, of a file of the version's run; None where there is none.

    Raises:
        HemlineError: the store does not answer.
    """
    client = tracking.client()
    try:
        run_id = client.get_model_version(version.name, str(version.version)).run_id
        if not run_id or name not in {file.path for file in client.list_artifacts(run_id)}:
            return None
        return Path(client.download_artifacts(run_id, name, str(folder)))
    except AbsentError:  # the run was deleted
        return None


def download(
    version: RegisteredVersion, *, tracking: Tracking, into: Path | None = None
) -> Package:
    """Returns the package of a registered version, copied into a folder where one is named.

    Otherwise it stays in a store on this machine, and goes from another one to a temporary folder.

    Raises:
        HemlineError: the registry has no such version, its files are gone, or it does not answer.
    """
    try:
        found = tracking.download(version.uri, into, address=tracking.registry_address)
    except (AbsentError, OSError) as error:
        raise HemlineError(
            f"{version.uri} is not in the registry {tracking.registry_address} ({error}); set "
            "MLFLOW_TRACKING_URI to the store that has it, or register the trained network here: "
            "hemline register"
        ) from error
    return read_package(found / "artifacts")


def write_registration(
    version: RegisteredVersion, path: Path, *, graph_sha256: str | None = None
) -> None:
    """Writes a file that names the version, and its graph."""
    write_json({**asdict(version), "uri": version.uri, "graph_sha256": graph_sha256}, path)


def registered_graph(path: Path) -> str | None:
    """Returns the SHA-256 of the graph of the version that a file names; an older one lacks it."""
    digest: str | None = read_json(path).get("graph_sha256")
    return digest


def read_registration(path: Path) -> RegisteredVersion:
    """Returns the version that a file names."""
    content = read_json(path)
    return RegisteredVersion(name=content["name"], version=content["version"])
