"""Zappos50k: CSN's triplets and their splits, UT-Zappos50K's metadata."""

import numpy as np
import pytest
from builders import write_files

from components.datasets.labelled import Label
from components.datasets.zappos50k import read_zappos50k
from components.errors import HemlineError

METADATA = "ut-zap50k-data/meta-data.csv"
HEADER = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle\n"
A, B, C, D, E = (
    f"Shoes/Flats/J. Crew/{stem}.jpg" for stem in ("10.1", "10.2", "11.1", "11.22", "12.1")
)
LISTS = {
    f"tripletlists/{attribute}_tripletlist_{split}.txt": content
    for attribute in ("class", "closure", "gender", "heel")
    for split, content in {"train": "0 2 1\n1 2 0\n", "val": "3 3 3\n", "test": "4 4 4\n"}.items()
}
FILES = {
    "filenames.json": "".join(f"{path}\n" for path in (A, B, C, D, E)),
    METADATA: HEADER
    + "10-1,Shoes,Flats,Flat,Padded,Slip-On,Women,Leather,\n"
    + "10-2,Shoes,Flats,Flat,,Lace Up;Buckle,Women;Girls,,\n"
    + 'unused,Boots,,"2in - 2 3/4in",,Zipper,Men,,\n'
    + '11-1,Boots,Ankle,"2in - 2 3/4in",,Zipper,Men,,\n'
    + "11-22,Boots,Ankle,,,Zipper,Men,,\n"
    + "12-1,,Ankle,,,,Men,,\n",
} | LISTS
IMAGES = "ut-zap50k-images/"


def read(tmp_path, files=()):
    return read_zappos50k(write_files(tmp_path, FILES | dict(files)))


def of(labelled, path):
    return [label[1:4] for label in labelled.labels if label.path == IMAGES + path]


def test_labels_are_the_cells_of_the_image_in_the_order_of_csn(tmp_path):
    labelled = read(tmp_path)

    assert of(labelled, A) == [
        ("class", "Shoes", "train"),
        ("closure", "Slip-On", "train"),
        ("gender", "Women", "train"),
        ("heel", "Flat", "train"),
    ]
    assert of(labelled, C)[-1] == ("heel", "2in - 2 3/4in", "train")
    assert all(label.role is None for label in labelled.labels)


def test_a_cell_may_hold_several_values_or_none(tmp_path):
    labelled = read(tmp_path)

    assert of(labelled, B) == [
        ("class", "Shoes", "train"),
        ("closure", "Lace Up", "train"),
        ("closure", "Buckle", "train"),
        ("gender", "Women", "train"),
        ("gender", "Girls", "train"),
        ("heel", "Flat", "train"),
    ]
    assert of(labelled, D) == [
        ("class", "Boots", "valid"),
        ("closure", "Zipper", "valid"),
        ("gender", "Men", "valid"),
    ]
    assert of(labelled, E) == [("gender", "Men", "test")]
    assert labelled.left_out == {
        "images without a value of class": 1,
        "images without a value of closure": 1,
        "images without a value of gender": 0,
        "images without a value of heel": 2,
        "images in no triplet list": 0,
    }


def test_attributes_come_in_the_order_of_csn_whatever_the_first_image_has(tmp_path):
    labelled = read(tmp_path, {"filenames.json": "".join(f"{x}\n" for x in (E, D, C, B, A))})

    assert list(labelled.values_of.items()) == [
        ("class", ["Boots", "Shoes"]),
        ("closure", ["Buckle", "Lace Up", "Slip-On", "Zipper"]),
        ("gender", ["Girls", "Men", "Women"]),
        ("heel", ["2in - 2 3/4in", "Flat"]),
    ]


def test_csn_writes_anchor_far_close(tmp_path):
    """A check by the labels: closure of the anchor is that of the positive alone."""
    files = {"tripletlists/closure_tripletlist_train.txt": "2 0 3\r\n3 1 2"}
    labelled = read(tmp_path, files)

    triplets = labelled.triplets.rows["train", "closure"]
    assert triplets.tolist() == [[2, 3, 0], [3, 2, 1]]
    closure = {x.path: x.value for x in labelled.labels if x.attribute == "closure"}
    for anchor, positive, negative in triplets:
        values = [closure[labelled.triplets.paths[i]] for i in (anchor, positive, negative)]
        assert values[0] == values[1] != values[2]


def test_triplets_are_kept_by_split_and_attribute(tmp_path):
    files = {name: f"0 1 {place % 5}\n" for place, name in enumerate(LISTS)}
    triplets = read(tmp_path, files).triplets

    assert list(triplets.paths) == [IMAGES + path for path in (A, B, C, D, E)]
    assert {key: rows.tolist() for key, rows in triplets.rows.items()} == {
        (split, attribute): [[0, (3 * a + s) % 5, 1]]
        for a, attribute in enumerate(["class", "closure", "gender", "heel"])
        for s, split in enumerate(["train", "valid", "test"])
    }
    assert all(rows.dtype == np.int64 for rows in triplets.rows.values())


def test_the_split_is_that_of_the_triplets_of_the_attribute(tmp_path):
    """Image A: closure in valid and test, as its lists say; its other attributes in train."""
    files = {
        "tripletlists/closure_tripletlist_train.txt": "1 2 1\n",
        "tripletlists/closure_tripletlist_val.txt": "3 0 3\n",
        "tripletlists/closure_tripletlist_test.txt": "0 4 4\n",
    }
    labelled = read(tmp_path, files)

    assert of(labelled, A) == [
        ("class", "Shoes", "train"),
        ("closure", "Slip-On", "valid"),
        ("closure", "Slip-On", "test"),
        ("gender", "Women", "train"),
        ("heel", "Flat", "train"),
    ]


def test_an_image_without_triplets_of_an_attribute_is_split_as_in_the_others(tmp_path):
    without_d = {name: "4 4 4\n" for name in LISTS if name.endswith("val.txt")}
    labelled = read(tmp_path, without_d | {"tripletlists/heel_tripletlist_val.txt": "3 3 3\n"})

    assert {split for _, _, split in of(labelled, D)} == {"valid"}
    assert labelled.left_out["images in no triplet list"] == 0


def test_an_image_in_no_triplet_has_no_split_and_is_counted(tmp_path):
    labelled = read(tmp_path, dict.fromkeys(LISTS, "0 1 2\n"))

    assert of(labelled, E) == [("gender", "Men", None)]
    assert {split for _, _, split in of(labelled, D)} == {None}
    assert labelled.left_out["images in no triplet list"] == 2


def test_an_image_without_a_row_of_metadata_is_set_apart(tmp_path):
    rows = FILES[METADATA].replace("11-1,", "11-3,")
    labelled = read(tmp_path, {METADATA: rows})

    assert of(labelled, C) == []
    detail = "meta-data.csv has no row of CID 11-1"
    assert labelled.unusable == [(IMAGES + C, "no_value", detail)]


@pytest.mark.parametrize(
    ("written", "name"),
    [("-", "."), (".", "."), ("-", "-"), (".", "-")],
    ids=["as published", "dots", "dashes", "the other way round"],
)
def test_images_and_rows_meet_with_dots_and_dashes(tmp_path, written, name):
    cids = FILES[METADATA]
    for cid in ("10-1", "10-2", "11-1", "11-22", "12-1"):
        cids = cids.replace(f"\n{cid},", f"\n{cid.replace('-', written)},")
    filenames = "".join(
        path.replace(stem, stem.replace(".", name)) + "\n"
        for path, stem in zip(
            (A, B, C, D, E), ("10.1", "10.2", "11.1", "11.22", "12.1"), strict=True
        )
    )
    labelled = read(tmp_path, {METADATA: cids, "filenames.json": filenames})

    assert labelled.unusable == []
    assert len(labelled.labels) == 18


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n",
        lambda text: text.rstrip("\n"),
    ],
    ids=["CRLF", "BOM", "blank last lines", "no last newline"],
)
def test_ways_to_write_the_same_files(tmp_path, written):
    plain = read(tmp_path / "plain")
    other = read(tmp_path / "other", {name: written(text) for name, text in FILES.items()})

    assert other.labels == plain.labels
    for key, rows in plain.triplets.rows.items():
        assert other.triplets.rows[key].tolist() == rows.tolist()


def test_metadata_may_lie_beside_the_filenames(tmp_path):
    files = {name: content for name, content in FILES.items() if name != METADATA}
    beside = write_files(tmp_path, files | {"meta-data.csv": FILES[METADATA]})

    assert len(read_zappos50k(beside).labels) == 18


@pytest.mark.parametrize(
    ("folders", "prefix"),
    [([], IMAGES), (["ut-zap50k-images"], IMAGES), (["Shoes"], ""), (["Shoes", IMAGES], IMAGES)],
)
def test_images_are_looked_for_where_they_lie(tmp_path, folders, prefix):
    for folder in folders:
        (tmp_path / folder).mkdir()
    labelled = read(tmp_path)

    assert labelled.labels[0] == Label(prefix + A, "class", "Shoes", "train")
    assert labelled.triplets.paths[0] == prefix + A


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(tmp_path, missing):
    files = {name: content for name, content in FILES.items() if name != missing}
    with pytest.raises(HemlineError, match=rf"{missing} is missing"):
        read_zappos50k(write_files(tmp_path, files))


@pytest.mark.parametrize("column", ["CID", "Category", "HeelHeight", "Closure", "Gender"])
def test_a_missing_column_is_named(tmp_path, column):
    metadata = FILES[METADATA].replace(column, "Other", 1)
    with pytest.raises(HemlineError, match=rf"meta-data\.csv: column {column} is missing; .*Other"):
        read(tmp_path, {METADATA: metadata})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (METADATA, HEADER + "\n10-1,Shoes,Flats\n", "line 3: expected 9 cells .* got 3"),
        (METADATA, FILES[METADATA] + "10-1,,,,,,,,\n", r"line 8: a second row of CID 10\.1"),
        ("tripletlists/heel_tripletlist_val.txt", "0 1 2\n0 1 5\n", "line 2: no image .* id 5;"),
        ("tripletlists/heel_tripletlist_val.txt", "0 1\n", "line 1: expected three whole numbers"),
        ("filenames.json", f"{A}\n\n{B}\n", "line 2: a blank line between paths"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path, name, content, expected):
    with pytest.raises(HemlineError, match=rf"{name} {expected}"):
        read(tmp_path, {name: content})


def test_an_image_whose_name_is_not_utf_8_is_set_apart_in_readable_form(tmp_path):
    filenames = FILES["filenames.json"].encode().replace(b"11.1", b"11\xe4.1")
    labelled = read(tmp_path, {"filenames.json": filenames})

    path = IMAGES + C.replace("11", r"11\xe4")
    assert labelled.unusable == [(path, "no_value", r"meta-data.csv has no row of CID 11\xe4-1")]
