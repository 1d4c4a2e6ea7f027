"""What every reader of an on-disk format hands over: labels by name, not yet checked."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.errors import HemlineError

Unusable = tuple[str, str, str]
"""A row of `tables.QUARANTINE`: path, reason and detail."""


class Label(NamedTuple):
    """One label: the image at `path` (relative to the data root) has `value` of `attribute`.

    split (train, valid, test) and role (query, gallery) are what the data set says, or None.
    """

    path: str
    attribute: str
    value: str
    split: str | None = None
    role: str | None = None


class Region(NamedTuple):
    """Where in the image at `path` an attribute shows: a box in pixels of the upright image."""

    path: str
    attribute: str
    left: float
    top: float
    right: float
    bottom: float


class Box(NamedTuple):
    """Where the item is in the image at `path`: a box in pixels of the upright image."""

    path: str
    left: float
    top: float
    right: float
    bottom: float


class Landmark(NamedTuple):
    """Where a point of a garment is, in pixels of the upright image at `path`.

    visibility is one of `tables.VISIBILITIES`; x and y mean nothing where it is absent. Mirroring
    swaps the landmarks `left ...` and `right ...` of one name.
    """

    path: str
    name: str
    x: float
    y: float
    visibility: str


@dataclass(frozen=True, kw_only=True)
class PublishedTriplets:
    """Triplets that a data set publishes.

    `rows` are anchors, positives and negatives [n, 3] per split and attribute: places in `paths`.
    """

    paths: Sequence[str] = ()
    rows: Mapping[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """The labels of a data set as its files state them.

    Attributes:
        labels: in the order of the files; an image may have several.
        source: the file or folder that the labels were read from, for messages.
        values_of: the published values per attribute in their published order; empty for formats
            that publish none, whose attributes come in order of appearance and whose values in
            alphabetical order.
        one_value_each: an image has one value of an attribute; two of them contradict each other.
        groups: what an image belongs to (a product, for one), by path, where the data set says it.
        identity: the attribute whose values are items: single products, too many to list. An item's
            images are one group, of its name.
        domains: the world that an image is of, `street` or `shop`, by path.
        boxes: where the item is, at most one an image.
        landmarks: where points of garments are.
        left_out: how many rows of the files carry nothing, by what they are.
        counted: what else is worth knowing of the data set, by what it is.
    """

    dataset: str
    labels: Sequence[Label]
    source: str
    values_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    one_value_each: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)
    triplets: PublishedTriplets = PublishedTriplets()
    regions: Sequence[Region] = ()
    identity: str | None = None
    domains: Mapping[str, str] = field(default_factory=dict)
    boxes: Sequence[Box] = ()
    landmarks: Sequence[Landmark] = ()
    unusable: Sequence[Unusable] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)


def seen_values(labels: Iterable[Label]) -> dict[str, list[str]]:
    """Returns the values per attribute that labels have, in alphabetical order."""
    seen: dict[str, set[str]] = {}
    for label in labels:
        seen.setdefault(label.attribute, set()).add(label.value)
    return {attribute: sorted(values) for attribute, values in seen.items()}


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of every line of a CSV file that is not blank; see `csv_lines`."""
    with path.open("rb") as file:
        yield from csv_lines(file, source=str(path))


def csv_lines(file: BinaryIO, *, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of every line of an open CSV file that is not blank.

    Bytes that are not UTF-8 come as surrogates (PEP 383), so that one bad name does not cost the
    file; `read.py` quarantines such labels. A cell is on one line: all lines between two stray
    quotation marks would be one cell, and vanish.

    Args:
        file: of the source, opened for bytes.
        source: path or URL, for messages.

    Raises:
        HemlineError: the file is empty, is not CSV in UTF-8 (a byte order mark is allowed), has
            another separator than commas, or has a line break in a cell.
    """
    is_empty = True
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    number = 1
    try:
        for row in reader:
            if reader.line_num > number:
                raise _line_break(row, source=source, first=number, last=reader.line_num)
            if len(row) > 1 or "".join(row).strip():
                _check_dialect(row, source=source, number=number)
                yield number, row
                is_empty = False
            number = reader.line_num + 1
    except csv.Error as error:
        raise _not_csv(source, number, str(error)) from error
    if is_empty:
        raise HemlineError(f"{source} is empty; restore it from where it came")


def read_csv_table(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Returns the names of the columns, and number and cells of every line below them.

    Raises:
        HemlineError: as `csv_lines`, or a line has another number of cells than the first.
    """
    return table_of(read_csv(path), source=str(path))


def table_of(
    lines: Iterator[tuple[int, list[str]]], *, source: str
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Returns the names of the columns in the first of `csv_lines`, and the lines below it.

    Raises:
        HemlineError: a line has another number of cells than the first.
    """
    _, header = next(lines)

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, row in lines:
            if len(row) != len(header):
                raise HemlineError(
                    f"{source} line {number}: expected {len(header)} cells as in the first line, "
                    f"got {len(row)}"
                )
            yield number, row

    return [name.strip() for name in header], rows()


def printable(text: str) -> str:
    """Returns a text of a file for a table: bytes that are not UTF-8 by their numbers."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _line_break(row: list[str], *, source: str, first: int, last: int) -> HemlineError:
    cell = next(cell for cell in row if "\n" in cell or "\r" in cell).splitlines()[0][:40]
    return HemlineError(
        f"{source} line {first}: the cell that begins with {cell!r} goes on to line {last}; "
        "remove the stray quotation marks around these lines, or the line break"
    )


def _check_dialect(row: list[str], *, source: str, number: int) -> None:
    if any("\0" in cell for cell in row):
        raise _not_csv(source, number, "a NUL character, which files in UTF-16 are full of")
    separator = next((character for character in ";\t|" if character in row[0]), None)
    if len(row) == 1 and separator:
        raise HemlineError(
            f"{source} line {number}: the separator seems to be {separator!r}; save the file as "
            "CSV with commas"
        )


def _not_csv(source: str, number: int, found: str) -> HemlineError:
    return HemlineError(
        f"{source} is not a CSV file in UTF-8: line {number}: {found}; save it as CSV UTF-8 with "
        "commas"
    )
