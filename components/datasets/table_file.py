"""A table in a CSV or a Parquet file, read as texts: one reading for both."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.datasets.labelled import read_csv_table
from components.errors import HemlineError

TextRow = Mapping[str, Sequence[str]]
"""Texts by column: one, but for lists in Parquet, and none for null."""

_INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")


def read_columns(path: Path) -> list[str]:
    """Returns the names of the columns of a table, without blanks around them.

    Raises:
        HemlineError: the file is not what its name says, or two columns have one name.
    """
    if path.suffix == ".csv":
        columns = read_csv_table(path)[0]
    else:
        names = _open_parquet(path).schema_arrow.names
        columns = [name.strip() for name in names if not _INDEX_OF_PANDAS.fullmatch(name)]
    for name in filter(None, columns):
        if columns.count(name) > 1:
            raise HemlineError(f"{path}: two columns are named {name!r}; rename or remove one")
    return columns


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, TextRow]]:
    """Yields where a row stands, for messages, and its texts in the given columns.

    Bytes that are not UTF-8 come as surrogates, as from `read_csv`. Numbers in Parquet are written
    as Arrow does: 3 and 3.0 are `3` (with missing values, pandas makes floats of integers), true is
    `true`, and not a number is `nan`.

    Raises:
        HemlineError: the file is damaged, a line of CSV has another number of cells than the first,
            a cell has a line break, or a column of Parquet is neither of texts and numbers nor of
            lists of them.
    """
    if path.suffix != ".csv":
        yield from _parquet_rows(path, columns)
        return
    names, rows = read_csv_table(path)
    places = {column: names.index(column) for column in columns}
    for number, row in rows:
        yield f"line {number}", {column: [row[place]] for column, place in places.items()}


def text_in(row: TextRow, column: str, *, where: str) -> str:
    """Returns the text in a cell; empty where it says nothing or the column is missing.

    Raises:
        HemlineError: it has several texts.
    """
    texts = said(row.get(column, ()))
    if len(texts) > 1:
        raise HemlineError(f"{where}: column {column} has {len(texts)} texts, one is allowed")
    return texts[0] if texts else ""


def said(texts: Sequence[str]) -> list[str]:
    """Returns the texts of a cell that say something, without blanks around them."""
    return [text for raw in texts if (text := raw.strip()) and text.lower() != "nan"]


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, TextRow]]:
    file = _open_parquet(path)
    name_of = {name.strip(): name for name in file.schema_arrow.names}
    for column in columns:
        _check_type(file.schema_arrow.field(name_of[column]).type, path=path, column=column)
    number = 0
    try:
        for batch in file.iter_batches(columns=[name_of[column] for column in columns]):
            texts = [_texts(batch.column(name_of[column])) for column in columns]
            for row in zip(*texts, strict=True):
                number += 1
                cells = dict(zip(columns, row, strict=True))
                everything = "".join(map("".join, row))
                if "\n" in everything or "\r" in everything:
                    _check_line_breaks(cells, where=f"{path} row {number}")
                yield f"row {number}", cells
    except (pa.ArrowException, OSError) as error:
        raise HemlineError(f"{path} is damaged after row {number}: {error}") from error


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise HemlineError(f"{path} is not a Parquet file: {error}; write it again") from error


def _check_type(kind: pa.DataType, *, path: Path, column: str) -> None:
    items = kind.value_type if _is_list(kind) else kind
    if pa.types.is_dictionary(items):
        items = items.value_type
    # the cast to texts would take bytes, of whichever binary type
    if pa.types.is_nested(items) or "binary" in str(items):
        raise HemlineError(
            f"{path}: column {column} is of type {kind}; expected texts, numbers or lists of them"
        )


def _texts(column: pa.Array) -> list[list[str]]:
    """Returns the texts of every cell."""
    if not _is_list(column.type):
        return [[] if x is None else [x] for x in _decoded(column.cast(pa.string()))]
    lists = column.cast(pa.list_(pa.string()))
    texts, lengths = iter(_decoded(lists.flatten())), pc.list_value_length(lists).to_pylist()
    return [[x for x in islice(texts, length or 0) if x is not None] for length in lengths]


def _decoded(texts: pa.Array) -> list[str | None]:
    """Returns texts; those that are not UTF-8, for which Arrow does not look, with surrogates."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        found = texts.cast(pa.binary()).to_pylist()
        return [text and text.decode(errors="surrogateescape") for text in found]
    return list(texts.to_pylist())


def _check_line_breaks(cells: TextRow, *, where: str) -> None:
    """Raises where a text has a line break, as `csv_lines` does; pandas reads stray quotes so."""
    for column, texts in cells.items():
        if any("\n" in text or "\r" in text for text in map(str.strip, texts)):
            raise HemlineError(
                f"{where}: column {column} has a line break; read the table again from where it "
                "came without stray quotation marks, or remove the line break"
            )


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists)
