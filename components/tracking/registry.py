"""The model registry: versions of `hemline` and the aliases that point at them."""

import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import Array

from components.errors import HemlineError
from components.files import read_json, write_json
from components.images import decode
from components.tracking.package import NETWORK_FILE, PACKAGE_FILE, Package, read_package
from components.tracking.runs import Tracking

MODEL_NAME = "hemline"
CHALLENGER = "challenger"
CHAMPION = "champion"

# what a consumer installs; the versions are those the model was exported with
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "pyarrow", "torch")


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A version of the model in the registry."""

    name: str
    version: int

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}/{self.version}"


def register(package: Path, *, tracking: Tracking, run_id: str) -> RegisteredVersion:
    """Logs a package to its run, registers it, and points the alias `challenger` at it.

    The alias `champion` is set too when nothing carries it yet.
    """
    tracking.activate()
    # MLflow runs served_model.py once here, before the decoder lies beside it in the package
    sys.modules.setdefault("decode", decode)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*input example")  # the signature is explicit
        info = mlflow.pyfunc.log_model(
            name=MODEL_NAME,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={
                "network": str(package / NETWORK_FILE),
                "package": str(package / PACKAGE_FILE),
            },
            code_paths=[decode.__file__],
            signature=_signature(),
            pip_requirements=_requirements(),
            registered_model_name=MODEL_NAME,
        )
    client = tracking.client()
    version = RegisteredVersion(name=MODEL_NAME, version=int(info.registered_model_version))
    client.set_registered_model_alias(MODEL_NAME, CHALLENGER, str(version.version))
    if not _has_alias(client, CHAMPION):
        client.set_registered_model_alias(MODEL_NAME, CHAMPION, str(version.version))
    return version


def write_registration(version: RegisteredVersion, path: Path) -> None:
    """Writes a file that names the version."""
    write_json({**asdict(version), "uri": version.uri}, path)


def read_registration(path: Path) -> RegisteredVersion:
    """Returns the version that a file names."""
    content = read_json(path)
    return RegisteredVersion(name=content["name"], version=content["version"])


def download(version: RegisteredVersion, *, tracking: Tracking) -> Package:
    """Returns the package of a registered version, fetched from the store where it is remote.

    Raises:
        HemlineError: the registry has no such version, or its files are gone.
    """
    tracking.activate()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri))
    except (MlflowException, OSError) as error:
        raise HemlineError(
            f"{version.uri} is not in the registry {tracking.uri} ({error}); "
            "set MLFLOW_TRACKING_URI to the store that has it, or run `dvc repro -f register`"
        ) from error
    return read_package(folder / "artifacts")


def _has_alias(client: MlflowClient, alias: str) -> bool:
    return alias in client.get_registered_model(MODEL_NAME).aliases


def _signature() -> ModelSignature:
    inputs = [ColSpec("binary", "image"), ColSpec("string", "attribute")]
    outputs = [ColSpec("string", "attribute"), ColSpec(Array("double"), "embedding")]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _requirements() -> list[str]:
    return [f"{package}=={version_of(package)}" for package in _REQUIREMENTS]
