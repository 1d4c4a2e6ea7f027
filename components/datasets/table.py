"""Reader of a user's own pictures: a folder with a table of labels, `labels.csv` or `.parquet`.

Long form, a row per label:                Wide form, a row per image, a column per attribute:

    image,attribute,value                      image,neckline,colour
    a.jpg,neckline,round                       a.jpg,round,red|white
    a.jpg,colour,red                           b.jpg,,blue

`image` is a path relative to the folder `images` beside the table where there is one, and to the
data root otherwise. An empty cell is no label; in the wide form, `|` (in Parquet: a list) separates
several values. Both forms may have the columns split (train, valid, test), role (query, gallery)
and either group (what an image belongs to) or item (the product that it shows, which can be asked
for), and further domain (street, shop) and those of `table_places.py`. Several rows of an image may
say the same of it, and must agree. A cell that is empty, null or nan says nothing; all other texts
are as written.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from components.datasets.labelled import Box, Label, LabelledImages, Landmark
from components.datasets.table_file import TextRow, read_columns, read_rows, said, text_in
from components.datasets.table_places import PlaceColumns, place_columns
from components.errors import HemlineError

LABELS_FILES = ("labels.csv", "labels.parquet")
SPLIT_OF = {x: x for x in ("train", "valid", "test")} | {"val": "valid", "validation": "valid"}
ROLE_OF = {"train": None, "query": "query", "gallery": "gallery", "candidate": "gallery"}

_FORMS = "A row per label needs image,attribute,value, a row per image a column per attribute"
_LONG = ("attribute", "value")
ITEM = "item"
DOMAIN_OF = {"street": "street", "shop": "shop"}
_OPTIONAL = ("split", "role", "group", ITEM, "domain")

T = TypeVar("T")


class _LabelledRow(NamedTuple):
    """A row of the table; in `pairs` of attribute and value, a missing attribute is empty."""

    place: str
    image: str
    split: str | None
    role: str | None
    group: str
    pairs: list[tuple[str, str]]
    domain: str | None
    box: Box | None
    landmarks: Mapping[str, Landmark]


def read_table_format(root: Path) -> LabelledImages:
    """Returns the labels in `root/labels.csv` or `root/labels.parquet`.

    Rows without a value are counted: missing labels are no fault of their images. Rows of the long
    form with a value of no attribute are quarantined; its columns that mean nothing are counted.

    Raises:
        HemlineError: no table is there or two are, it is damaged or lacks a column or has group and
            item, a row has no image, an unknown word or what is no number, or two rows contradict
            each other.
    """
    path = _labels_file(root)
    columns = read_columns(path)
    places = place_columns(columns, path=path)
    optional = [name for name in (*_OPTIONAL, *places.names) if name in columns]
    attributes = _attribute_columns(columns, optional, path=path)
    used = ["image", *(_LONG if attributes is None else attributes), *optional]
    unread = [name or "without a name" for name in columns if name not in used]
    folder = "images" if (root / "images").is_dir() else ""
    rows = list(_labelled_rows(path, used, attributes=attributes, places=places, folder=folder))
    group = ITEM if ITEM in columns else "group"
    return LabelledImages(
        dataset=root.resolve().name,
        labels=[
            Label(row.image, attribute, value, row.split, row.role)
            for row in rows
            for attribute, value in row.pairs
            if attribute
        ],
        source=str(path),
        groups=_agreed(((row, row.group or None) for row in rows), what=group, path=path),
        identity=ITEM if group == ITEM else None,
        domains=_agreed(((row, row.domain) for row in rows), what="domain", path=path),
        boxes=[*_agreed(((row, row.box) for row in rows), what="box", path=path).values()],
        landmarks=[
            landmark
            for name in places.landmarks
            for landmark in _agreed(
                ((row, row.landmarks.get(name)) for row in rows), what=name, path=path
            ).values()
        ],
        unusable=[
            (row.image, "unknown_attribute", f"{path.name} {row.place}: no attribute")
            for row in rows
            for attribute, _ in row.pairs
            if not attribute
        ],
        left_out={
            "rows without a label": sum(not row.pairs for row in rows),
            f"columns that are not read ({', '.join(unread)})": len(unread),
        },
    )


def _labels_file(root: Path) -> Path:
    found = [path for name in LABELS_FILES if (path := root / name).is_file()]
    if not found:
        raise HemlineError(
            f"{root / LABELS_FILES[0]} is missing: data.format table needs labels.csv or "
            "labels.parquet under data.root, with the columns image,attribute,value or with image "
            "and a column per attribute"
        )
    if len(found) > 1:
        raise HemlineError(f"{root} has {' and '.join(LABELS_FILES)}; remove one of them")
    return found[0]


def _attribute_columns(
    columns: Sequence[str], optional: Sequence[str], *, path: Path
) -> list[str] | None:
    """Returns the columns of the wide form that are attributes; None in the long form."""
    shown = f"there are {', '.join(columns) or 'none'}"
    if "image" not in columns:
        raise HemlineError(f"{path}: column image is missing; {shown}")
    missing = [name for name in _LONG if name not in columns]
    if {"group", ITEM} <= {*columns}:
        raise HemlineError(
            f"{path} has the columns group and item, and an image's item is its group: keep one"
        )
    if not missing:
        return None
    if len(missing) == 1:
        raise HemlineError(
            f"{path}: column {missing[0]} is missing; {shown}. {_FORMS}, of other names"
        )
    attributes = [name for name in columns if name not in ("image", *optional)]
    if not attributes and ITEM not in columns:
        raise HemlineError(f"{path}: no column of an attribute; {shown}. {_FORMS}")
    if "" in attributes:
        raise HemlineError(
            f"{path}: column {columns.index('') + 1} has no name; name or remove it (pandas writes "
            "its index so, unless given index=False)"
        )
    return attributes


def _labelled_rows(
    path: Path,
    used: Sequence[str],
    *,
    attributes: Sequence[str] | None,
    places: PlaceColumns,
    folder: str,
) -> Iterator[_LabelledRow]:
    for place, row in read_rows(path, used):
        where = f"{path} {place}"
        image = text_in(row, "image", where=where)
        if not image:
            raise HemlineError(f"{where}: column image is empty; every row needs an image's path")
        image = posixpath.normpath(posixpath.join(folder, image))
        item = text_in(row, ITEM, where=where)
        pairs = _pairs(row, attributes, where=where, is_csv=path.suffix == ".csv")
        if ITEM in used and ITEM in dict(pairs):
            raise HemlineError(f"{where}: attribute item beside the column item; keep one")
        yield _LabelledRow(
            place=place,
            image=image,
            split=_word(row, "split", SPLIT_OF, where=where),
            role=_word(row, "role", ROLE_OF, where=where),
            group=item or text_in(row, "group", where=where),
            pairs=[(ITEM, item), *pairs] if item else pairs,
            domain=_word(row, "domain", DOMAIN_OF, where=where),
            box=places.box(row, image, where=where),
            landmarks=places.points(row, image, where=where),
        )


def _pairs(
    row: TextRow, attributes: Sequence[str] | None, *, where: str, is_csv: bool
) -> list[tuple[str, str]]:
    if attributes is None:  # the long form
        attribute = text_in(row, "attribute", where=where)
        return [(attribute, value) for value in said(row["value"])]
    several = {name: row[name][0].split("|") if is_csv else row[name] for name in attributes}
    return [(name, value) for name, texts in several.items() for value in said(texts)]


def _word(
    row: TextRow, column: str, meanings: Mapping[str, str | None], *, where: str
) -> str | None:
    word = text_in(row, column, where=where)
    if word and word not in meanings:
        raise HemlineError(
            f"{where}: {column} {word!r} is unknown; allowed are {', '.join(meanings)}, or nothing"
        )
    return meanings.get(word)


def _agreed(
    said_in: Iterable[tuple[_LabelledRow, T | None]], *, what: str, path: Path
) -> dict[str, T]:
    """Returns what rows say of their images, by path; None: a row says nothing.

    Raises:
        HemlineError: two rows contradict each other; `what` names what they say.
    """
    agreed: dict[str, T] = {}
    for row, found in said_in:
        if found is not None and agreed.setdefault(row.image, found) != found:
            raise HemlineError(
                f"{path} {row.place}: {what} of image {row.image} is {_shown(found)}, and above "
                f"{_shown(agreed[row.image])}; an image can have one"
            )
    return agreed


def _shown(said: object) -> str:
    """Returns a text, or what a box or landmark says beside its path."""
    return " ".join(map(str, said[1:])) if isinstance(said, tuple) else repr(said)
