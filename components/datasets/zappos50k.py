"""Reader of Zappos50k: the images and metadata of UT-Zappos50K, the triplets of CSN.

UT-Zappos50K (Yu and Grauman, Fine-Grained Visual Comparisons with Local Learning, CVPR 2014)
brings `ut-zap50k-images` and `ut-zap50k-data/meta-data.csv`:

    CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle
    7965990-1,Boots,Ankle,1in - 1 3/4in,,Zipper;Buckle,Women,Leather,Round Toe

`;` separates several values, and an empty cell is no label. The image of a CID is named like it,
with a dot for the dash. CSN (Veit et al., Conditional Similarity Networks, CVPR 2017) brings

    filenames.json                           Boots/Ankle/Rieker/7965990.1.jpg
    tripletlists/heel_tripletlist_train.txt  0 2017 42

The first is text, in spite of its name: a path per line, relative to the images. A triplet counts
those lines from 0: the anchor, then the image that is far from it, then the one that is close.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from components.datasets.index_files import read_index, read_paths
from components.datasets.labelled import (
    Label,
    LabelledImages,
    PublishedTriplets,
    printable,
    read_csv_table,
    seen_values,
)
from components.errors import HemlineError

FILENAMES = "filenames.json"
IMAGES = "ut-zap50k-images"
METADATA_FILES = ("ut-zap50k-data/meta-data.csv", "meta-data.csv")

COLUMN_OF = {"class": "Category", "closure": "Closure", "gender": "Gender", "heel": "HeelHeight"}
"""The column of the metadata for each attribute of CSN, in CSN's order."""

SPLIT_OF = {"train": "train", "val": "valid", "test": "test"}
"""The splits by the names they have in CSN's files."""

_Triplets = Mapping[tuple[str, str], NDArray[np.int64]]


def read_zappos50k(root: Path) -> LabelledImages:
    """Returns the labels of the images that CSN lists, with CSN's triplets and their split.

    The split of a label is that of the triplets of its attribute in which its image occurs; where
    these are of several splits, the label is given for each. An image that is only in triplets of
    other attributes takes their split, because CSN divides images, not labels. Images in no
    triplet have no split; they are counted.

    Raises:
        HemlineError: a file is missing, or a line is not of the format.
    """
    listed = read_paths(root / FILENAMES)
    prefix = _image_prefix(root, listed[0])
    paths = [prefix + path for path in listed]
    triplets = _read_triplets(root / "tripletlists", num_images=len(paths))
    metadata = next((x for name in METADATA_FILES if (x := root / name).is_file()), None)
    if metadata is None:
        raise HemlineError(
            f"{root / METADATA_FILES[0]} is missing: it holds the labels of data.format zappos50k; "
            "extract ut-zap50k-data.zip of UT-Zappos50K under data.root"
        )
    occurs = _occurrence(triplets, num_images=len(paths))
    given = np.where(occurs.any(axis=1, keepdims=True), occurs, occurs.any(axis=0))
    labels, unlabelled, unusable = _labels(paths, _read_metadata(metadata), given)
    seen = seen_values(labels)
    return LabelledImages(
        dataset="Zappos50k",
        labels=labels,
        source=str(metadata),
        values_of={attribute: seen.get(attribute, []) for attribute in COLUMN_OF},
        triplets=PublishedTriplets(paths=paths, rows=triplets),
        unusable=[
            (printable(path), "no_value", f"{metadata.name} {printable(why)}")
            for path, why in unusable
        ],
        left_out={
            **{f"images without a value of {name}": num for name, num in unlabelled.items()},
            "images in no triplet list": int((~occurs.any(axis=(0, 1))).sum()),
        },
    )


def _labels(
    paths: Sequence[str],
    values_of_image: Mapping[str, Sequence[Sequence[str]]],
    given: NDArray[np.bool_],
) -> tuple[list[Label], dict[str, int], list[tuple[str, str]]]:
    """Returns labels, images without a value by attribute, and images without metadata and why.

    `given` says which splits the labels of an image have [attribute, split, image].
    """
    names = np.array(list(SPLIT_OF.values()))
    labels: list[Label] = []
    unlabelled = dict.fromkeys(COLUMN_OF, 0)
    unusable: list[tuple[str, str]] = []
    for image, path in enumerate(paths):
        name = PurePosixPath(path).stem
        found = values_of_image.get(_comparable(name))
        if found is None:
            unusable.append((path, f"has no row of CID {name.replace('.', '-')}"))
            continue
        for place, (attribute, values) in enumerate(zip(COLUMN_OF, found, strict=True)):
            unlabelled[attribute] += not values
            for split in names[given[place, :, image]].tolist() or [None]:
                labels += [Label(path, attribute, value, split) for value in values]
    return labels, unlabelled, unusable


def _read_metadata(path: Path) -> dict[str, list[list[str]]]:
    """Returns the values of every attribute of `COLUMN_OF`, by comparable CID."""
    columns, rows = read_csv_table(path)
    for column in ("CID", *COLUMN_OF.values()):
        if column not in columns:
            found = ", ".join(columns)
            raise HemlineError(f"{path}: column {column} is missing; the first line has {found}")
    places = [columns.index(column) for column in COLUMN_OF.values()]
    values_of_image: dict[str, list[list[str]]] = {}
    for number, row in rows:
        cid = _comparable(row[columns.index("CID")].strip())
        if cid in values_of_image:
            raise HemlineError(f"{path} line {number}: a second row of CID {cid}; keep one")
        values_of_image[cid] = [
            [value for cell in row[place].split(";") if (value := cell.strip())] for place in places
        ]
    return values_of_image


def _comparable(name: str) -> str:
    """Returns a CID, or the name of its image without extension, in one way of writing them."""
    return name.replace("-", ".")


def _read_triplets(folder: Path, *, num_images: int) -> _Triplets:
    """Returns anchors, positives and negatives [n, 3] by split and attribute."""
    triplets = {}
    for attribute in COLUMN_OF:
        for name, split in SPLIT_OF.items():
            path = folder / f"{attribute}_tripletlist_{name}.txt"
            anchor_far_close = read_index(path, num_images=num_images)
            triplets[split, attribute] = anchor_far_close[:, [0, 2, 1]]
    return triplets


def _occurrence(triplets: _Triplets, *, num_images: int) -> NDArray[np.bool_]:
    """Returns whether images occur in triplets [attribute, split, image]."""
    attributes, splits = list(COLUMN_OF), list(SPLIT_OF.values())
    occurs = np.zeros((len(attributes), len(splits), num_images), np.bool_)
    for (split, attribute), rows in triplets.items():
        occurs[attributes.index(attribute), splits.index(split), rows.ravel()] = True
    return occurs


def _image_prefix(root: Path, path: str) -> str:
    as_listed = not (root / IMAGES).is_dir() and (root / PurePosixPath(path).parts[0]).exists()
    return "" if as_listed else f"{IMAGES}/"
