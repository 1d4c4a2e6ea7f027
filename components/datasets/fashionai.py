"""Reader of FashionAI's layout: folders `Annotations` and `Tests` beside folders of images.

Format (FashionAI Global Challenge 2018, attributes recognition), without a header:

    Images/coat_length_labels/c76e9ace08d265e63690539736e0d3e1.jpg,coat_length_labels,nynnnnnn

One letter per value: y yes, n no, m maybe (may stand beside a y, and is not taken as a label);
`?` marks the question rows of the challenge, which have no label. Paths are relative to the folder
that holds `Annotations` or `Tests`. That is the data root, or a folder one or two below it, as the
parts of the challenge (train1, train2, base, web, z_rank/Tests/question.csv, answer_a.csv) lie
where they were extracted side by side.

A file `truth.parquet` in that folder, as `hemline wardrobe` writes it, says where attributes show.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

from components.datasets.fashionai_values import FASHIONAI_VALUES
from components.datasets.labelled import Label, LabelledImages, read_csv
from components.datasets.regions import read_truth
from components.errors import HemlineError

# patterns of fixed depth, so that folders of images are never walked
_PATTERNS = [
    f"{above}{folder}/*.csv" for above in ("", "*/", "*/*/") for folder in ("Annotations", "Tests")
]
_SUFFIX = "_labels"


def read_fashionai(root: Path) -> LabelledImages:
    """Returns the labels of all annotation files of a data set in FashionAI's layout.

    Rows of another attribute or with other letters are set apart, rows without a y are counted.

    Raises:
        HemlineError: there is no annotation file, one is empty or not CSV with commas, or a line
            has another number of columns or no path.
    """
    files = _annotation_files(root)
    folders = {file.parent.parent: None for file in files}
    labels: list[Label] = []
    unusable: list[tuple[str, str, str]] = []
    num_unlabelled = 0
    for file in files:
        name, folder = file.relative_to(root), file.parent.parent.relative_to(root)
        for number, row in read_csv(file):
            image, attribute, letters = _cells(row, where=f"{file} line {number}")
            path = posixpath.normpath(posixpath.join(folder.as_posix(), image))
            if problem := _problem(attribute, letters):
                reason, what = problem
                unusable.append((path, reason, f"{name} line {number}: {what}"))
                continue
            values = zip(FASHIONAI_VALUES[attribute], letters, strict=letters != "?")
            found = [Label(path, attribute, value) for value, letter in values if letter == "y"]
            labels += found
            num_unlabelled += not found
    return LabelledImages(
        dataset="FashionAI",
        labels=labels,
        source=str(files[0]) if len(files) == 1 else f"{root} ({len(files)} annotation files)",
        values_of=FASHIONAI_VALUES,
        one_value_each=True,
        regions=[region for folder in folders for region in read_truth(folder, root=root)],
        unusable=unusable,
        left_out={"rows without a label": num_unlabelled},
    )


def _annotation_files(root: Path) -> list[Path]:
    # what archivers leave beside a file begins with a dot (`._label.csv`)
    found = {
        file
        for pattern in _PATTERNS
        for file in root.glob(pattern)
        if file.is_file() and not file.name.startswith(".")
    }
    if not found:
        raise HemlineError(
            f"{root / 'Annotations/label.csv'} is missing: data.format fashionai needs "
            "Annotations/*.csv or Tests/*.csv under data.root, or one or two folders below it"
        )
    return sorted(found)


def _cells(row: Sequence[str], *, where: str) -> tuple[str, str, str]:
    if len(row) != 3:
        raise HemlineError(f"{where}: expected path,attribute,letters, got {len(row)} columns")
    path, attribute, letters = (cell.strip() for cell in row)
    if not path:
        raise HemlineError(f"{where}: no path; expected path,attribute,letters")
    return path, attribute.removesuffix(_SUFFIX), letters


def _problem(attribute: str, letters: str) -> tuple[str, str] | None:
    """Returns reason and detail where a row says nothing that FashionAI knows."""
    if attribute not in FASHIONAI_VALUES:
        return "unknown_attribute", f"{attribute!r}; there are {', '.join(FASHIONAI_VALUES)}"
    num_values = len(FASHIONAI_VALUES[attribute])
    if letters != "?" and (len(letters) != num_values or set(letters) - set("ynm")):
        return "unknown_value", f"{attribute} {letters!r}; it has {num_values} letters of y, n, m"
    return None
