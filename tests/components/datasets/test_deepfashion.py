"""DeepFashion's category and attribute benchmark, in a small copy of its layout."""

import numpy as np
import pytest
from builders import write_files

from components.datasets.deepfashion import TYPES, read_deepfashion, read_deepfashion_fine
from components.datasets.labelled import Label
from components.errors import HemlineError

CLOTH, ATTRIBUTES = "Anno/list_attr_cloth.txt", "Anno/list_attr_img.txt"
PARTITION = "Eval/list_eval_partition.txt"
FILES = {
    CLOTH: (
        "5\nattribute_name  attribute_type\n"
        "abstract print                1\na-line       3\nx\t5\nacid wash    2\nb print   1\n"
    ),
    ATTRIBUTES: (
        "3\nimage_name  attribute_labels\n"
        "img/A_Blouse/img_01.jpg      1 -1  0 -1  1\n"
        "img/A_Blouse/img_02.jpg     -1 -1 -1  0 -1 \n"
        "img/B-Dress/img_01.jpg      -1  1  1 -1 -1\n"
    ),
    PARTITION: (
        "3\nimage_name  evaluation_status\n"
        "img/A_Blouse/img_01.jpg      train\n"
        "img/A_Blouse/img_02.jpg      test\n"
        "img/B-Dress/img_01.jpg       val\n"
    ),
}
LABELS = [
    Label("img/A_Blouse/img_01.jpg", "texture", "abstract print", "train"),
    Label("img/A_Blouse/img_01.jpg", "texture", "b print", "train"),
    Label("img/B-Dress/img_01.jpg", "shape", "a-line", "valid"),
    Label("img/B-Dress/img_01.jpg", "style", "x", "valid"),
]


def test_types_are_attributes_and_attributes_are_values(tmp_path):
    labelled = read_deepfashion(write_files(tmp_path, FILES))

    assert labelled.labels == LABELS
    assert labelled.values_of == {
        "texture": ["abstract print", "b print"],
        "fabric": ["acid wash"],
        "shape": ["a-line"],
        "part": [],
        "style": ["x"],
    }
    assert not labelled.one_value_each, "image 01 of A_Blouse has two textures"
    assert labelled.left_out == {
        "images without an attribute": 1,
        "images in no partition": 0,
        "rows of the partition without attributes": 0,
    }


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "  \t\n"),
        lambda text: text + "\n \n",
        lambda text: text.rstrip("\n"),
    ],
    ids=["CRLF", "BOM", "blanks at the end of lines", "blank last lines", "no last newline"],
)
def test_ways_to_write_the_same_files(tmp_path, written):
    files = {name: written(content) for name, content in FILES.items()}

    assert read_deepfashion(write_files(tmp_path, files)).labels == LABELS


def test_every_1_is_a_label_and_nothing_else_is(tmp_path):
    matrix = np.random.default_rng(0).integers(-1, 2, (6, 40))
    matrix[0], matrix[1] = 1, -1
    cloth = "".join(f"name {a}  {a % 5 + 1}\n" for a in range(40))
    rows = "".join(f"img/{i}.jpg {' '.join(map(str, row))}\n" for i, row in enumerate(matrix))
    files = {CLOTH: f"40\nnames\n{cloth}", ATTRIBUTES: f"6\nnames\n{rows}"}

    expected = [
        Label(f"img/{image}.jpg", TYPES[place % 5], f"name {place}", None)
        for image in range(6)
        for place in range(40)
        if matrix[image, place] == 1
    ]
    labelled = read_deepfashion(write_files(tmp_path, FILES | files))
    assert labelled.labels == expected
    assert labelled.left_out["images without an attribute"] == 1
    assert labelled.left_out["images in no partition"] == 6
    assert labelled.left_out["rows of the partition without attributes"] == 3


def test_a_name_that_repeats_within_a_type_is_one_value(tmp_path):
    cloth = "5\nnames\nprint 1\nprint 3\nx 5\ny 2\nprint  1\n"
    labelled = read_deepfashion(write_files(tmp_path, FILES | {CLOTH: cloth}))

    assert labelled.values_of["texture"] == ["print"]
    assert labelled.values_of["shape"] == ["print"]
    assert labelled.labels[0] == Label("img/A_Blouse/img_01.jpg", "texture", "print", "train")
    assert [label.attribute for label in labelled.labels] == ["texture", "shape", "style"]


def test_an_image_without_a_row_in_the_partition_has_no_split(tmp_path):
    partition = "1\nnames\nimg/A_Blouse/img_01.jpg test\n"
    labelled = read_deepfashion(write_files(tmp_path, FILES | {PARTITION: partition}))

    assert [label.split for label in labelled.labels] == ["test", "test", None, None]
    assert labelled.left_out["images in no partition"] == 2


def test_the_annotation_may_be_called_coarse(tmp_path):
    files = {name.replace("Anno/", "Anno_coarse/"): content for name, content in FILES.items()}

    assert read_deepfashion(write_files(tmp_path, files)).labels == LABELS


@pytest.mark.parametrize(
    ("folders", "prefix"),
    [([], ""), (["img"], ""), (["Img/img"], "Img/"), (["img", "Img/img"], ""), (["Img"], "")],
)
def test_images_are_looked_for_where_the_copy_has_them(tmp_path, folders, prefix):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    labelled = read_deepfashion(write_files(tmp_path, FILES))

    assert labelled.labels[0].path == f"{prefix}img/A_Blouse/img_01.jpg"
    assert labelled.labels[0].split == "train", "the partition is looked up by the path as listed"


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(tmp_path, missing):
    files = {name: content for name, content in FILES.items() if name != missing}
    with pytest.raises(HemlineError, match=rf"{missing} is missing"):
        read_deepfashion(write_files(tmp_path, files))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, 1])
def test_the_first_line_must_count_the_rows(tmp_path, name, change):
    count, rest = FILES[name].split("\n", 1)
    files = FILES | {name: f"{int(count) + change}\n{rest}"}
    expected = rf"{name}: its first line counts {int(count) + change} rows, but {count} follow"
    with pytest.raises(HemlineError, match=expected):
        read_deepfashion(write_files(tmp_path, files))


@pytest.mark.parametrize("content", ["", "names\n", "img/a.jpg 1 1 1 1 1\n"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_does_not_begin_with_a_count_is_refused(tmp_path, name, content):
    with pytest.raises(HemlineError, match=rf"{name} line 1: expected the number of rows, got"):
        read_deepfashion(write_files(tmp_path, FILES | {name: content}))


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        (CLOTH, "print 6", "expected the name of an attribute and its type, 1 to 5, got 'print 6'"),
        (CLOTH, "a-line", "expected the name of an attribute and its type"),
        (CLOTH, "3", "expected the name of an attribute and its type"),
        (ATTRIBUTES, "img/b.jpg 1 1 1 1", "expected 5 numbers, .* got 4"),
        (ATTRIBUTES, "img/b.jpg 1 1 1 1 1 1", "expected 5 numbers, .* got 6"),
        (ATTRIBUTES, "img/b.jpg 1 -1 2 1 1", r"'2' is none of 1 \(yes\), -1 \(no\), 0 \(unknown\)"),
        (ATTRIBUTES, "img/b.jpg 1 1 1 1 y", "'y' is none of 1"),
        (PARTITION, "img/b.jpg valid", "one of train, val, test, got 'img/b.jpg valid'"),
        (PARTITION, "img/b.jpg", "one of train, val, test"),
        (PARTITION, "img/A_Blouse/img_01.jpg val", "img_01.jpg is in train and in valid"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path, name, line, expected):
    count, rest = FILES[name].split("\n", 1)
    files = FILES | {name: f"{int(count) + 1}\n{rest}\n{line}\n"}
    with pytest.raises(HemlineError, match=rf"{name} line {int(count) + 4}: .*{expected}"):
        read_deepfashion(write_files(tmp_path, files))


FINE = {
    "Anno_fine/list_attr_cloth.txt": (
        "6\nattribute_name attribute_type\nfloral 1\nsolid 1\nlong_sleeve 2\nno_dress 3\n"
        "v_neckline 4\nloose 6\n"
    ),
    "Anno_fine/train.txt": "img/A/img_01.jpg\nimg/A/img_02.jpg\n",
    "Anno_fine/train_attr.txt": "1 1 0 1 0 0\n0 0 0 0 0 0\n",
    "Anno_fine/val.txt": "img/B/img_01.jpg\n",
    "Anno_fine/val_attr.txt": "0 0 1 0 0 1 \n",
    "Anno_fine/test.txt": "img/C/img_01.jpg\n",
    "Anno_fine/test_attr.txt": "0 1 0 0 1 0\n",
}


def test_the_fine_annotation_is_a_data_set_of_its_own(tmp_path):
    labelled = read_deepfashion_fine(write_files(tmp_path, {**FINE, "Img/img/A/img_01.jpg": ""}))

    assert labelled.dataset == "DeepFashion-fine"
    assert labelled.labels == [
        Label("Img/img/A/img_01.jpg", "texture", "floral", "train"),
        Label("Img/img/A/img_01.jpg", "texture", "solid", "train"),
        Label("Img/img/A/img_01.jpg", "length", "no_dress", "train"),
        Label("Img/img/B/img_01.jpg", "sleeve", "long_sleeve", "valid"),
        Label("Img/img/B/img_01.jpg", "fit", "loose", "valid"),
        Label("Img/img/C/img_01.jpg", "texture", "solid", "test"),
        Label("Img/img/C/img_01.jpg", "neckline", "v_neckline", "test"),
    ]
    assert labelled.values_of["texture"] == ["floral", "solid"]
    assert labelled.values_of["fabric"] == []
    assert labelled.left_out == {"images without an attribute": 1}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("val_attr.txt", "0 0 1 0 0\n", r"val_attr\.txt line 1: expected 6 numbers, .* got 5"),
        ("val_attr.txt", "0 0 1 0 0 2\n", r"val_attr\.txt line 1: '2' is none of 1 \(yes\)"),
        ("val.txt", "a.jpg\nb.jpg\n", r"val_attr\.txt has 1 lines and val\.txt 2; .* again"),
        ("list_attr_cloth.txt", "1\nname type\nfloral 7\n", "line 3: .* its type, 1 to 6, got"),
    ],
)
def test_a_fine_annotation_that_is_not_of_the_format_is_named(tmp_path, name, content, expected):
    with pytest.raises(HemlineError, match=expected):
        read_deepfashion_fine(write_files(tmp_path, FINE | {f"Anno_fine/{name}": content}))


def test_a_copy_with_the_fine_annotation_only_names_its_format(tmp_path):
    with pytest.raises(HemlineError, match=r"has Anno_fine .*: set data\.format: deepfashion_fine"):
        read_deepfashion(write_files(tmp_path, FINE))
