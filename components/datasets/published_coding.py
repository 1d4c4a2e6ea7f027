"""What the numbers in the published index files mean; the files are those of `published.py`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.datasets import deepfashion
from components.datasets.fashionai import FASHIONAI_VALUES
from components.errors import HemlineError

META = "meta.json"

Rows = NDArray[np.int64]  # [n, 3]


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How a data set's files count.

    Attributes:
        values_of: the values per attribute, both in the order that positions count.
        positions: turns rows of a label file, which begin with the image, into rows of image and
            positions of attribute and value, -1 for what does not exist; None if that is unknown.
    """

    values_of: Mapping[str, Sequence[str]]
    positions: Callable[[Rows], Rows] | None


def read_meta(root: Path, *, dataset: str | None) -> dict[str, int]:
    """Returns the number of values per attribute of a data set, in the order of `meta.json`.

    Raises:
        HemlineError: the file is missing, is not of the format or has no such data set.
    """
    path = root / META
    if not path.is_file():
        raise HemlineError(f"{path} is missing: it names the attributes of data.format published")
    try:
        num_values = {
            name: {x: int(meta["ATTRIBUTES_NUM"][x]) for x in meta["ATTRIBUTES"]}
            for name, meta in json.loads(path.read_bytes()).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HemlineError(
            f"{path} is not as expected ({type(error).__name__}: {error}); every data set needs "
            "ATTRIBUTES, a list of names, and ATTRIBUTES_NUM, the number of values of each"
        ) from error
    if dataset not in num_values:
        raise HemlineError(
            f"data.dataset: {path} has no {dataset!r}; it has {', '.join(num_values)}"
        )
    return num_values[dataset]


def coding_of(
    folder: Path, *, num_values: Mapping[str, int], label_files: Sequence[Rows]
) -> Coding:
    """Returns how the files of the data set in a folder of its name count.

    Where DeepFashion's list of attributes is missing, the rows of its label files tell them.

    Raises:
        HemlineError: the names of the values are not those of as many values.
    """
    if folder.name == "DeepFashion":
        return _of_deepfashion(folder, num_values=num_values, label_files=label_files)
    values_of = _numbered(num_values)
    if folder.name == "FashionAI":
        num_names = {name: len(values) for name, values in FASHIONAI_VALUES.items()}
        if num_names != num_values:
            raise HemlineError(
                f"{folder.parent / META}: FashionAI with {dict(num_values)} values; their names "
                f"are known for {num_names}"
            )
        values_of = {name: FASHIONAI_VALUES[name] for name in num_values}
    return Coding(values_of=values_of, positions=lambda rows: rows)


def _of_deepfashion(
    folder: Path, *, num_values: Mapping[str, int], label_files: Sequence[Rows]
) -> Coding:
    path = deepfashion.attributes_file(folder)
    expected = list(num_values.values())
    if not path.is_file():
        rows = np.concatenate([np.empty((0, 3), np.int64), *label_files])
        kinds = range(1, len(deepfashion.TYPES) + 1)
        lines_of_type = [np.unique(rows[rows[:, 1] == kind, 2]).tolist() for kind in kinds]
        is_whole = [len(lines) for lines in lines_of_type] == expected
        return Coding(
            values_of=_numbered(num_values),
            positions=partial(_ranked, lines_of_type=lines_of_type) if is_whole else None,
        )
    attributes = deepfashion.read_attributes(path)
    lines_of_type = [
        [line for line, (_, kind) in enumerate(attributes) if kind == wanted]
        for wanted in deepfashion.TYPES
    ]
    found = [len(lines) for lines in lines_of_type]
    if found != expected:
        raise HemlineError(
            f"{path} has {found} attributes of the types 1 to {len(found)}, but {META} counts "
            f"{expected}; take both from one release"
        )
    names = [[attributes[line][0] for line in lines] for lines in lines_of_type]
    return Coding(
        values_of=dict(zip(num_values, names, strict=True)),
        positions=partial(_ranked, lines_of_type=lines_of_type),
    )


def _numbered(num_values: Mapping[str, int]) -> dict[str, Sequence[str]]:
    return {name: [str(value) for value in range(num)] for name, num in num_values.items()}


def _ranked(rows: Rows, *, lines_of_type: Sequence[Sequence[int]]) -> Rows:
    """Returns image, type from 0, and the line's rank in its type, of rows of DeepFashion."""
    rank_of = {
        (kind, line): rank
        for kind, lines in enumerate(lines_of_type, start=1)
        for rank, line in enumerate(lines)
    }
    ranks = [rank_of.get((kind, line), -1) for _, kind, line in rows.tolist()]
    return np.stack([rows[:, 0], rows[:, 1] - 1, np.array(ranks, np.int64)], axis=1)
