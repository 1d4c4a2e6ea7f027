"""Reader of DARN as the authors of ASEN index it: a folder `pic` beside text files.

DARN (Huang et al., Cross-Domain Image Retrieval with a Dual Attribute-Aware Ranking Network, ICCV
2015) is no longer distributed with its own annotation. ASEN's authors (Ma et al., Fine-Grained
Fashion Similarity Learning by Attribute-Specific Embedding Network, AAAI 2020) release a list of
the images that are still available, and per split (train, valid, test):

    filenames_train.txt    pic/51586095/3660_47_1.jpg
    label_train.txt        0  3 0  8 2

The first number of a label line is the 0-based line of the filenames file; pairs of attribute and
value follow, both 0-based positions, separated by blanks or tabs and padded to any width.

Assumed, because no original label file could be seen: that every attribute of an image stands on
its line, and that values are positions as in the query and candidate files of the same authors,
whose names are not published. Values are therefore their numbers as text.
"""

from pathlib import Path

from components.datasets.index_files import labels_of, read_pairs, read_paths
from components.datasets.labelled import Label, LabelledImages, Unusable
from components.errors import HemlineError

SPLITS = ("train", "valid", "test")

NUM_VALUES = {
    "clothes category": 20,
    "clothes button": 13,
    "clothes color": 55,
    "clothes length": 7,
    "clothes pattern": 28,
    "clothes shape": 11,
    "collar shape": 26,
    "sleeve length": 8,
    "sleeve shape": 17,
}
"""Values per attribute, in the order that label files count (ASEN's authors, `meta.json`)."""


def read_darn(root: Path) -> LabelledImages:
    """Returns every label of the images of DARN, by split; queries and gallery are not assigned.

    Raises:
        HemlineError: there is no split, one of the two files of a split is missing, or a line is
            not of the format.
    """
    values_of = {name: [str(v) for v in range(number)] for name, number in NUM_VALUES.items()}
    labels: list[Label] = []
    unusable: list[Unusable] = []
    num_without = 0
    splits = [split for split in SPLITS if any(file.is_file() for file in _files(root, split))]
    if not splits:
        raise HemlineError(
            f"{root} has none of filenames_*.txt and label_*.txt for {', '.join(SPLITS)}: "
            "data.format darn needs both files of a split"
        )
    for split in splits:
        filenames, label_file = _files(root, split)
        paths = read_paths(filenames)
        rows, num_empty = read_pairs(label_file, num_images=len(paths))
        usable, others = labels_of(
            rows, source=label_file, paths=paths, values_of=values_of, split=split
        )
        labels += usable
        unusable += others
        num_without += num_empty
    return LabelledImages(
        dataset="DARN",
        labels=labels,
        source=str(root),
        values_of=values_of,
        unusable=unusable,
        left_out={"images without a label": num_without},
    )


def _files(root: Path, split: str) -> tuple[Path, Path]:
    return root / f"filenames_{split}.txt", root / f"label_{split}.txt"
