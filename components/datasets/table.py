"""Reader of a user's own pictures: a folder with a `labels.csv` of image,attribute,value.

An image has as many rows as it has labels. `image` is a path relative to the folder `images`
beside `labels.csv` where there is one, and to the data root otherwise.
"""

from pathlib import Path

import pandas as pd

from components.datasets.labelled import Label, LabelledImages
from components.errors import HemlineError

LABELS_FILE = "labels.csv"
COLUMNS = ["image", "attribute", "value"]


def read_table_format(root: Path) -> LabelledImages:
    """Returns the labels in `root/labels.csv`.

    Raises:
        HemlineError: the file is missing, is not UTF-8 CSV, lacks a column, or has an empty cell.
    """
    path = root / LABELS_FILE
    frame = _read_csv(path)
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        found = ", ".join(frame.columns)
        raise HemlineError(f"{path}: column {missing[0]} is missing; the first line has {found}")
    frame = frame[COLUMNS].apply(lambda column: column.str.strip())
    empty = frame.eq("").any(axis=1)
    if empty.any():
        line = int(empty.to_numpy().argmax()) + 2
        raise HemlineError(f"{path} line {line}: an empty cell; every row needs {COLUMNS}")
    folder = "images/" if (root / "images").is_dir() else ""
    rows = frame.drop_duplicates().itertuples(index=False, name=None)
    labels = [Label(folder + image, attribute, value) for image, attribute, value in rows]
    return LabelledImages(dataset=root.resolve().name, labels=labels, source=str(path))


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise HemlineError(
            f"{path} is missing: data.format table needs a {LABELS_FILE} under data.root "
            f"with the columns {','.join(COLUMNS)}"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise HemlineError(f"{path} is not a CSV file in UTF-8: {error}") from error
