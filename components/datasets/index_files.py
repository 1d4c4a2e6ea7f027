"""Text files of paths and of numbers, which index several published data sets.

Lines end in LF or CRLF, cells are separated by any blanks; a byte order mark, padding at the end
of a line and blank lines at the end of a file mean nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from components.datasets.labelled import Label, Unusable
from components.errors import HemlineError

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")  # of at most 64 bits


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields number and text of every line of a file that is not blank.

    Bytes that are not UTF-8 come as surrogates (PEP 383); `read.py` quarantines such labels.

    Raises:
        HemlineError: the file is missing.
    """
    if not path.is_file():
        raise HemlineError(f"{path} is missing; docs/data.md lists what each data.format needs")
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if text := line.strip():
                yield number, text


def read_paths(path: Path) -> list[str]:
    """Returns the paths in a file of one path per line; an image id is a place in this list.

    Raises:
        HemlineError: the file is missing or empty, or a line before the last path is blank, so
            that ids would count differently with and without it.
    """
    lines = list(numbered_lines(path))
    if not lines:
        raise HemlineError(f"{path} is empty; it needs a path per line")
    for expected, (number, _) in enumerate(lines, start=1):
        if number != expected:
            raise HemlineError(
                f"{path} line {expected}: a blank line between paths; ids count the lines of this "
                "file, so restore the path that stood there"
            )
    return [text for _, text in lines]


def read_index(path: Path) -> NDArray[np.int64]:
    """Returns the numbers [n, 3] in a file of three whole numbers per line.

    Raises:
        HemlineError: the file is missing or empty, or a line does not have three whole numbers.
    """
    if next(numbered_lines(path), None) is None:
        raise HemlineError(f"{path} is empty; it needs three whole numbers per line")
    try:
        rows = np.loadtxt(path, dtype=np.int64, comments=None, ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        _refuse_index(path, error)
    if rows.shape[1] != 3:
        _refuse_index(path, None)
    return rows


def check_ids(rows: NDArray[np.int64], *, num_images: int, path: Path) -> None:
    """Checks the image ids in rows [n, k] of `read_index(path)`.

    Raises:
        HemlineError: an id is that of no image; ids count from 0.
    """
    outside = (rows < 0) | (rows >= num_images)
    if outside.any():
        row = int(outside.any(axis=1).argmax())
        raise _no_image(path, line_of_row(path, row), rows[row][outside[row]][0], num_images)


def line_of_row(path: Path, row: int) -> int:
    """Returns the line number of a row of `read_index(path)`; slow, as it is for messages."""
    return [number for number, _ in numbered_lines(path)][row]


def read_pairs(path: Path, *, num_images: int | None) -> tuple[NDArray[np.int64], int]:
    """Returns the labels in a file whose lines hold an image id and then pairs of numbers.

    Args:
        path: the file.
        num_images: how many images ids count; None where that is not known.

    Returns:
        A row of id and pair [n, 3] for every pair, and the number of lines without a pair.

    Raises:
        HemlineError: the file is missing or empty, or a line is not of the format or has the id
            of no image.
    """
    rows: list[tuple[int, ...]] = []
    num_lines = num_without = 0
    for number, text in numbered_lines(path):
        image, *pairs = _whole_numbers(text, where=f"{path} line {number}")
        if len(pairs) % 2:
            raise HemlineError(
                f"{path} line {number}: expected an id and pairs of numbers, "
                f"got {1 + len(pairs)} numbers"
            )
        if num_images is not None and not 0 <= image < num_images:
            raise _no_image(path, number, image, num_images)
        rows += [(image, *pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
        num_lines += 1
        num_without += not pairs
    if not num_lines:
        raise HemlineError(f"{path} is empty; it needs an id and pairs of numbers per line")
    return np.array(rows, np.int64).reshape(-1, 3), num_without


def labels_of(
    rows: NDArray[np.int64],
    *,
    written: NDArray[np.int64],
    source: Path,
    paths: Sequence[str],
    values_of: Mapping[str, Sequence[str]],
    split: str,
    role: str | None = None,
) -> tuple[list[Label], list[Unusable]]:
    """Returns labels by name, and those that name nothing for the quarantine.

    Args:
        rows: place in `paths` and positions of attribute and value [n, 3].
        written: the rows as the file has them [n, 3], for messages.
        source: the file.
        paths: of the images.
        values_of: the values per attribute, both in the order that positions count.
        split: train, valid or test.
        role: query, gallery or None.
    """
    attributes = list(values_of.items())
    labels: list[Label] = []
    unusable: list[Unusable] = []
    for (image, position, place), numbers in zip(rows.tolist(), written.tolist(), strict=True):
        what = f"{source.name}: {' '.join(map(str, numbers))} is of no"
        if not 0 <= position < len(attributes):
            unusable.append((printable(paths[image]), "unknown_attribute", f"{what} attribute"))
            continue
        attribute, values = attributes[position]
        if 0 <= place < len(values):
            labels.append(Label(paths[image], attribute, values[place], split, role))
        else:
            reason = f"{what} value of {attribute}"
            unusable.append((printable(paths[image]), "unknown_value", reason))
    return labels, unusable


def printable(path: str) -> str:
    """Returns a path of `read_paths` for a table: bytes that are not UTF-8 by their numbers."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _whole_numbers(text: str, *, where: str) -> list[int]:
    cells = text.split()
    for cell in cells:
        if not _WHOLE_NUMBER.fullmatch(cell):
            raise HemlineError(f"{where}: {cell!r} is not a whole number of 18 digits at most")
    return [int(cell) for cell in cells]


def _no_image(path: Path, number: int, image: int, num_images: int) -> HemlineError:
    return HemlineError(
        f"{path} line {number}: no image has the id {image}; there are {num_images}, counted from 0"
    )


def _refuse_index(path: Path, error: ValueError | None) -> NoReturn:
    """Names the line that is not of the format, which numpy does not count as editors do."""
    for number, text in numbered_lines(path):
        num_cells = len(_whole_numbers(text, where=f"{path} line {number}"))
        if num_cells != 3:
            raise HemlineError(
                f"{path} line {number}: expected three whole numbers, got {num_cells}"
            ) from error
    raise HemlineError(f"{path}: {error}") from error
