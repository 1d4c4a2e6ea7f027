"""Operation `publish`: a version goes to another MLflow store."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from components.credentials import without_credentials
from components.errors import HemlineError
from components.registry.copying import copy_version
from components.registry.versions import resolve
from components.tracking.runs import Tracking, log_in
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, print_json

Model = Annotated[str, Argument(help="Such as models:/hemline/3, of this project's registry.")]
To = Annotated[str, Option(help="URI of the other store: http(s)://… or sqlite:///….")]


def publish(
    *,
    model: Model,
    to: To,
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Copy a version, with its run, to another MLflow store; its aliases stay here.

    A model that the other store has is not registered again.
    """
    where = tracking(params)
    version = resolve(model, where)
    other = _store(to, where)
    copied = copy_version(version, where, other)
    if output_format == "json":
        print_json(
            {
                "model": version.uri,
                "store": other.registry_address,
                "published": copied.version.uri,
                "was_there": copied.was_there,
            }
        )
        return
    console.print(
        f"{other.address} {'has' if copied.was_there else 'now has'} {version.uri} as "
        f"{copied.version.uri}"
    )


def _store(uri: str, where: Tracking) -> Tracking:
    """Returns the other store: runs and versions, experiment and model named as here.

    Raises:
        HemlineError: it is no store, this one, or needs another login.
    """
    if not uri.startswith(("http://", "https://", "sqlite:///")):
        raise HemlineError(
            f"--to {without_credentials(uri)} is no MLflow store: it starts with http://, https:// "
            "or sqlite:///"
        )
    both = replace(where, registry_uri=uri)  # refuses two logins, of which MLflow can use one
    bare = log_in(uri)
    if bare.rstrip("/") in {(where.registry_uri or where.uri).rstrip("/"), where.uri.rstrip("/")}:
        raise HemlineError(f"--to {both.registry_address} is the store that has the version")
    folder = Path(uri.removeprefix("sqlite:///")).absolute().parent
    return replace(
        where,
        uri=bare,
        registry_uri=None,
        experiment_id=None,
        experiment=where.experiment or Tracking.experiment,
        artifact_root=str(folder / "mlartifacts"),
    )
