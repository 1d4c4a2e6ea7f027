"""Reader of FashionAI's layout: folders `Annotations` and `Tests` beside folders of images.

Format (FashionAI Global Challenge 2018, attributes recognition), without a header:

    Images/coat_length_labels/c76e9ace08d265e63690539736e0d3e1.jpg,coat_length_labels,nynnnnnn

One letter per value: y yes, n no, m maybe (may stand beside a y, and is not taken as a label);
`?` marks the question rows of the challenge, which have no label. Paths are relative to the folder
that holds `Annotations` or `Tests`. That is the data root, or a folder one or two below it, as the
parts of the challenge (train1, train2, base, web, z_rank/Tests/question.csv, answer_a.csv) lie
where they were extracted side by side.

A file `truth.parquet` in that folder, as `hemline wardrobe` writes it, says where attributes show,
and in its metadata (`files.write_table`'s `about`) what the data set is called.
"""

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from components import files
from components.datasets.labelled import Label, LabelledImages, Region, Unusable, read_csv
from components.errors import HemlineError

_WORDS = {
    "skirt_length": "invisible short knee midi ankle floor",
    "sleeve_length": "invisible sleeveless cup short elbow three_quarter wrist long extra_long",
    "coat_length": "invisible high_waist regular long micro knee midi ankle_and_floor",
    "pant_length": "invisible short mid three_quarter cropped full",
    "collar_design": "invisible shirt peter_pan puritan rib",
    "lapel_design": "invisible notched collarless shawl plus_size_shawl",
    "neckline_design": (
        "invisible strapless deep_v straight v square off_shoulder round sweetheart one_shoulder"
    ),
    "neck_design": "invisible turtle ruffle_semi_high low_turtle draped",
}
FASHIONAI_VALUES = MappingProxyType({name: tuple(x.split()) for name, x in _WORDS.items()})
"""The attributes and their values, in the order of the letters; files have no names of values.

The names are those of the challenge's description. The first value of every attribute is
"invisible": the part that decides the attribute cannot be seen.
"""

TRUTH_FILE = "truth.parquet"
TRUTH_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("attribute", pa.string()),
        ("labelled", pa.bool_()),
        ("value", pa.string()),
        *((edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1")),
    ]
)
"""One row per image and attribute; `value` and the box in pixels may be null."""
# patterns of fixed depth, so that folders of images are never walked
_PATTERNS = [
    f"{above}{folder}/*.csv" for above in ("", "*/", "*/*/") for folder in ("Annotations", "Tests")
]


def read_fashionai(root: Path) -> LabelledImages:
    """Returns the labels of all annotation files of a data set in FashionAI's layout.

    Rows of another attribute or with other letters are quarantined, rows without a y are counted.

    Raises:
        HemlineError: there is no annotation file, one is empty or not CSV with commas, or a line
            has another number of columns or no path.
    """
    found = _annotation_files(root)
    folders = {file.parent.parent: None for file in found}
    labels: list[Label] = []
    unusable: list[Unusable] = []
    num_unlabelled = 0
    for file in found:
        name, folder = file.relative_to(root), file.parent.parent.relative_to(root)
        for number, row in read_csv(file):
            image, attribute, letters = _cells(row, where=f"{file} line {number}")
            path = posixpath.normpath(posixpath.join(folder.as_posix(), image))
            if problem := _problem(attribute, letters):
                reason, what = problem
                unusable.append((path, reason, f"{name} line {number}: {what}"))
                continue
            values = zip(FASHIONAI_VALUES[attribute], letters, strict=letters != "?")
            named = [Label(path, attribute, value) for value, letter in values if letter == "y"]
            labels += named
            num_unlabelled += not named
    return LabelledImages(
        dataset=_dataset_of(folders),
        labels=labels,
        source=str(found[0]) if len(found) == 1 else f"{root} ({len(found)} annotation files)",
        values_of=FASHIONAI_VALUES,
        one_value_each=True,
        regions=[region for folder in folders for region in _read_truth(folder, root=root)],
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
    return path, attribute.removesuffix("_labels"), letters


def _problem(attribute: str, letters: str) -> tuple[str, str] | None:
    """Returns reason and detail where a row says nothing that FashionAI knows."""
    if attribute not in FASHIONAI_VALUES:
        return "unknown_attribute", f"{attribute!r}; there are {', '.join(FASHIONAI_VALUES)}"
    num_values = len(FASHIONAI_VALUES[attribute])
    if letters != "?" and (len(letters) != num_values or set(letters) - set("ynm")):
        return "unknown_value", f"{attribute} {letters!r}; it has {num_values} letters of y, n, m"
    return None


def _dataset_of(folders: Iterable[Path]) -> str:
    """Returns the name that a data set in FashionAI's layout gives itself, else FashionAI."""
    truths = [folder / TRUTH_FILE for folder in folders if (folder / TRUTH_FILE).exists()]
    told = [files.read_about(truth, schema=TRUTH_SCHEMA) for truth in truths]
    return next((str(about["dataset"]) for about in told if "dataset" in about), "FashionAI")


def _read_truth(folder: Path, *, root: Path) -> list[Region]:
    """Returns the boxes of a folder's truth, if it has any, with paths relative to the root."""
    if not (folder / TRUTH_FILE).exists():
        return []
    truth = files.read_table(folder / TRUTH_FILE, schema=TRUTH_SCHEMA)
    seen = truth.filter(pc.field("x0").is_valid()).drop_columns(["labelled", "value"])
    below = folder.relative_to(root).as_posix()
    rows = zip(*seen.to_pydict().values(), strict=True)
    return [Region(posixpath.join(below, path), *others) for path, *others in rows]
