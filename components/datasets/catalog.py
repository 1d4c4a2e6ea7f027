"""From a reader's labels to a catalog: images looked at, numbered, and the unusable quarantined."""

import hashlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from components import tables
from components.attributes import LONGEST_NAME, Attribute, AttributeSchema, nfc, too_long
from components.datasets.labelled import (
    Box,
    Label,
    LabelledImages,
    Region,
    Unusable,
    seen_values,
)
from components.datasets.places import places_in
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, image_size
from components.images.paths import file_inside, read_bytes, region_of
from components.tables import Catalog, Numbering

_MAX_NUM_VALUES = 2**15  # of an attribute that lists them


class _ImageFile(NamedTuple):
    path: str
    num_bytes: int
    sha256: str
    width: int
    height: int


def build_catalog(
    labelled: LabelledImages,
    root: Path,
    *,
    exclude_attributes: Collection[str],
    previous: Catalog | None = None,
) -> Catalog:
    """Returns the catalog of the data set in the folder `root`.

    Every image file is read once, for its hash and its header; pixels are decoded later. New
    images are numbered in the order in which the label file first names them. An image that is a
    region of a file has it as its box.

    Where a previous catalog is continued, its images and items keep their numbers and its values
    their positions; new ones come last. So do attributes, except those that no image has any more.
    A catalog of another data set (of another name, or without a common path) is not continued.

    Raises:
        HemlineError: an excluded attribute does not exist, no image is usable, or an attribute is
            left with a single value, has more than positions can count or a name that is too long.
    """
    labels = _without(labelled, exclude_attributes)
    paths = list(dict.fromkeys(label.path for label in labels))
    with ThreadPoolExecutor() as pool:  # hashing and reading release the interpreter's lock
        looked_at = list(pool.map(lambda path: _look_at(root, path), paths))
    usable_files = [entry for entry in looked_at if isinstance(entry, _ImageFile)]
    quarantine = [entry for entry in looked_at if not isinstance(entry, _ImageFile)]
    quarantine += labelled.unusable
    lost = f"; the first row in quarantine: {': '.join(quarantine[0])}" if quarantine else ""
    if not usable_files:
        found = "".join(f"; {what}: {number}" for what, number in labelled.left_out.items())
        found += lost
        raise HemlineError(
            f"{labelled.source}: none of {len(paths)} labelled images can be used{found}"
        )
    if previous:
        known = set(previous.images["path"].to_pylist())
        is_other = known.isdisjoint(file.path for file in usable_files)
        if is_other or previous.schema.dataset != labelled.dataset:
            previous = None
    number_of, numbering = _number(usable_files, previous)
    usable = [label for label in labels if label.path in number_of]
    items = _items(labelled, usable, previous)
    schema = _schema(labelled, usable, previous, items=items, lost=lost)
    triplets = _triplets_table(labelled, number_of=number_of, schema=schema)
    left_out = dict(labelled.left_out)
    if num_lost := sum(map(len, labelled.triplets.rows.values())) - triplets.num_rows:
        left_out["published triplets of images or attributes that are not used"] = num_lost
    images = sorted(
        (number_of[x.path], *x, labelled.groups.get(x.path), labelled.domains.get(x.path))
        for x in usable_files
    )
    size_of = {file.path: (file.width, file.height) for file in usable_files}
    named = [Box(path, *box) for path in number_of if (box := region_of(root / path)[1])]
    labelled = replace(labelled, boxes=[*named, *labelled.boxes])
    places = places_in(labelled, number_of=number_of, size_of=size_of, landmarks=schema.landmarks)
    left_out.update(places.left_out)
    return Catalog(
        schema=schema,
        numbering=numbering,
        images=_table(images, tables.IMAGES),
        labels=_labels_table(usable, number_of=number_of, schema=schema, items=items),
        triplets=triplets,
        regions=_regions_table(labelled.regions, number_of=number_of, schema=schema),
        boxes=_table(places.boxes, tables.BOXES),
        landmarks=_table(places.landmarks, tables.LANDMARKS),
        quarantine=tables.quarantine_table(quarantine),
        left_out=left_out,
    )


def _without(labelled: LabelledImages, excluded: Collection[str]) -> list[Label]:
    present = {label.attribute for label in labelled.labels}
    excluded = {*map(nfc, excluded)}
    if unknown := sorted(excluded - present):
        raise HemlineError(
            f"data.exclude_attributes: {labelled.source} has no attribute {unknown[0]!r}; "
            f"it has {', '.join(sorted(present))}"
        )
    return [label for label in labelled.labels if label.attribute not in excluded]


def _look_at(root: Path, path: str) -> _ImageFile | Unusable:
    try:
        data = read_bytes(file_inside(root, path))
        width, height = image_size(data)
    except UnreadableImageError as error:
        return path, error.reason, error.detail
    return _ImageFile(path, len(data), hashlib.sha256(data).hexdigest(), width, height)


def _number(
    files: Sequence[_ImageFile], previous: Catalog | None
) -> tuple[dict[str, int], Numbering]:
    if previous is None:
        contents = "\n".join(f"{file.sha256} {file.path}" for file in files)
        known, origin = {}, hashlib.sha256(contents.encode()).hexdigest()
        numbering = Numbering(origin=origin, next_image=0)
    else:
        rows = previous.images.select(["path", "image"]).to_pydict()
        known, numbering = dict(zip(*rows.values(), strict=True)), previous.numbering
    number_of = {file.path: known[file.path] for file in files if file.path in known}
    new = [file.path for file in files if file.path not in known]
    number_of |= {path: number for number, path in enumerate(new, start=numbering.next_image)}
    return number_of, replace(numbering, next_image=numbering.next_image + len(new))


def _items(
    labelled: LabelledImages, labels: Sequence[Label], previous: Catalog | None
) -> dict[str, int]:
    """Returns the number of every item by its name; new ones in the order of their labels."""
    before = (
        tables.item_names(previous.images, previous.labels, previous.schema) if previous else {}
    )
    items = {name: item for item, name in before.items()}
    next_item = _num_items(previous)
    for label in labels:
        if label.attribute == labelled.identity and label.value not in items:
            items[label.value] = next_item
            next_item += 1
    return items


def _num_items(catalog: Catalog | None) -> int:
    """Returns how many numbers the items of a catalog have had."""
    identity = catalog.schema.identity if catalog else None
    return catalog.schema.num_values[identity] if catalog and identity is not None else 0


def _schema(
    labelled: LabelledImages,
    labels: Sequence[Label],
    previous: Catalog | None,
    *,
    items: dict[str, int],
    lost: str,
) -> AttributeSchema:
    seen = seen_values(labels)
    before = {x.name: x.values for x in previous.schema.attributes} if previous else {}
    attributes = []
    for name in dict.fromkeys((*before, *labelled.values_of, *seen)):
        if name in seen and name == labelled.identity:
            _check_values(Attribute(name=name), seen[name], source=labelled.source, lost=lost)
            num_items = max(_num_items(previous), 1 + max(items.values()))
            attributes.append(Attribute(name=name, num_items=num_items))
        elif name in seen:
            values = (*before.get(name, ()), *labelled.values_of.get(name, ()), *seen[name])
            attribute = Attribute(name=name, values=tuple(dict.fromkeys(values)))
            _check_name(name, source=labelled.source)
            _check_values(attribute, seen[name], source=labelled.source, lost=lost)
            attributes.append(attribute)
    known = previous.schema.landmarks if previous else ()
    landmarks = dict.fromkeys((*known, *(landmark.name for landmark in labelled.landmarks)))
    return AttributeSchema(
        dataset=labelled.dataset, attributes=tuple(attributes), landmarks=tuple(landmarks)
    )


def _check_name(name: str, *, source: str) -> None:
    if too_long(name):
        raise HemlineError(
            f"{source}: the name of attribute {name!r} is too long: it becomes a metric in MLflow "
            "and a folder of embeddings, where what is no letter or digit of ASCII takes up to 12 "
            f"characters, and {LONGEST_NAME} are allowed; shorten it, or add it to "
            "data.exclude_attributes"
        )


def _check_values(attribute: Attribute, seen: Sequence[str], *, source: str, lost: str) -> None:
    if len(seen) == 1:
        raise HemlineError(
            f"{source}: attribute {attribute.name!r} has the single value {seen[0]!r}, "
            "so there is nothing to tell apart; add it to data.exclude_attributes or label other "
            f"values{lost}"
        )
    if len(attribute.values) > _MAX_NUM_VALUES:
        raise HemlineError(
            f"{source}: attribute {attribute.name!r} has {len(attribute.values)} values, at most "
            f"{_MAX_NUM_VALUES} are allowed; add it to data.exclude_attributes"
        )


def _labels_table(
    labels: Sequence[Label],
    *,
    number_of: dict[str, int],
    schema: AttributeSchema,
    items: dict[str, int],
) -> pa.Table:
    position = {
        (attribute.name, value): (a, v)
        for a, attribute in enumerate(schema.attributes)
        for v, value in enumerate(attribute.values)
    }
    if schema.identity is not None:
        name = schema.names[schema.identity]
        position |= {(name, item): (schema.identity, number) for item, number in items.items()}
    rows = [(number_of[x.path], *position[x.attribute, x.value], x.split, x.role) for x in labels]
    rows.sort(key=lambda row: row[:3])
    return _table(rows, tables.LABELS)


def _triplets_table(
    labelled: LabelledImages, *, number_of: dict[str, int], schema: AttributeSchema
) -> pa.Table:
    """Returns the published triplets whose three images are usable."""
    numbers = np.array([number_of.get(path, -1) for path in labelled.triplets.paths], np.int64)
    parts = []
    for (split, attribute), places in labelled.triplets.rows.items():
        if attribute not in schema.names:
            continue
        images = numbers[places]
        images = images[(images >= 0).all(axis=1)]
        columns = {
            "split": [split] * len(images),
            "attribute": np.full(len(images), schema.index(attribute)),
            **dict(zip(("anchor", "positive", "negative"), images.T, strict=True)),
        }
        parts.append(pa.table(columns).cast(tables.PUBLISHED_TRIPLETS))
    return pa.concat_tables([tables.PUBLISHED_TRIPLETS.empty_table(), *parts])


def _regions_table(
    regions: Sequence[Region], *, number_of: dict[str, int], schema: AttributeSchema
) -> pa.Table:
    """Returns the regions of usable images and attributes."""
    position = {name: index for index, name in enumerate(schema.names)}
    rows = [
        (number_of[path], position[attribute], *box)
        for path, attribute, *box in regions
        if path in number_of and attribute in position
    ]
    return _table(sorted(rows), tables.REGIONS)


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
