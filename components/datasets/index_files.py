"""Text files of paths and of numbers, which index several published data sets.

Lines end in LF or CRLF, cells are separated by any blanks; a byte order mark, padding at the end
of a line and blank lines at the end of a file mean nothing.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.datasets.labelled import Label, Unusable, printable
from components.errors import HemlineError

_WHOLE_NUMBERS = re.compile(r"(?:[+-]?[0-9]{1,18}(?:\s+|$))+")  # of at most 64 bits


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


def read_counted(path: Path) -> tuple[str, Iterator[tuple[int, str]]]:
    """Returns the second line of a file, which names its columns, and the rows below it.

    The first line is the number of rows; each row comes with the number of its line.

    Raises:
        HemlineError: the file is missing, or its first line is no number; later, that it counts
            other rows than there are.
    """
    lines = numbered_lines(path)
    _, count = next(lines, (1, ""))
    if not count.isdecimal():
        raise HemlineError(f"{path} line 1: expected the number of rows, got {count!r}")
    _, header = next(lines, (2, ""))

    def rows() -> Iterator[tuple[int, str]]:
        num_rows = 0
        for line in lines:
            yield line
            num_rows += 1
        if num_rows != int(count):
            raise HemlineError(
                f"{path}: its first line counts {count} rows, but {num_rows} follow; "
                "the file is not whole: extract it again"
            )

    return header, rows()


def read_paired(paths: Path, rows: Path) -> Iterator[tuple[str, str, str]]:
    """Yields a path of one file, where its row stands in another, and that row's text.

    Raises:
        HemlineError: a file is missing or empty, or they have different numbers of lines.
    """
    images, lines = read_paths(paths), list(numbered_lines(rows))
    if len(lines) != len(images):
        raise HemlineError(
            f"{rows} has {len(lines)} lines and {paths.name} {len(images)}; both have one for each "
            "image: extract them again"
        )
    for image, (number, text) in zip(images, lines, strict=True):
        yield image, f"{rows} line {number}", text


def read_partition(
    rows: Iterable[tuple[int, str]], *, source: Path, splits: Mapping[str, str]
) -> dict[str, str]:
    """Returns the split of every image of numbered rows that hold an image and a word for it.

    `splits` are the splits by these words.

    Raises:
        HemlineError: a row is not of the format, or an image is in two splits.
    """
    split_of: dict[str, str] = {}
    for number, text in rows:
        image, *cells = text.split()
        if len(cells) != 1 or cells[0] not in splits:
            raise HemlineError(
                f"{source} line {number}: expected an image and one of {', '.join(splits)}, "
                f"got {text[:80]!r}"
            )
        split = splits[cells[0]]
        if split_of.setdefault(image, split) != split:
            raise HemlineError(
                f"{source} line {number}: {image} is in {split_of[image]} and in {split}; "
                "an image can be in one partition"
            )
    return split_of


def read_index(path: Path, *, num_images: int | None = None, num_ids: int = 3) -> NDArray[np.int64]:
    """Returns the numbers [n, 3] in a file of three whole numbers per line.

    The first `num_ids` of a line are image ids, which are checked where `num_images` is known.

    Raises:
        HemlineError: the file is missing or empty, or a line does not have three whole numbers or
            has the id of no image.
    """
    if next(numbered_lines(path), None):
        with suppress(ValueError):  # many times as fast as the loop below, which says what is wrong
            table = np.loadtxt(path, np.int64, comments=None, ndmin=2, encoding="utf-8-sig")
            ids, most = table[:, :num_ids], math.inf if num_images is None else num_images
            if table.shape[1] == 3 and ((ids >= 0) & (ids < most)).all():
                return table
    rows = []
    for where, numbers in _lines_of_numbers(path, needed="three whole numbers"):
        if len(numbers) != 3:
            raise HemlineError(f"{where}: expected three whole numbers, got {len(numbers)}")
        _check_ids(numbers[:num_ids], where=where, num_images=num_images)
        rows.append(numbers)
    return np.array(rows, np.int64)


def read_pairs(path: Path, *, num_images: int | None) -> tuple[NDArray[np.int64], int]:
    """Returns the labels in a file whose lines hold an image id and then pairs of numbers.

    They are a row of id and pair [n, 3] for every pair; the number of lines without one follows.
    Ids are checked where `num_images` is known.

    Raises:
        HemlineError: the file is missing or empty, or a line is not of the format or has the id
            of no image.
    """
    rows: list[tuple[int, ...]] = []
    num_without = 0
    for where, (image, *pairs) in _lines_of_numbers(path, needed="an id and pairs of numbers"):
        if len(pairs) % 2:
            raise HemlineError(
                f"{where}: expected an id and pairs of numbers, got {1 + len(pairs)} numbers"
            )
        _check_ids([image], where=where, num_images=num_images)
        rows += [(image, *pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
        num_without += not pairs
    return np.array(rows, np.int64).reshape(-1, 3), num_without


def labels_of(
    rows: NDArray[np.int64],
    *,
    written: NDArray[np.int64] | None = None,
    source: Path,
    paths: Sequence[str],
    values_of: Mapping[str, Sequence[str]],
    split: str,
    role: str | None = None,
) -> tuple[list[Label], list[Unusable]]:
    """Returns labels by name, and those that name nothing for the quarantine.

    Args:
        rows: place in `paths` and positions of attribute and value [n, 3].
        written: the rows as the file `source` has them [n, 3], for messages; None: the same.
        source: the file.
        paths: image paths.
        values_of: the values per attribute, both in the order that positions count.
        split: train, valid or test.
        role: query, gallery or None.
    """
    attributes = list(values_of.items())
    labels: list[Label] = []
    unusable: list[Unusable] = []
    shown = rows if written is None else written
    for (image, position, place), numbers in zip(rows.tolist(), shown.tolist(), strict=True):
        path, what = paths[image], f"{source.name}: {' '.join(map(str, numbers))} is of no"
        if not 0 <= position < len(attributes):
            unusable.append((printable(path), "unknown_attribute", f"{what} attribute"))
            continue
        attribute, values = attributes[position]
        if 0 <= place < len(values):
            labels.append(Label(path, attribute, values[place], split, role))
        else:
            unusable.append((printable(path), "unknown_value", f"{what} value of {attribute}"))
    return labels, unusable


def _lines_of_numbers(path: Path, *, needed: str) -> Iterator[tuple[str, list[int]]]:
    """Yields where a line stands and its numbers, for every line that is not blank."""
    is_empty = True
    for number, text in numbered_lines(path):
        where, cells = f"{path} line {number}", text.split()
        if not _WHOLE_NUMBERS.fullmatch(text):
            wrong = next(cell for cell in cells if not _WHOLE_NUMBERS.fullmatch(cell))
            raise HemlineError(f"{where}: {wrong!r} is not a whole number of 18 digits at most")
        yield where, list(map(int, cells))
        is_empty = False
    if is_empty:
        raise HemlineError(f"{path} is empty; it needs {needed} per line")


def _check_ids(ids: Sequence[int], *, where: str, num_images: int | None) -> None:
    for image in ids:
        if num_images is not None and not 0 <= image < num_images:
            raise HemlineError(
                f"{where}: no image has the id {image}; there are {num_images}, counted from 0"
            )
