"""Reader of a user's own pictures: a folder with a table of labels, `labels.csv` or `.parquet`.

Long form, a row per label:                Wide form, a row per image, a column per attribute:

    image,attribute,value                      image,neckline,colour
    a.jpg,neckline,round                       a.jpg,round,red|white
    a.jpg,colour,red                           b.jpg,,blue

`image` is a path relative to the folder `images` beside the table where there is one, and to the
data root otherwise. An empty cell is no label; in the wide form, `|` (in Parquet: a list) separates
several values. Both forms may have the columns split (train, valid, test), role (query,
gallery) and group (what an image belongs to, a product for one). A cell that is empty, null or nan
says nothing; all other texts are as written.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.datasets.labelled import Label, LabelledImages
from components.datasets.table_file import TextRow, read_columns, read_rows
from components.errors import HemlineError

LABELS_FILES = ("labels.csv", "labels.parquet")
SPLIT_OF = {x: x for x in ("train", "valid", "test")} | {"val": "valid", "validation": "valid"}
ROLE_OF = {"train": None, "query": "query", "gallery": "gallery", "candidate": "gallery"}

_FORMS = "A row per label needs image,attribute,value, a row per image a column per attribute"
_LONG = ("attribute", "value")
_OPTIONAL = ("split", "role", "group")


class _LabelledRow(NamedTuple):
    """A row of the table; in `pairs` of attribute and value, a missing attribute is empty."""

    place: str
    image: str
    split: str | None
    role: str | None
    group: str
    pairs: list[tuple[str, str]]


def read_table_format(root: Path) -> LabelledImages:
    """Returns the labels in `root/labels.csv` or `root/labels.parquet`.

    Rows without a value are counted: missing labels are no fault of their images. Rows of the long
    form with a value of no attribute are quarantined; its columns that mean nothing are counted.

    Raises:
        HemlineError: no table is there or two are, it is damaged or lacks a column, a row has no
            image or an unknown split or role, or an image is in two groups.
    """
    path = _labels_file(root)
    columns = read_columns(path)
    attributes = _attribute_columns(columns, path=path)
    used = ["image", *(attributes or _LONG), *(name for name in _OPTIONAL if name in columns)]
    unread = [name or "without a name" for name in columns if name not in used]
    folder = "images" if (root / "images").is_dir() else ""
    rows = list(_labelled_rows(path, used, attributes=attributes, folder=folder))
    return LabelledImages(
        dataset=root.resolve().name,
        labels=[
            Label(row.image, attribute, value, row.split, row.role)
            for row in rows
            for attribute, value in row.pairs
            if attribute
        ],
        source=str(path),
        groups=_groups(rows, path=path),
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


def _attribute_columns(columns: Sequence[str], *, path: Path) -> list[str]:
    """Returns the columns of the wide form that are attributes; none in the long form."""
    shown = f"there are {', '.join(columns) or 'none'}"
    if "image" not in columns:
        raise HemlineError(f"{path}: column image is missing; {shown}")
    missing = [name for name in _LONG if name not in columns]
    if not missing:
        return []
    if len(missing) == 1:
        raise HemlineError(
            f"{path}: column {missing[0]} is missing; {shown}. {_FORMS}, of other names"
        )
    attributes = [name for name in columns if name not in ("image", *_OPTIONAL)]
    if not attributes:
        raise HemlineError(f"{path}: no column of an attribute; {shown}. {_FORMS}")
    if "" in attributes:
        raise HemlineError(
            f"{path}: column {columns.index('') + 1} has no name; name or remove it (pandas writes "
            "its index so, unless given index=False)"
        )
    return attributes


def _labelled_rows(
    path: Path, used: Sequence[str], *, attributes: Sequence[str], folder: str
) -> Iterator[_LabelledRow]:
    for place, row in read_rows(path, used):
        where = f"{path} {place}"
        image = _text(row, "image", where=where)
        if not image:
            raise HemlineError(f"{where}: column image is empty; every row needs an image's path")
        yield _LabelledRow(
            place=place,
            image=posixpath.normpath(posixpath.join(folder, image)),
            split=_word(row, "split", SPLIT_OF, where=where),
            role=_word(row, "role", ROLE_OF, where=where),
            group=_text(row, "group", where=where),
            pairs=_pairs(row, attributes, where=where, is_csv=path.suffix == ".csv"),
        )


def _pairs(
    row: TextRow, attributes: Sequence[str], *, where: str, is_csv: bool
) -> list[tuple[str, str]]:
    if not attributes:  # the long form
        attribute = _text(row, "attribute", where=where)
        return [(attribute, value) for value in _said(row["value"])]
    several = {name: row[name][0].split("|") if is_csv else row[name] for name in attributes}
    return [(name, value) for name, texts in several.items() for value in _said(texts)]


def _word(
    row: TextRow, column: str, meanings: Mapping[str, str | None], *, where: str
) -> str | None:
    word = _text(row, column, where=where)
    if word and word not in meanings:
        raise HemlineError(
            f"{where}: {column} {word!r} is unknown; allowed are {', '.join(meanings)}, or nothing"
        )
    return meanings.get(word)


def _groups(rows: Sequence[_LabelledRow], *, path: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    for row in rows:
        if row.group and groups.setdefault(row.image, row.group) != row.group:
            raise HemlineError(
                f"{path} {row.place}: image {row.image} is in group {row.group!r}, and above in "
                f"{groups[row.image]!r}; an image can be in one group"
            )
    return groups


def _text(row: TextRow, column: str, *, where: str) -> str:
    """Returns the text in a cell; empty where it says nothing or the column is missing."""
    texts = _said(row.get(column, ()))
    if len(texts) > 1:
        raise HemlineError(f"{where}: column {column} has {len(texts)} texts, one is allowed")
    return texts[0] if texts else ""


def _said(texts: Sequence[str]) -> list[str]:
    return [text for raw in texts if (text := raw.strip()) and text.lower() != "nan"]
