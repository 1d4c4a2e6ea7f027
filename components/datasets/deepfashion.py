"""Readers of DeepFashion's category and attribute prediction benchmark.

Format (Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich
Annotations, CVPR 2016): text files whose first line is the number of rows and whose second names
the columns; cells are separated by any number of blanks.

    Anno/list_attr_cloth.txt      a-line   3
    Anno/list_attr_img.txt        img/Sheer_Pleated-Front_Blouse/img_00000001.jpg  -1 -1 1 0
    Eval/list_eval_partition.txt  img/Sheer_Pleated-Front_Blouse/img_00000001.jpg  train

Names contain blanks, so an attribute's type is its last cell: 1 texture, 2 fabric, 3 shape, 4 part,
5 style. An image has a number per attribute: 1 yes, -1 no, 0 unknown. What the benchmark calls an
attribute is a value here, and its type the attribute; an image may have several values of one.
`Anno` is called `Anno_coarse` and images lie under `Img/img` in later copies of the data set.

These also have 26 attributes of 20,000 images, annotated more carefully, as a data set of its own:

    Anno_fine/list_attr_cloth.txt  floral 1
    Anno_fine/train.txt            img/Sheer_Pleated-Front_Blouse/img_00000001.jpg
    Anno_fine/train_attr.txt       1 0 0 0 0 0 0 0 1 0 0 1

and the same for val and test: a path and a number per attribute, on the same line of two files. The
types are 1 texture, 2 sleeve, 3 length, 4 neckline, 5 fabric, 6 fit. Assumed, because no original
file could be seen: that the list begins with its number of rows and names of columns, as above.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from components.datasets.index_files import read_counted, read_paired, read_partition
from components.datasets.labelled import Label, LabelledImages
from components.errors import HemlineError

TYPES = ("texture", "fabric", "shape", "part", "style")
FINE = "Anno_fine"
FINE_TYPES = ("texture", "sleeve", "length", "neckline", "fabric", "fit")
PARTITION = Path("Eval/list_eval_partition.txt")
SPLIT_OF = {"train": "train", "val": "valid", "test": "test"}


def read_deepfashion(root: Path) -> LabelledImages:
    """Returns the labels of the benchmark's images, with its partition as their split.

    Images without a row in the partition have no split; they are counted, and so are rows of the
    partition whose image has no row of attributes.

    Raises:
        HemlineError: a file is missing, its first line counts other rows than it has, or a line is
            not of the format.
    """
    if not attributes_file(root).is_file() and (root / FINE).is_dir():
        raise HemlineError(
            f"{root} has {FINE} and neither Anno nor Anno_coarse: set data.format: deepfashion_fine"
        )
    attributes = read_attributes(attributes_file(root))
    _, rows = read_counted(root / PARTITION)
    splits = read_partition(rows, source=root / PARTITION, splits=SPLIT_OF)
    prefix = image_prefix(root)
    source = attributes_file(root).with_name("list_attr_img.txt")
    labels: list[Label] = []
    images: set[str] = set()
    num_without = num_in_no_partition = 0
    for path, positions in _positive_attributes(source, num_attributes=len(attributes)):
        split = splits.get(path)
        named = dict.fromkeys(attributes[position] for position in positions)
        labels += [Label(prefix + path, kind, name, split) for name, kind in named]
        images.add(path)
        num_without += not positions
        num_in_no_partition += split is None
    return LabelledImages(
        dataset="DeepFashion",
        labels=labels,
        source=str(source),
        values_of=_values_of(attributes, TYPES),
        left_out={
            "images without an attribute": num_without,
            "images in no partition": num_in_no_partition,
            "rows of the partition without attributes": len(splits.keys() - images),
        },
    )


def read_deepfashion_fine(root: Path) -> LabelledImages:
    """Returns the labels of `Anno_fine`, with its files as their split; images without are counted.

    Raises:
        HemlineError: a file is missing, two files of a split have different numbers of lines, or a
            line is not of the format.
    """
    folder = root / FINE
    attributes = read_attributes(folder / "list_attr_cloth.txt", types=FINE_TYPES)
    prefix = image_prefix(root)
    labels: list[Label] = []
    num_without = 0
    for name, split in SPLIT_OF.items():
        rows = read_paired(folder / f"{name}.txt", folder / f"{name}_attr.txt")
        for path, where, text in rows:
            positions = positive(text.split(), num_attributes=len(attributes), where=where)
            named = [attributes[position] for position in positions]
            labels += [Label(prefix + path, kind, value, split) for value, kind in named]
            num_without += not positions
    return LabelledImages(
        dataset="DeepFashion-fine",
        labels=labels,
        source=str(folder),
        values_of=_values_of(attributes, FINE_TYPES),
        left_out={"images without an attribute": num_without},
    )


def attributes_file(root: Path) -> Path:
    """Returns where a copy of DeepFashion has its list of attributes; it may be missing."""
    files = [root / folder / "list_attr_cloth.txt" for folder in ("Anno", "Anno_coarse")]
    return next((file for file in files if file.is_file()), files[0])


def _values_of(attributes: Sequence[tuple[str, str]], types: Sequence[str]) -> dict[str, list[str]]:
    return {
        kind: list(dict.fromkeys(name for name, of in attributes if of == kind)) for kind in types
    }


def read_attributes(path: Path, *, types: Sequence[str] = TYPES) -> list[tuple[str, str]]:
    """Returns name and type of DeepFashion's attributes, in the order of the file.

    Raises:
        HemlineError: the file is missing, counts other rows than it has, or a line does not end in
            a type.
    """
    attributes = []
    for number, text in read_counted(path)[1]:
        *name, kind = text.rsplit(maxsplit=1)
        if not name or kind not in map(str, range(1, len(types) + 1)):
            raise HemlineError(
                f"{path} line {number}: expected the name of an attribute and its type, "
                f"1 to {len(types)}, got {text!r}"
            )
        attributes.append((name[0], types[int(kind) - 1]))
    return attributes


def _positive_attributes(path: Path, *, num_attributes: int) -> Iterator[tuple[str, list[int]]]:
    """Yields path and positions of the attributes of an image, one row in memory at a time."""
    for number, text in read_counted(path)[1]:
        image, *cells = text.split()
        yield image, positive(cells, num_attributes=num_attributes, where=f"{path} line {number}")


def positive(cells: Sequence[str], *, num_attributes: int, where: str) -> list[int]:
    """Returns which of the numbers of an image or item are 1.

    Raises:
        HemlineError: there are more or fewer than attributes, or others than 1, -1 and 0.
    """
    if len(cells) != num_attributes:
        raise HemlineError(
            f"{where}: expected {num_attributes} numbers, one for each attribute of "
            f"list_attr_cloth.txt, got {len(cells)}"
        )
    if unknown := set(cells) - {"-1", "0", "1"}:
        raise HemlineError(f"{where}: {min(unknown)!r} is none of 1 (yes), -1 (no), 0 (unknown)")
    positions: list[int] = []
    for _ in range(cells.count("1")):  # the real file has 289,222,000 cells to pass over
        positions.append(cells.index("1", positions[-1] + 1 if positions else 0))
    return positions


def image_prefix(root: Path) -> str:
    """Returns what comes before the paths of DeepFashion's lists to be relative to its folder."""
    # names are compared as listed: file systems that ignore case find `img` where `Img` is
    listed = {entry.name for entry in root.iterdir()}
    return "Img/" if "img" not in listed and (root / "Img" / "img").is_dir() else ""
