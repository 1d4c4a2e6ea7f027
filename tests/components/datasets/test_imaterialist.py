"""iMaterialist-Fashion 2018, in a small copy of its layout."""

import json

import pytest
from builders import write_files

from components.datasets.imaterialist import read_imaterialist
from components.datasets.labelled import Label
from components.errors import HemlineError

LABEL_MAP = "iMat_fashion_2018_label_map_228.csv"
FILES = {
    LABEL_MAP: (
        "labelId,taskId,labelName,taskName\r\n"
        '1,6,Argyle,pattern\r\n2,1,"Athletic Pants, long",category\r\n3,6,Plain,pattern'
    ),
    "train.json": json.dumps(
        {
            "images": [{"imageId": "7", "url": "https://shop.example/7"}],
            "annotations": [
                {"imageId": "7", "labelId": ["3", "2", "1"]},
                {"imageId": "8", "labelId": []},
            ],
        }
    ),
    "validation.json": json.dumps({"annotations": [{"image_id": 7, "label_id": [2]}]}),
}


def test_tasks_are_attributes_and_files_are_splits(tmp_path):
    labelled = read_imaterialist(write_files(tmp_path, FILES))

    assert labelled.labels == [
        Label("train/7.jpg", "pattern", "Plain", "train"),
        Label("train/7.jpg", "category", "Athletic Pants, long", "train"),
        Label("train/7.jpg", "pattern", "Argyle", "train"),
        Label("validation/7.jpg", "category", "Athletic Pants, long", "valid"),
    ]
    assert labelled.values_of == {
        "pattern": ["Argyle", "Plain"],
        "category": ["Athletic Pants, long"],
    }
    assert not labelled.one_value_each, "image 7 has two patterns"
    assert labelled.left_out == {"images without a label": 1}


def test_the_validation_file_by_its_other_name(tmp_path):
    files = {LABEL_MAP: FILES[LABEL_MAP], "val.json": FILES["validation.json"]}

    assert read_imaterialist(write_files(tmp_path, files)).labels == [
        Label("val/7.jpg", "category", "Athletic Pants, long", "valid")
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.json", '{"images": []}', "train.json has no list `annotations`"),
        ("train.json", "[1]", "train.json has no list `annotations`"),
        (
            "train.json",
            '{"annotations": [{"imageId": "7"}]}',
            "annotation 0, counted from 0, needs",
        ),
        ("train.json", '{"annotations": [7]}', "annotation 0, counted from 0, needs imageId"),
        (
            "train.json",
            '{"annotations": [{"imageId": 7, "labelId": [229]}]}',
            r"image 7 has the label 229, which \*label_map\*.csv does not name; it has 3 labels",
        ),
        (LABEL_MAP, "labelId,taskId,labelName\n1,6,Argyle\n", "column taskName is missing"),
        (
            LABEL_MAP,
            "labelId,taskId,labelName,taskName\n1,6,Argyle,pattern\n1,6,Plain,pattern\n",
            "line 3: a second name of label 1",
        ),
        ("another_label_map.csv", "labelId", "has 2 files"),
    ],
)
def test_what_is_not_of_the_format_is_named(tmp_path, name, content, message):
    with pytest.raises(HemlineError, match=message):
        read_imaterialist(write_files(tmp_path, FILES | {name: content}))


def test_a_folder_without_labels_says_what_is_needed(tmp_path):
    with pytest.raises(HemlineError, match=r"none of train\.json, validation\.json, val\.json"):
        read_imaterialist(write_files(tmp_path, {LABEL_MAP: FILES[LABEL_MAP]}))
