"""Reader of the index files that the authors of ASEN publish for several data sets.

Format (Ma et al., Fine-Grained Fashion Similarity Learning by Attribute-Specific Embedding
Network, AAAI 2020; Dong et al., Fine-Grained Fashion Similarity Prediction by Attribute-Specific
Embedding Learning, TIP 2021): `meta.json` with, per data set, ATTRIBUTES in order and
ATTRIBUTES_NUM, the number of values of each; beside it a folder per data set with

    filenames_{train,valid,test}.txt   a path per line, relative to the folder
    label_train.txt                    picid attribute value
    query_{valid,test}.txt             picid attribute value
    candidate_{valid,test}.txt         picid attribute value: the gallery

picid is the 0-based line of the filenames file of the split, attribute and value are 0-based
positions. Lines may come in any order, end in CRLF and be padded with tabs. A line of a label file
may have more pairs.

DeepFashion's label files are of another dialect: pairs of the type of an attribute (from 1) and its
line in `Anno/list_attr_cloth.txt` (from 0). The value is the rank of that line among those of its
type: so it is in the authors' query and candidate files, which give one of the labels each.

Validation and test are what query and candidate files say, one attribute an image; what
`label_valid.txt` and `label_test.txt` add is compared with them and counted, not used.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.datasets.index_files import (
    labels_of,
    numbered_lines,
    read_index,
    read_pairs,
    read_paths,
)
from components.datasets.labelled import Label, LabelledImages, Unusable
from components.datasets.published_coding import Coding, Rows, coding_of, read_meta
from components.errors import HemlineError

SPLITS = ("train", "valid", "test")
NAME_OF_ROLE = {"query": "query", "gallery": "candidate"}
LABELS_OF_TRAINING = "label_train.txt"


class _SplitFiles(NamedTuple):
    """Files of a split as they are written; what is missing is None.

    `num_without` counts the lines of the label file that have no label.
    """

    split: str
    paths: Sequence[str] | None
    label_file: Rows | None
    num_without: int


class _Part(NamedTuple):
    """What a split adds to `LabelledImages`."""

    labels: Sequence[Label]
    unusable: Sequence[Unusable]
    left_out: Mapping[str, int]


def read_published(root: Path, *, dataset: str | None) -> LabelledImages:
    """Returns the labels of a data set with the queries and gallery of ASEN's authors.

    Values have the names of `fashionai.py`, those of `Anno/list_attr_cloth.txt` where DeepFashion's
    folder has it, and their numbers otherwise.

    Args:
        root: folder of `meta.json`.
        dataset: name of a data set in it, and of its folder.

    Raises:
        HemlineError: `meta.json` has no such data set, no split is there or one lacks a file, a
            line is not of the format, or files contradict each other.
    """
    num_values = read_meta(root, dataset=dataset)
    folder = root / str(dataset)
    files = [_read_files(folder, split) for split in SPLITS if _is_there(folder, split)]
    if not files:
        raise HemlineError(
            f"{folder} has no split; data.format published needs filenames_*.txt, and with them "
            f"{LABELS_OF_TRAINING} for train, query_*.txt and candidate_*.txt for valid and test"
        )
    label_files = [x.label_file for x in files if x.label_file is not None]
    coding = coding_of(folder, num_values=num_values, label_files=label_files)
    parts = [
        (_training if x.split == "train" else _evaluation)(folder, files=x, coding=coding)
        for x in files
    ]
    return LabelledImages(
        dataset=folder.name,
        labels=[label for part in parts for label in part.labels],
        source=str(folder),
        values_of=coding.values_of,
        unusable=[row for part in parts for row in part.unusable],
        left_out={what: number for part in parts for what, number in part.left_out.items()},
    )


def _is_there(folder: Path, split: str) -> bool:
    names = ["filenames", *(["label"] if split == "train" else NAME_OF_ROLE.values())]
    return any((folder / f"{name}_{split}.txt").is_file() for name in names)


def _read_files(folder: Path, split: str) -> _SplitFiles:
    filenames, label_file = folder / f"filenames_{split}.txt", folder / f"label_{split}.txt"
    paths, rows, num_without = None, None, 0
    if filenames.is_file() or split != "train":
        paths = [f"{folder.name}/{path}" for path in read_paths(filenames)]
    if label_file.is_file() or split == "train":
        num_images = None if paths is None else len(paths)
        rows, num_without = read_pairs(label_file, num_images=num_images)
    return _SplitFiles(split, paths, rows, num_without)


def _training(folder: Path, *, files: _SplitFiles, coding: Coding) -> _Part:
    assert files.label_file is not None, "the training split is read with its labels"
    if files.paths is None:
        what = f"labels of {LABELS_OF_TRAINING} without filenames_train.txt"
        return _Part([], [], {what: len(files.label_file)})
    if coding.positions is None:
        raise HemlineError(
            f"{folder / 'Anno/list_attr_cloth.txt'} is missing: the label files count its lines, "
            "and as not all of them occur there, their order is known from this file only"
        )
    labels, unusable = labels_of(
        coding.positions(files.label_file),
        written=files.label_file,
        source=folder / LABELS_OF_TRAINING,
        paths=files.paths,
        values_of=coding.values_of,
        split="train",
    )
    left_out = {f"images of {LABELS_OF_TRAINING} without a label": files.num_without}
    return _Part(labels, unusable, left_out)


def _evaluation(folder: Path, *, files: _SplitFiles, coding: Coding) -> _Part:
    assert files.paths is not None, "a split of queries and gallery is read with its paths"
    labels: list[Label] = []
    unusable: list[Unusable] = []
    protocol: dict[Path, Rows] = {}
    for role, name in NAME_OF_ROLE.items():
        path = folder / f"{name}_{files.split}.txt"
        protocol[path] = rows = read_index(path, num_images=len(files.paths), num_ids=1)
        usable, others = labels_of(
            rows,
            source=path,
            paths=files.paths,
            values_of=coding.values_of,
            split=files.split,
            role=role,
        )
        labels += usable
        unusable += others
    return _Part(labels, unusable, _further_labels(protocol, files=files, coding=coding))


def _further_labels(
    protocol: Mapping[Path, Rows], *, files: _SplitFiles, coding: Coding
) -> dict[str, int]:
    """Returns how many labels of a label file the queries and gallery leave out.

    Raises:
        HemlineError: a query or gallery image has a label that the label file does not give it.
    """
    if files.label_file is None:
        return {}
    name = f"label_{files.split}.txt"
    if coding.positions is None:
        what = f"labels of {name}, not to be compared without Anno/list_attr_cloth.txt"
        return {what: len(files.label_file)}
    labelled = set(map(tuple, coding.positions(files.label_file).tolist()))
    used = set()
    for path, rows in protocol.items():
        for row, label in enumerate(map(tuple, rows.tolist())):
            if label not in labelled:
                number = [number for number, _ in numbered_lines(path)][row]
                raise HemlineError(
                    f"{path} line {number}: {name} does not give image {label[0]} "
                    f"value {label[2]} of attribute {label[1]}; take both files from one release"
                )
            used.add(label)
    return {f"further labels of {name}, not in the published protocol": len(labelled - used)}
