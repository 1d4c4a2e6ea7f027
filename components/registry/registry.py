"""The model registry: versions of `hemline` and the aliases that point at them."""

import re
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from components.errors import HemlineError
from components.files import read_json, write_json, write_text
from components.images import decode
from components.provenance.provenance import run_key
from components.tracking.runs import Tracking

if TYPE_CHECKING:  # torch comes with packages, and most who ask the registry need none
    from mlflow.models import ModelSignature

    from components.registry.package import Package

MODEL_NAME = "hemline"
CHALLENGER = "challenger"
CHAMPION = "champion"
CARD_FILE = "model_card.md"

# what a consumer installs; the versions are those the model was exported with
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "pyarrow", "torch")
_URI = re.compile(r"models:/(?P<name>[^/@']+)(?P<which>/[0-9]+|/latest|@[\w.-]+)")
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
_KEY_TAG = "hemline.package"
_LONGEST_DESCRIPTION = 5000  # characters that MLflow's database keeps of a version


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A version of the model in the registry."""

    name: str
    version: int

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}/{self.version}"


def register(package: Path, *, card: str, tracking: Tracking, run_id: str) -> RegisteredVersion:
    """Logs a package to its run, registers it, and points the alias `challenger` at it.

    A run's package that was registered before, by a stage that was killed before it could say so,
    stays the version that it is. `promotion.py` makes champions of versions.

    Args:
        package: folder that `write_package` wrote; the card is put beside its files.
        card: the model card, which goes with the model, to the run, and into the description.
        tracking: store and registry.
        run_id: of the training run.
    """
    write_text(card, package / CARD_FILE)
    key = _key(package)
    number = _registered_before(key, tracking=tracking, run_id=run_id)
    if number is None:
        number = _log(package, key, tracking=tracking, run_id=run_id)
    client = tracking.client()
    client.log_artifact(run_id, str(package / CARD_FILE))
    version = RegisteredVersion(name=MODEL_NAME, version=number)
    client.update_model_version(MODEL_NAME, str(version.version), _description(card))
    client.set_registered_model_alias(MODEL_NAME, CHALLENGER, str(version.version))
    return version


def _key(package: Path) -> str:
    """Returns a hash of all that a version is made of."""
    from components.registry.package import NETWORK_FILE, PACKAGE_FILE  # noqa: PLC0415

    written = [package / name for name in (NETWORK_FILE, PACKAGE_FILE, CARD_FILE)]
    code = [_SERVED_MODEL, Path(decode.__file__)]
    return run_key({"requirements": _requirements()}, [*written, *code])


def _registered_before(key: str, *, tracking: Tracking, run_id: str) -> int | None:
    """Returns the number of the version that a run has of a package; None where it has none."""
    found = tracking.client().search_model_versions(f"name='{MODEL_NAME}' and run_id='{run_id}'")
    numbers = [int(version.version) for version in found if version.tags.get(_KEY_TAG) == key]
    return max(numbers, default=None)


def _log(package: Path, key: str, *, tracking: Tracking, run_id: str) -> int:
    """Returns the number of a new version; it has its key from the moment that it exists."""
    from components.registry.package import NETWORK_FILE, PACKAGE_FILE  # noqa: PLC0415

    tracking.activate()
    # MLflow runs served_model.py once here, before the decoder lies beside it in the package
    sys.modules.setdefault("decode", decode)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*input example")  # the signature is explicit
        info = mlflow.pyfunc.log_model(
            name=MODEL_NAME,
            python_model=str(_SERVED_MODEL),
            artifacts={
                "network": str(package / NETWORK_FILE),
                "package": str(package / PACKAGE_FILE),
                "card": str(package / CARD_FILE),
            },
            code_paths=[decode.__file__],
            signature=_signature(),
            pip_requirements=_requirements(),
        )
        registered = mlflow.register_model(info.model_uri, MODEL_NAME, tags={_KEY_TAG: key})
    return int(registered.version)


def resolve(uri: str, tracking: Tracking) -> RegisteredVersion:
    """Returns the version that a URI names now.

    Args:
        uri: `models:/hemline@champion` (an alias), `models:/hemline/3` or `models:/hemline/latest`.
        tracking: the registry.

    Raises:
        HemlineError: the URI has another form, the registry has no such version, or does not
            answer.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        forms = (f"models:/{MODEL_NAME}{which}" for which in ("@champion", "/3", "/latest"))
        raise HemlineError(f"{uri!r} names no version of a model; the forms are {', '.join(forms)}")
    known = _known_versions(parts["name"], tracking)
    if parts["which"] not in known:
        listed = ", ".join(f"models:/{parts['name']}{which}" for which in known)
        raise HemlineError(
            f"{uri} is not in the registry {tracking.address}, which has "
            f"{listed or 'no version of ' + parts['name']}; set MLFLOW_TRACKING_URI to the store "
            "that has it, or register one here: dvc repro register"
        )
    return RegisteredVersion(name=parts["name"], version=known[parts["which"]])


def write_registration(version: RegisteredVersion, path: Path) -> None:
    """Writes a file that names the version."""
    write_json({**asdict(version), "uri": version.uri}, path)


def read_registration(path: Path) -> RegisteredVersion:
    """Returns the version that a file names."""
    content = read_json(path)
    return RegisteredVersion(name=content["name"], version=content["version"])


def download(
    version: RegisteredVersion, *, tracking: Tracking, into: Path | None = None
) -> "Package":
    """Returns the package of a registered version.

    Args:
        version: of the model.
        tracking: the registry.
        into: folder that it is copied to; None: it stays in a store on this machine, and comes from
            another one into a temporary folder.

    Raises:
        HemlineError: the registry has no such version, or its files are gone.
    """
    from components.registry.package import read_package  # noqa: PLC0415

    tracking.activate()
    try:
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=version.uri, dst_path=str(into) if into else None
        )
    except (MlflowException, OSError) as error:
        raise HemlineError(
            f"{version.uri} is not in the registry {tracking.address} ({error}); "
            "set MLFLOW_TRACKING_URI to the store that has it, or run `dvc repro -f register`"
        ) from error
    return read_package(Path(found) / "artifacts")


def _known_versions(name: str, tracking: Tracking) -> dict[str, int]:
    """Returns the versions of a model by how a URI may name them, such as "/3" and "@champion"."""
    client = tracking.client()
    try:
        found = client.search_model_versions(f"name='{name}'")
        aliases = client.get_registered_model(name).aliases if found else {}
    except MlflowException as error:
        raise HemlineError(
            f"the MLflow store {tracking.address} does not answer: {error}"
        ) from error
    versions = sorted(int(version.version) for version in found)
    known = {f"/{version}": version for version in versions}
    if versions:
        known["/latest"] = versions[-1]
    return known | {f"@{alias}": int(version) for alias, version in aliases.items()}


def _description(card: str) -> str:
    """Returns a card as a version's description; a longer one is cut at a line and says so."""
    if len(card) <= _LONGEST_DESCRIPTION:
        return card
    end = f"\n\nThe whole card is {CARD_FILE} among the version's artifacts.\n"
    head = card[: _LONGEST_DESCRIPTION - len(end)]
    return head[: head.rfind("\n")] + end


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema  # noqa: PLC0415
    from mlflow.types.schema import Array  # noqa: PLC0415

    inputs = [ColSpec("binary", "image"), ColSpec("string", "attribute", required=False)]
    outputs = [ColSpec("string", "attribute"), ColSpec(Array("float"), "embedding", required=False)]
    return ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("on_error", "string", "raise")]),
    )


def _requirements() -> list[str]:
    return [f"{package}=={version_of(package)}" for package in _REQUIREMENTS]
