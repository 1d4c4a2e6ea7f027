"""What every reader of an on-disk format hands over: labels by name, not yet checked."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from components.errors import HemlineError


class Label(NamedTuple):
    """One label: the image at `path` (relative to the data root) has `value` of `attribute`."""

    path: str
    attribute: str
    value: str


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """The labels of a data set as its files state them.

    Attributes:
        dataset: name of the data set.
        labels: in the order of the files; an image may have several.
        values_of: the published values per attribute in their published order; empty for formats
            that publish none, whose attributes come in order of appearance and whose values in
            alphabetical order.
        num_unlabelled: rows that carry no label (FashionAI's question rows, for one).
        source: the file that the labels were read from, for messages.
    """

    dataset: str
    labels: Sequence[Label]
    source: str
    values_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    num_unlabelled: int = 0


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of every line of a CSV file that is not blank.

    Raises:
        HemlineError: the file is not CSV in UTF-8 (a byte order mark is allowed).
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if len(row) > 1 or "".join(row).strip():
                    yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise HemlineError(f"{path} is not a CSV file in UTF-8: {error}") from error
