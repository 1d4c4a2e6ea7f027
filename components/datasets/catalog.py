"""From a reader's labels to a catalog: images looked at, numbered, and the unusable set apart."""

import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from components import tables
from components.datasets.fashionai import read_fashionai
from components.datasets.labelled import Label, LabelledImages
from components.datasets.table import read_table_format
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, image_size, read_bytes
from components.tables import Attribute, AttributeSchema, Catalog

READERS = {"fashionai": read_fashionai, "table": read_table_format}


class _ImageFile(NamedTuple):
    path: str
    num_bytes: int
    sha256: str
    width: int
    height: int


def read_labels(root: Path, *, data_format: str) -> LabelledImages:
    """Returns the labels of a data set on disk.

    Raises:
        HemlineError: the folder or its label file is missing or malformed.
    """
    if not root.is_dir():
        raise HemlineError(f"data.root: no folder {root}; `make demo` or `dvc pull` brings it")
    return READERS[data_format](root)


def build_catalog(
    labelled: LabelledImages, root: Path, *, exclude_attributes: Collection[str]
) -> Catalog:
    """Returns the catalog of a data set.

    Every image file is read once, for its hash and its header; pixels are decoded later. Images
    are numbered in the order in which the label file first names them.

    Raises:
        HemlineError: an excluded attribute does not exist, no image is usable, or an attribute is
            left with a single value.
    """
    labels = _without(labelled, exclude_attributes)
    paths = list(dict.fromkeys(label.path for label in labels))
    with ThreadPoolExecutor() as pool:  # hashing and reading release the interpreter's lock
        looked_at = list(pool.map(lambda path: _look_at(root, path), paths))
    files = [entry for entry in looked_at if isinstance(entry, _ImageFile)]
    quarantine = [entry for entry in looked_at if not isinstance(entry, _ImageFile)]
    if not files:
        found = f"; the first: {': '.join(quarantine[0])}" if quarantine else ""
        raise HemlineError(f"{labelled.source}: none of {len(paths)} images can be used{found}")
    number_of = {file.path: number for number, file in enumerate(files)}
    usable = [label for label in labels if label.path in number_of]
    schema = _schema(labelled, usable)
    return Catalog(
        schema=schema,
        images=_images_table(files),
        labels=_labels_table(usable, number_of=number_of, schema=schema),
        quarantine=tables.quarantine_table(quarantine),
    )


def _without(labelled: LabelledImages, excluded: Collection[str]) -> Sequence[Label]:
    present = {label.attribute for label in labelled.labels}
    unknown = sorted(set(excluded) - present)
    if unknown:
        raise HemlineError(
            f"data.exclude_attributes: {labelled.source} has no attribute {unknown[0]!r}; "
            f"it has {', '.join(sorted(present))}"
        )
    return [label for label in labelled.labels if label.attribute not in excluded]


def _look_at(root: Path, path: str) -> _ImageFile | tuple[str, str, str]:
    try:
        data = read_bytes(_inside(root, path))
        width, height = image_size(data)
    except UnreadableImageError as error:
        return path, error.reason, error.detail
    return _ImageFile(path, len(data), hashlib.sha256(data).hexdigest(), width, height)


def _inside(root: Path, path: str) -> Path:
    """Returns the file's path; refuses names and links that lead out of the data root."""
    try:
        resolved = Path(os.path.realpath(root / path))
        exists = resolved.exists()
    except (OSError, ValueError) as error:  # it is too long, or has a NUL in it
        raise UnreadableImageError("missing", "no file can have this name") from error
    if not resolved.is_relative_to(os.path.realpath(root)):
        raise UnreadableImageError("outside_root", "the path leads out of data.root")
    if not exists:
        raise UnreadableImageError("missing", "no such file")
    if not resolved.is_file():
        raise UnreadableImageError("not_a_file", "not a regular file")
    return resolved


def _schema(labelled: LabelledImages, labels: Sequence[Label]) -> AttributeSchema:
    seen: dict[str, set[str]] = {}
    for label in labels:
        seen.setdefault(label.attribute, set()).add(label.value)
    for attribute, values in seen.items():
        if len(values) == 1:
            raise HemlineError(
                f"{labelled.source}: attribute {attribute!r} has the single value "
                f"{next(iter(values))!r}, so there is nothing to tell apart; "
                "add it to data.exclude_attributes or label other values"
            )
    published = [name for name in labelled.values_of if name in seen]
    attributes = [
        Attribute(name=name, values=tuple(labelled.values_of.get(name) or sorted(seen[name])))
        for name in published or seen
    ]
    return AttributeSchema(dataset=labelled.dataset, attributes=tuple(attributes))


def _images_table(files: Sequence[_ImageFile]) -> pa.Table:
    path, num_bytes, sha256, width, height = zip(*files, strict=True)
    columns = [range(len(files)), path, num_bytes, sha256, width, height, [None] * len(files)]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, tables.IMAGES, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=tables.IMAGES)


def _labels_table(
    labels: Sequence[Label], *, number_of: dict[str, int], schema: AttributeSchema
) -> pa.Table:
    position = {
        (attribute.name, value): (a, v)
        for a, attribute in enumerate(schema.attributes)
        for v, value in enumerate(attribute.values)
    }
    rows = sorted({(number_of[x.path], *position[x.attribute, x.value]) for x in labels})
    image, attribute, value = zip(*rows, strict=True)
    return pa.table([image, attribute, value], names=tables.LABELS.names).cast(tables.LABELS)
