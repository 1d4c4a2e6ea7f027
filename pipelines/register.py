"""Stage `register`: the trained network → a version in the model registry."""

from pathlib import Path
from tempfile import TemporaryDirectory

from components.tracking import registry, runs
from components.tracking.package import write_package
from components.training.trained import read_trained_model
from pipelines import options
from pipelines.environment import tracking
from pipelines.reporting import console


def register(*, model: options.Model, run: options.Run, registration: options.Registration) -> None:
    """Export the network, log it to its run, and register it as challenger."""
    where = tracking()
    run_id = runs.read_run(run, where)
    trained = read_trained_model(model)
    with TemporaryDirectory() as folder:
        write_package(
            trained.network,
            Path(folder),
            schema=trained.schema,
            image_size_px=trained.image_size_px,
        )
        version = registry.register(Path(folder), tracking=where, run_id=run_id)
    registry.write_registration(version, registration)
    console.print(f"registered {version.uri} as {registry.CHALLENGER}")
