"""Reader of Shopping100k in the files that its users distribute.

Shopping100k (Ak et al., Efficient Multi-attribute Similarity Learning Towards Attribute-based
Fashion Search, WACV 2018) is given out on request. Those who train on it (Hou et al., Learning
Attribute-driven Disentangled Representations for Interactive Fashion Retrieval, ICCV 2021)
describe it by three kinds of text files, one of each for train and test:

    imgs_train.txt     a path per line
    labels_train.txt   0 0 1 0 ... 0 1    151 numbers, on the line of its path
    attr_num.txt       16 17 19 14 10 15 2 11 16 7 9 15

The last says how many numbers belong to an attribute; of these the one that is 1 is its value, and
without a 1 the label is missing.

Assumed, because the files name nothing: that attributes stand in alphabetical order. The names of
values are not distributed, so values are their positions as text, counted from 0. Paths are
relative to the data root.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.datasets.index_files import numbered_lines, read_paired
from components.datasets.labelled import Label, LabelledImages
from components.errors import HemlineError

ATTRIBUTES = (
    "category",
    "collar",
    "color",
    "fabric",
    "fastening",
    "fit",
    "gender",
    "neckline",
    "pattern",
    "pocket",
    "sleeve",
    "sport",
)
SPLITS = ("train", "test")
NUMBERS_FILE = "attr_num.txt"


def read_shopping100k(root: Path) -> LabelledImages:
    """Returns every label, with its file as its split; missing labels are counted by attribute.

    Raises:
        HemlineError: a file is missing, two files of a split have different numbers of lines, or a
            line is not of the format.
    """
    num_values = _read_num_values(root / NUMBERS_FILE)
    labels: list[Label] = []
    missing = dict.fromkeys(ATTRIBUTES, 0)
    for split in SPLITS:
        rows = read_paired(root / f"imgs_{split}.txt", root / f"labels_{split}.txt")
        for path, where, text in rows:
            values = _values(text, num_values=num_values, where=where)
            for attribute, value in zip(ATTRIBUTES, values, strict=True):
                if value is None:
                    missing[attribute] += 1
                else:
                    labels.append(Label(path, attribute, str(value), split))
    return LabelledImages(
        dataset="Shopping100k",
        labels=labels,
        source=str(root),
        values_of={
            name: [*map(str, range(number))]
            for name, number in zip(ATTRIBUTES, num_values, strict=True)
        },
        one_value_each=True,
        left_out={f"images without a value of {name}": number for name, number in missing.items()},
    )


def _read_num_values(path: Path) -> list[int]:
    """Returns the number of values of every attribute."""
    cells = " ".join(text for _, text in numbered_lines(path)).replace(",", " ").split()
    if len(cells) != len(ATTRIBUTES) or not all(x.isdecimal() and int(x) for x in cells):
        raise HemlineError(
            f"{path}: expected {len(ATTRIBUTES)} numbers of values, one for each of "
            f"{', '.join(ATTRIBUTES)}; got {' '.join(cells)[:80]!r}"
        )
    return [int(cell) for cell in cells]


def _values(text: str, *, num_values: Sequence[int], where: str) -> list[int | None]:
    """Returns the value of every attribute by its position, None where the label is missing."""
    cells = text.split()
    if len(cells) != sum(num_values) or not set(cells) <= {"0", "1"}:
        raise HemlineError(
            f"{where}: expected {sum(num_values)} numbers 0 or 1, as {NUMBERS_FILE} counts them; "
            f"got {len(cells)}: {text[:40]!r}"
        )
    values: list[int | None] = []
    starts = np.cumsum([0, *num_values])
    for name, start, end in zip(ATTRIBUTES, starts[:-1], starts[1:], strict=True):
        block = cells[start:end]
        if block.count("1") > 1:
            raise HemlineError(
                f"{where}: {block.count('1')} values of {name}; an image has one or none"
            )
        values.append(block.index("1") if "1" in block else None)
    return values
