"""The version to grow, taken from the registry into the project, where the stages find it."""

import shutil
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import files
from components.errors import HemlineError
from components.networks import IMAGENET_PIXELS
from components.params import ModelParams, parse_value
from components.provenance.origin import read_origin, run_of
from components.registry import versions
from components.registry.graph import read_weights
from components.registry.package import NETWORK_FILE, PACKAGE_FILE, Package
from components.registry.versions import RegisteredVersion
from components.tables import PARENT_PACKAGE, PARENT_VERSION
from components.tracking.runs import Tracking
from components.training.trained import rebuild, save_weights, write_trained_model


def take_parent(version: RegisteredVersion, folder: Path, *, where: Tracking) -> None:
    """Writes a version into a new folder: `training/growth.py` says what lies there.

    Raises:
        HemlineError: the registry does not have the version or its files; or an older hemline
            registered it, and its run, whose params describe its network, is gone.
    """
    with TemporaryDirectory() as temporary:
        package = versions.download(version, tracking=where, into=Path(temporary) / "version")
        package.check()
        description = package.description or _description_of_run(package, version, where)
        weights = Path(temporary) / "weights"
        network = rebuild(description, package.schema, read_weights(package.folder / NETWORK_FILE))
        save_weights(network, weights)
        write_trained_model(
            folder,
            weights,
            description=description,
            schema=package.schema,
            image_size_px=package.image_size_px,
            crop=package.crop,
        )
        (folder / PARENT_PACKAGE).mkdir()
        for file in (package.folder / PACKAGE_FILE, *package.written_files()):
            shutil.copyfile(file, folder / PARENT_PACKAGE / file.name)
        versions.write_registration(
            version, folder / PARENT_VERSION, graph_sha256=package.graph_sha256
        )


def _description_of_run(
    package: Package, version: RegisteredVersion, where: Tracking
) -> dict[str, Any]:
    """Returns what the network of an older hemline's version can be built again from."""
    try:
        params = read_origin(run_of(version, tracking=where), tracking=where).params
        names = [field.name for field in fields(ModelParams)]
        model = {name: _parsed(params[key]) for name in names if (key := f"model.{name}") in params}
        if "name" not in model:
            raise HemlineError("it has no model.name")
    except HemlineError as error:
        raise HemlineError(
            f"{version.uri} cannot be grown: an older hemline registered it, which did not write "
            f"into it what its network is built from, and its run does not say so ({error})"
        ) from error
    pixels = files.read_json(package.folder / PACKAGE_FILE).get("pixel_statistics")
    statistics = pixels or IMAGENET_PIXELS._asdict()
    return {"model": {**model, "pixel_mean": statistics["mean"], "pixel_std": statistics["std"]}}


def _parsed(text: str) -> Any:
    """Returns the value of a run's param, which is the text that Python makes of it."""
    return None if text == str(None) else parse_value(text)
