"""Reader of FashionAI's layout: `Annotations/label.csv` beside folders of images.

Format (FashionAI Global Challenge 2018, attributes recognition), without a header:

    Images/coat_length_labels/c76e9ace08d265e63690539736e0d3e1.jpg,coat_length_labels,nynnnnnn

One letter per value: y yes, n no, m maybe (may stand beside a y, and is not taken as a label);
`?` marks the question rows of the challenge, which have no label.
"""

from pathlib import Path

from components.datasets.fashionai_values import FASHIONAI_VALUES
from components.datasets.labelled import Label, LabelledImages, read_csv
from components.errors import HemlineError

ANNOTATIONS = Path("Annotations/label.csv")
_SUFFIX = "_labels"


def read_fashionai(root: Path) -> LabelledImages:
    """Returns the labels of a data set in FashionAI's layout.

    Raises:
        HemlineError: the annotation file is missing, or a line is not of the format.
    """
    path = root / ANNOTATIONS
    if not path.is_file():
        raise HemlineError(
            f"{path} is missing: data.format fashionai needs {ANNOTATIONS} under data.root"
        )
    labels: list[Label] = []
    num_unlabelled = 0
    for number, row in read_csv(path):
        values = _values_of_row(row, where=f"{path} line {number}")
        num_unlabelled += not values
        attribute = row[1].strip().removesuffix(_SUFFIX)
        labels += [Label(row[0].strip(), attribute, value) for value in values]
    return LabelledImages(
        dataset="FashionAI",
        labels=labels,
        source=str(path),
        values_of=FASHIONAI_VALUES,
        one_value_each=True,
        left_out={"rows without a label": num_unlabelled},
    )


def _values_of_row(row: list[str], *, where: str) -> list[str]:
    if len(row) != 3:
        raise HemlineError(f"{where}: expected path,attribute,letters, got {len(row)} columns")
    attribute, letters = row[1].strip().removesuffix(_SUFFIX), row[2].strip()
    if attribute not in FASHIONAI_VALUES:
        allowed = ", ".join(FASHIONAI_VALUES)
        raise HemlineError(f"{where}: no attribute {attribute!r}; FashionAI has {allowed}")
    if letters == "?":
        return []
    values = FASHIONAI_VALUES[attribute]
    if len(letters) != len(values) or set(letters) - set("ynm"):
        raise HemlineError(
            f"{where}: {attribute} has {len(values)} values, "
            f"so it needs {len(values)} letters of y, n, m, not {letters!r}"
        )
    return [value for value, letter in zip(values, letters, strict=True) if letter == "y"]
