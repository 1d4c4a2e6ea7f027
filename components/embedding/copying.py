"""An embedded catalogue's parts in another folder, and whether a catalogue is there in full."""

import shutil
from pathlib import Path

from components import files
from components.embedding.catalogue import MANIFEST, EmbeddedCatalogue, part_path, read_embedded
from components.embedding.part_files import is_whole, record_path
from components.errors import HemlineError


def copy_parts(catalogue: EmbeddedCatalogue, out: Path) -> None:
    """Copies the parts that `out` does not have yet; not the manifest, which the job writes.

    Each part's record is copied last, so that a run that was killed goes on where it stopped.
    """
    for part in catalogue.parts:
        if is_whole(out, part.key, attributes=catalogue.attributes):
            continue
        if part.num_images:
            for name in catalogue.attributes:
                _copy(catalogue.part_path(name, part), part_path(out, name, part.key))
        _copy(record_path(catalogue.folder, part.key), record_path(out, part.key))


def read_whole(folder: Path) -> EmbeddedCatalogue:
    """Returns the embedded catalogue in a folder, none of whose files is missing.

    Raises:
        HemlineError: there is none, or a file that its manifest names is gone.
    """
    catalogue = read_embedded(folder)
    for part in catalogue.parts:
        if not is_whole(folder, part.key, attributes=catalogue.attributes):
            raise HemlineError(f"{folder}: files of the part {part.key} are gone")
    return catalogue


def holds(folder: Path, *, model_name: str, model_version: int) -> bool:
    """Returns whether a folder's catalogue was embedded with a version, and all of it is there."""
    if not (folder / MANIFEST).exists():
        return False
    try:
        catalogue = read_whole(folder)
    except HemlineError:
        return False
    return (catalogue.model_name, catalogue.model_version) == (model_name, model_version)


def _copy(source: Path, target: Path) -> None:
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
