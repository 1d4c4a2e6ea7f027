"""Reader of a user's own pictures: a folder with a `labels.csv` of image,attribute,value.

An image has as many rows as it has labels. `image` is a path relative to the folder `images`
beside `labels.csv` where there is one, and to the data root otherwise.
"""

from pathlib import Path

from components.datasets.labelled import Label, LabelledImages, read_csv
from components.errors import HemlineError

LABELS_FILE = "labels.csv"
COLUMNS = ["image", "attribute", "value"]


def read_table_format(root: Path) -> LabelledImages:
    """Returns the labels in `root/labels.csv`.

    Raises:
        HemlineError: the file is missing, is not UTF-8 CSV, lacks a column, or has a line of
            another length or with an empty cell.
    """
    path = root / LABELS_FILE
    if not path.is_file():
        raise HemlineError(
            f"{path} is missing: data.format table needs a {LABELS_FILE} under data.root "
            f"with the columns {','.join(COLUMNS)}"
        )
    lines = read_csv(path)
    _, header = next(lines, (0, []))
    places = _places(header, path=path)
    folder = "images/" if (root / "images").is_dir() else ""
    labels: list[Label] = []
    for number, row in lines:
        if len(row) != len(header):
            raise HemlineError(
                f"{path} line {number}: expected {len(header)} cells as in the first line, "
                f"got {len(row)}"
            )
        image, attribute, value = (row[place].strip() for place in places)
        if not (image and attribute and value):
            raise HemlineError(f"{path} line {number}: an empty cell; every row needs {COLUMNS}")
        labels.append(Label(folder + image, attribute, value))
    return LabelledImages(dataset=root.resolve().name, labels=labels, source=str(path))


def _places(header: list[str], *, path: Path) -> list[int]:
    names = [name.strip() for name in header]
    for column in COLUMNS:
        if column not in names:
            found = ", ".join(names) or "nothing"
            raise HemlineError(f"{path}: column {column} is missing; the first line has {found}")
    return [names.index(column) for column in COLUMNS]
