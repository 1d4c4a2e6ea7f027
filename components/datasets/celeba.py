"""Reader of CelebA's attributes, grouped as FashionSearchNet-v2 groups them.

Format (Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015), in the data root or in
the folders `Anno` and `Eval` of the original:

    list_attr_celeba.txt      202599
                              5_o_Clock_Shadow Arched_Eyebrows ...
                              000001.jpg -1  1  1 -1 ...
    list_eval_partition.txt   000001.jpg 0

with 1 for yes and -1 for no, and 0 train, 1 validation and 2 test. Images lie in
`img_align_celeba`, in `Img` or beside it.

FashionSearchNet-v2 (Ak et al.) groups the 40 flags into eight attributes with 21 values and does
not list them. Assumed: those of `VALUES_OF`. An image may have several values of one (a goatee and
a mustache), or none.
"""

from collections.abc import Mapping
from pathlib import Path

from components.datasets.index_files import numbered_lines, read_counted, read_partition
from components.datasets.labelled import Label, LabelledImages
from components.errors import HemlineError

VALUES_OF: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "hair color": {
        "black": ("Black_Hair", "1"),
        "blond": ("Blond_Hair", "1"),
        "brown": ("Brown_Hair", "1"),
        "gray": ("Gray_Hair", "1"),
    },
    "beard": {
        "5 o'clock shadow": ("5_o_Clock_Shadow", "1"),
        "goatee": ("Goatee", "1"),
        "mustache": ("Mustache", "1"),
        "sideburns": ("Sideburns", "1"),
        "none": ("No_Beard", "1"),
    },
    "hair type": {"straight": ("Straight_Hair", "1"), "wavy": ("Wavy_Hair", "1")},
    "smiling": {"yes": ("Smiling", "1"), "no": ("Smiling", "-1")},
    "eyeglasses": {"yes": ("Eyeglasses", "1"), "no": ("Eyeglasses", "-1")},
    "gender": {"male": ("Male", "1"), "female": ("Male", "-1")},
    "hat": {"yes": ("Wearing_Hat", "1"), "no": ("Wearing_Hat", "-1")},
    "age": {"young": ("Young", "1"), "old": ("Young", "-1")},
}
"""What a flag must be for a value of an attribute."""

FLAGS = {flag for values in VALUES_OF.values() for flag, _ in values.values()}
SPLITS = {"0": "train", "1": "valid", "2": "test"}


def read_celeba(root: Path) -> LabelledImages:
    """Returns the labels of the eight attributes, with the published partition as their split.

    Raises:
        HemlineError: a file is missing, its first line counts other rows than it has, or a line is
            not of the format.
    """
    source = _file(root, "Anno", "list_attr_celeba.txt")
    partition = _file(root, "Eval", "list_eval_partition.txt")
    split_of = read_partition(numbered_lines(partition), source=partition, splits=SPLITS)
    folder = "Img/img_align_celeba" if (root / "Img").is_dir() else "img_align_celeba"
    header, rows = read_counted(source)
    names = header.split()
    if unnamed := FLAGS - set(names):
        raise HemlineError(f"{source} line 2: the names lack {', '.join(sorted(unnamed))}")
    labels: list[Label] = []
    num_in_no_partition = 0
    for number, text in rows:
        image, *cells = text.split()
        if len(cells) != len(names) or not set(cells) <= {"1", "-1"}:
            raise HemlineError(
                f"{source} line {number}: expected a name and {len(names)} numbers 1 or -1, one "
                f"for each name of line 2; got {text[:60]!r}"
            )
        flags = dict(zip(names, cells, strict=True))
        split = split_of.get(image)
        num_in_no_partition += split is None
        labels += [
            Label(f"{folder}/{image}", attribute, value, split)
            for attribute, values in VALUES_OF.items()
            for value, (flag, wanted) in values.items()
            if flags[flag] == wanted
        ]
    return LabelledImages(
        dataset="CelebA",
        labels=labels,
        source=str(source),
        values_of={attribute: [*values] for attribute, values in VALUES_OF.items()},
        left_out={"images in no partition": num_in_no_partition},
    )


def _file(root: Path, folder: str, name: str) -> Path:
    """Returns where a copy of CelebA has a file: in the original's folder, or in the root."""
    return file if (file := root / folder / name).is_file() else root / name
