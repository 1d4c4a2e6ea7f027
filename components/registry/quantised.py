"""The folder of a trained network's graph in 8-bit integers, which may hold none."""

from pathlib import Path

from components import files
from components.errors import HemlineError
from components.registry.package import QUANTISED_FILE, QUANTISED_WEIGHTS_FILE

_ABOUT_FILE = "quantised.json"


def write_about(folder: Path, *, model: str | None) -> None:
    """Writes whose graph a folder holds, after the graph: `trained.identity`; None: nobody's."""
    folder.mkdir(parents=True, exist_ok=True)
    if model is None:
        for name in (QUANTISED_FILE, QUANTISED_WEIGHTS_FILE):
            (folder / name).unlink(missing_ok=True)
    files.write_sealed_json({"model": model}, folder / _ABOUT_FILE)


def quantised_graph(folder: Path, *, model: str) -> Path | None:
    """Returns the file of a model's graph in 8-bit integers; None where it has none.

    Raises:
        HemlineError: the folder holds another model's, or a file is damaged.
    """
    about = folder / _ABOUT_FILE
    remedy = files.dvc_remedy(about)
    made_of = files.read_json(about, remedy=remedy)["model"] if about.exists() else None
    if made_of is None:
        return None
    if made_of != model:
        raise HemlineError(
            f"{folder} is not of the model that was trained: `dvc repro quantise` makes it again"
        )
    return folder / QUANTISED_FILE
