"""A package becomes a version: logged to its run, registered, and pointed at as challenger."""

import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version as version_of
from pathlib import Path

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array

from components.files import content_key, sha256, write_text
from components.images import decode
from components.registry import named_values, pt2
from components.registry.package import (
    NETWORK_FILE,
    PACKAGE_FILE,
    QUANTISED_FILE,
    QUANTISED_WEIGHTS_FILE,
)
from components.registry.versions import CHALLENGER, GRAPH_TAG, RegisteredVersion
from components.tables import PROTOTYPES_FILE, REPORT_FILE
from components.tracking.runs import Tracking, artifact_link, link_artifact

CARD_FILE = "model_card.md"

# what a consumer installs; the versions are those the model was exported with
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "simplejpeg",
    "torch",
)
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
_CODE = tuple(Path(str(each.__file__)) for each in (decode, pt2, named_values))  # what it imports
_KEY_TAG = "hemline.package"
_LONGEST_DESCRIPTION = 5000  # characters that MLflow's database keeps of a version


def register_package(
    package: Path,
    *,
    card: str,
    tracking: Tracking,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> RegisteredVersion:
    """Logs a package to its run, registers it, and points the alias `challenger` at it.

    It has the tags from the moment that it exists.

    Idempotent: a package that the run registered earlier, in a stage that was killed before it
    could say so, stays the version that it is. `promotion.py` makes champions of versions.

    `package` is a folder that `write_package` wrote, with or without prototypes; the card is put
    beside its files. It goes with the model, to the run, and into the version's description.

    Raises:
        HemlineError: the store does not answer.
    """
    write_text(card, package / CARD_FILE)
    key = _key(package)
    number = _registered_earlier(key, tracking=tracking, run_id=run_id)
    if number is None:
        number = _log(package, key, tags or {}, tracking=tracking, run_id=run_id)
    client, name = tracking.client(), tracking.model_name
    client.log_artifact(run_id, str(package / CARD_FILE))
    link_artifact("model card", CARD_FILE, tracking=tracking, run_id=run_id)
    text = _description(_links(tracking=tracking, run_id=run_id) + card)
    client.update_model_version(name, str(number), text)
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    return RegisteredVersion(name=name, version=number)


def _key(package: Path) -> str:
    """Returns a hash of all that a version is made of."""
    written = _files(package).values()
    return content_key({"requirements": _requirements()}, [*written, _SERVED_MODEL, *_CODE])


def _files(package: Path) -> dict[str, Path]:
    """Returns what a version holds of a package, by MLflow's names for its artifacts."""
    names = {
        "network": NETWORK_FILE,
        "package": PACKAGE_FILE,
        "card": CARD_FILE,
        "prototypes": PROTOTYPES_FILE,
        "quantised": QUANTISED_FILE,
        "quantised_weights": QUANTISED_WEIGHTS_FILE,
    }
    paths = {what: package / name for what, name in names.items()}
    return {what: path for what, path in paths.items() if path.exists()}


def _registered_earlier(key: str, *, tracking: Tracking, run_id: str) -> int | None:
    """Returns the number of the version that a run has of a package; None where it has none."""
    name = tracking.model_name
    found = tracking.client().search_model_versions(f"name='{name}' and run_id='{run_id}'")
    numbers = [int(version.version) for version in found if version.tags.get(_KEY_TAG) == key]
    return max(numbers, default=None)


def _log(
    package: Path, key: str, tags: Mapping[str, str], *, tracking: Tracking, run_id: str
) -> int:
    """Returns the number of a new version; it has its tags from the moment that it exists."""
    tracking.activate()
    # MLflow runs served_model.py once here, before these lie beside it in the package
    sys.modules.setdefault("decode", decode)
    sys.modules.setdefault("pt2", pt2)
    sys.modules.setdefault("named_values", named_values)
    with (
        tracking.answering(moves_files=True),
        mlflow.start_run(run_id=run_id),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "(?s).*input example")  # the signature is explicit
        info = mlflow.pyfunc.log_model(
            name=tracking.model_name.replace(".", "_"),  # MLflow takes no dot here
            python_model=str(_SERVED_MODEL),
            artifacts={what: str(path) for what, path in _files(package).items()},
            code_paths=[str(path) for path in _CODE],
            signature=_signature(),
            pip_requirements=_requirements(),
        )
        tags = {**tags, _KEY_TAG: key, GRAPH_TAG: sha256(package / NETWORK_FILE)}
        with tracking.answering(tracking.registry_address):
            registered = mlflow.register_model(info.model_uri, tracking.model_name, tags=tags)
    return int(registered.version)


def _links(*, tracking: Tracking, run_id: str) -> str:
    """Returns links to the run's report and card; none to a run of another server's pages."""
    if tracking.registry_uri is not None:
        return ""
    client = tracking.client()
    run, files = client.get_run(run_id), {file.path for file in client.list_artifacts(run_id)}
    listed = {"report": REPORT_FILE, "model card": CARD_FILE}
    links = [artifact_link(title, name, run) for title, name in listed.items() if name in files]
    return f"{' · '.join(links)}\n\n"


def _description(card: str) -> str:
    """Returns a card as a version's description; a longer one is cut at a line and says so."""
    if len(card) <= _LONGEST_DESCRIPTION:
        return card
    end = f"\n\nThe whole card is {CARD_FILE} among the version's artifacts.\n"
    head = card[: _LONGEST_DESCRIPTION - len(end)]
    return head[: head.rfind("\n")] + end


def _signature() -> ModelSignature:
    # Any: MLflow would decode a path as base64, refuse null, categories and Arrow's bytes, and make
    # the name "None" of null
    inputs = [ColSpec(AnyType(), "image"), ColSpec(AnyType(), "attribute", required=False)]
    outputs = [
        ColSpec("string", "attribute"),
        ColSpec(Array("float"), "embedding", required=False),
        *(
            ColSpec(kind, f"{which}{name}", required=False)
            for which in ("", "second_")
            for name, kind in (("value", "string"), ("confidence", "double"))
        ),
    ]
    return ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema(
            [
                ParamSpec("on_error", "string", "raise"),
                ParamSpec("encoding", "string", "list"),
                ParamSpec("values", "boolean", default=False),
            ]
        ),
    )


def _requirements() -> list[str]:
    return [f"{package}=={version_of(package)}" for package in _REQUIREMENTS]
