"""DARN as ASEN's authors index it: every label of an image, by split."""

import json
import os
from pathlib import Path

import pytest
from builders import png, write_files

from components.datasets.catalog import build_catalog
from components.datasets.darn import NUM_VALUES, read_darn
from components.datasets.labelled import Label
from components.datasets.read import read_labels
from components.errors import HemlineError

FILES = {
    "filenames_train.txt": "pic/5/a.jpg\npic/5/b.jpg\npic/6/c.jpg",
    "label_train.txt": "2 2 54 8 0\n0 0 19\n1 0 2 0 3\n",
    "filenames_test.txt": "pic/7/d.jpg\n",
    "label_test.txt": "0\t7\t5\t\t\t\r\n",
}


def test_every_label_of_an_image_is_kept_with_the_split_of_its_file(tmp_path):
    labelled = read_darn(write_files(tmp_path, FILES))

    assert labelled.labels == [
        Label("pic/6/c.jpg", "clothes color", "54", "train"),
        Label("pic/6/c.jpg", "sleeve shape", "0", "train"),
        Label("pic/5/a.jpg", "clothes category", "19", "train"),
        Label("pic/5/b.jpg", "clothes category", "2", "train"),
        Label("pic/5/b.jpg", "clothes category", "3", "train"),
        Label("pic/7/d.jpg", "sleeve length", "5", "test"),
    ]
    assert not labelled.one_value_each, "image b has two categories"
    assert labelled.dataset == "DARN"


def test_images_of_several_attributes_and_values_come_whole_into_the_catalog(tmp_path):
    """Lines padded with tabs, as those of the authors' label files; ids in any order."""
    padding = "\t" * 14 + "\r\n"
    files = {
        "filenames_train.txt": "pic/51586095/3660_47_1.jpg\r\npic/50025233/2640_43_1.jpg\r\n",
        "label_train.txt": f"1\t0\t4\t2\t7{padding}0\t0\t3\t2\t7\t2\t8\t4\t1\t4\t1{padding}",
        "filenames_test.txt": "pic/51606006/2760_02_3.jpg\r\n",
        "label_test.txt": f"0\t0\t4\t2\t8\t2\t7\t4\t2{padding}",
    }
    pictures = {
        path: png(seed)
        for seed, path in enumerate(
            path.strip()
            for name, text in files.items()
            if name.startswith("filenames")
            for path in text.splitlines()
        )
    }
    root = write_files(tmp_path, {**files, **pictures})
    catalog = build_catalog(read_labels(root, data_format="darn"), root, exclude_attributes=())

    paths, schema = catalog.images["path"].to_pylist(), catalog.schema
    labels = [
        (
            paths[row["image"]].rpartition("/")[2],
            schema.names[row["attribute"]],
            schema.attributes[row["attribute"]].values[row["value"]],
            row["split"],
        )
        for row in catalog.labels.to_pylist()
    ]
    assert sorted(labels) == [
        ("2640_43_1.jpg", "clothes category", "4", "train"),
        ("2640_43_1.jpg", "clothes color", "7", "train"),
        ("2760_02_3.jpg", "clothes category", "4", "test"),
        ("2760_02_3.jpg", "clothes color", "7", "test"),
        ("2760_02_3.jpg", "clothes color", "8", "test"),
        ("2760_02_3.jpg", "clothes pattern", "2", "test"),
        ("3660_47_1.jpg", "clothes category", "3", "train"),
        ("3660_47_1.jpg", "clothes color", "7", "train"),
        ("3660_47_1.jpg", "clothes color", "8", "train"),
        ("3660_47_1.jpg", "clothes pattern", "1", "train"),
    ]
    assert catalog.quarantine.num_rows == 0


def test_attributes_and_numbers_of_values_are_those_of_the_published_meta_file():
    if "HEMLINE_REAL_DATA" not in os.environ:
        pytest.skip("HEMLINE_REAL_DATA names no folder with published/meta.json")
    path = Path(os.environ["HEMLINE_REAL_DATA"]) / "published" / "meta.json"
    meta = json.loads(path.read_text())["DARN"]

    assert list(NUM_VALUES) == meta["ATTRIBUTES"]
    assert meta["ATTRIBUTES_NUM"] == NUM_VALUES


@pytest.mark.parametrize(("place", "attribute"), list(enumerate(NUM_VALUES)))
def test_the_last_value_of_an_attribute_exists_and_the_next_is_set_apart(
    tmp_path, place, attribute
):
    last = NUM_VALUES[attribute] - 1
    labels = {"label_test.txt": f"0 {place} {last} {place} {last + 1}\n"}
    labelled = read_darn(write_files(tmp_path, FILES | labels))

    assert labelled.labels[-1] == Label("pic/7/d.jpg", attribute, str(last), "test")
    assert labelled.values_of[attribute][-1] == str(last)
    detail = f"label_test.txt: 0 {place} {last + 1} is of no value of {attribute}"
    assert labelled.unusable == [("pic/7/d.jpg", "unknown_value", detail)]


def test_an_unknown_attribute_is_set_apart(tmp_path):
    labelled = read_darn(write_files(tmp_path, FILES | {"label_test.txt": "0 9 0\n"}))

    detail = "label_test.txt: 0 9 0 is of no attribute"
    assert labelled.unusable == [("pic/7/d.jpg", "unknown_attribute", detail)]


def test_images_without_a_label_are_counted_over_all_splits(tmp_path):
    files = {"label_train.txt": "0\t\t\n1 0 2\n2\n", "label_test.txt": "0\n"}
    labelled = read_darn(write_files(tmp_path, FILES | files))

    assert labelled.labels == [Label("pic/5/b.jpg", "clothes category", "2", "train")]
    assert labelled.left_out == {"images without a label": 3}


@pytest.mark.parametrize("missing", ["filenames_train.txt", "label_train.txt"])
def test_one_file_of_a_split_is_not_enough(tmp_path, missing):
    files = {name: content for name, content in FILES.items() if name != missing}
    with pytest.raises(HemlineError, match=rf"{missing} is missing"):
        read_darn(write_files(tmp_path, files))


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(HemlineError, match=r"none of filenames_\*\.txt and label_\*\.txt"):
        read_darn(write_files(tmp_path, {"filenames.txt": "pic/a.jpg"}))


def test_an_id_counts_the_images_of_its_own_split(tmp_path):
    with pytest.raises(HemlineError, match=r"label_test\.txt line 2: no image has the id 1"):
        read_darn(write_files(tmp_path, FILES | {"label_test.txt": "0 0 1\n1 0 1\n"}))
