"""What earlier embeddings hold of those to be made: whole files of parts, and rows of them.

Earlier are parts that are in the folder already, by the same model or by one that shares embeddings
with it, such as the version that it was grown from; and those of other folders.
"""

import filecmp
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import files, tables
from components.embedding.embeddings import (
    LAYOUT,
    Embeddings,
    check_file,
    part_path,
    read_embeddings,
)
from components.embedding.part_files import (
    Recipe,
    WholeFile,
    is_complete,
    link,
    read_record,
    record_path,
    written_checksums,
)
from components.errors import HemlineError


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Where vectors lie that a recipe would make again: in parts of a folder by these recipes.

    Attributes:
        folder: the folder.
        digests: those of the recipes.
        attributes: the attributes whose vectors are the same.
        layout: where the vectors lie.
    """

    folder: Path
    digests: Collection[str]
    attributes: tuple[str, ...]
    layout: int = LAYOUT


@dataclass(frozen=True, kw_only=True)
class HeldPart:
    """What an earlier part holds of a new one; h images have the content that they have there.

    Attributes:
        images: image and path of all rows that it has.
        images_h: their numbers, ascending.
        rows_h: the row of each.
        file_of: its files, by attribute.
    """

    images: pa.Table
    images_h: NDArray[np.int64]
    rows_h: NDArray[np.int64]
    file_of: dict[str, WholeFile]

    def has_just(self, images: pa.Table) -> bool:
        """Returns whether its rows are those of these images and paths, and their contents too."""
        return len(self.images_h) == len(images) and self.images.equals(images)

    def rows(self, attribute: str, images: NDArray[np.int64]) -> pa.Table:
        """Returns rows of an attribute as they are stored.

        Raises:
            HemlineError: the file is missing or damaged.
        """
        file = self.file_of[attribute]
        check_file(file.path, file.crc32)
        table = files.read_table(file.path, schema=None)
        return table.take(self.rows_h[np.searchsorted(self.images_h, images)])


def find_earlier(recipe: Recipe, out: Path, folders: Sequence[Path]) -> list[Earlier]:
    """Returns where vectors may lie that a recipe would make again: `out` first."""
    own = Earlier(folder=out, digests={recipe.digest}, attributes=tuple(recipe.attributes))
    found = [own]
    for folder in (out, *folders):
        embedded = embeddings_in(folder)
        if embedded is None:
            continue
        attributes = recipe.lineage.shared_with(embedded.lineage)
        digests = _digests(embedded, recipe)
        layout = embedded.layout
        if folder == out:
            digests, layout = digests - {recipe.digest}, LAYOUT  # by `take_older_layout`
        if attributes and digests:
            found.append(
                Earlier(folder=folder, digests=digests, attributes=attributes, layout=layout)
            )
    return found


def embeddings_in(folder: Path) -> Embeddings | None:
    """Returns the embeddings in a folder; None: there are none that this hemline can read."""
    try:
        return read_embeddings(folder)
    except HemlineError:
        return None


def _digests(embedded: Embeddings, recipe: Recipe) -> set[str]:
    """Returns what the recipe of embeddings may be, if all but the model is as in this one.

    The numbers of their attributes in their model's schema are not known. It has no others; or
    those that it has in common with this model have the numbers that they have here.
    """
    numberings = [{name: number for number, name in enumerate(embedded.attributes)}]
    if recipe.attributes.keys() >= {*embedded.attributes}:
        numberings.append({name: recipe.attributes[name] for name in embedded.attributes})
    made_with = replace(
        recipe,
        model_name=embedded.model_name,
        model_version=embedded.model_version,
        model_sha256=embedded.model_sha256,
    )
    return {replace(made_with, attributes=numbers).digest for numbers in numberings}


def held_earlier(items: pa.Table, key: str, earlier: Iterable[Earlier]) -> list[HeldPart]:
    """Returns what earlier parts of the same numbers hold of a new one.

    Args:
        items: images of the new part: `tables.EMBEDDED_ITEMS`.
        key: its key.
        earlier: where to look.
    """
    any_key = key.partition("-")[0] + "-*"
    return [
        held
        for each in earlier
        for path in sorted(each.folder.glob(str(record_path(Path(), any_key))))
        if (held := _held(path, items, each)) is not None
    ]


def _held(record: Path, items: pa.Table, earlier: Earlier) -> HeldPart | None:
    about = files.read_about(record, schema=tables.EMBEDDING_RECORD)
    if about.get("recipe") not in earlier.digests:
        return None
    key, folder = record.stem.removeprefix("part-"), earlier.folder
    table = read_record(folder, key)
    embedded = table.filter(pc.is_null(table["reason"]))
    rows_h = _same(embedded, items)
    crc32 = written_checksums(folder, key)
    paths = {
        name: part_path(folder, name, key, layout=earlier.layout) for name in earlier.attributes
    }
    return HeldPart(
        images=embedded.select(["image", "path"]),
        images_h=embedded["image"].to_numpy()[rows_h],
        rows_h=rows_h,
        file_of={
            name: WholeFile(path=path, crc32=crc32.get(name))
            for name, path in paths.items()
            if path.exists()
        },
    )


def _same(embedded: pa.Table, items: pa.Table) -> NDArray[np.int64]:
    """Returns the rows whose image is among the items, with the same content."""
    images, numbers = embedded["image"].to_numpy(), items["image"].to_numpy()
    places = np.minimum(np.searchsorted(numbers, images), len(numbers) - 1)
    contents = items["content"].take(places).fill_null("")
    is_same = pc.equal(embedded["content"].fill_null(""), contents).to_numpy()
    return np.flatnonzero((numbers[places] == images) & is_same)


def take_older_layout(folder: Path) -> None:
    """Makes the vectors of an older hemline lie where they lie now; the bytes are the same.

    They stay where its manifest says, too, until `remove_unnamed` follows another manifest.
    """
    for older in sorted(folder.glob("attribute=*/part-*.parquet")):
        attribute = unquote(older.parent.name.partition("=")[2])
        path = part_path(folder, attribute, older.stem.removeprefix("part-"))
        if not path.exists():
            link(older, path)


def take_parts(embeddings: Embeddings, out: Path, *, relatives: Iterable[Embeddings] = ()) -> None:
    """Makes `out` hold the parts that it lacks; not the manifest, which the job writes.

    Each part's record comes last, so that a run that was killed resumes where it stopped. Files
    that `relatives` have too, byte by byte, are taken from them: a version and one that was grown
    from it are published as the same files, whatever became of those in `embeddings`.

    Raises:
        HemlineError: a file is missing or damaged.
    """
    theirs = {
        (name, relative.written(path)): path
        for relative in relatives
        for name in relative.attributes
        for path in (relative.part_path(name, part.key) for part in relative.parts)
    }
    for part in embeddings.parts:
        if is_complete(out, part.key, attributes=embeddings.attributes):
            continue
        for name in embeddings.attributes if part.num_images else ():
            path = embeddings.part_path(name, part.key)
            other = theirs.get((name, embeddings.written(path)), path)
            embeddings.check(path)
            is_same = other.exists() and filecmp.cmp(path, other, shallow=False)
            link(other if is_same else path, part_path(out, name, part.key))
        record = record_path(embeddings.folder, part.key)
        embeddings.check(record)
        link(record, record_path(out, part.key))
