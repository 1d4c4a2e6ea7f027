"""Shopping100k as its users distribute it, in a small copy of its layout."""

import pytest
from builders import write_files

from components.datasets.labelled import Label
from components.datasets.shopping100k import ATTRIBUTES, read_shopping100k
from components.errors import HemlineError

NUM_VALUES = [16, 17, 19, 14, 10, 15, 2, 11, 16, 7, 9, 15]


def line(**values):
    """Returns a line of labels: the blocks of attributes with the values that are given."""
    blocks = []
    for attribute, number in zip(ATTRIBUTES, NUM_VALUES, strict=True):
        blocks += ["1" if place == values.get(attribute) else "0" for place in range(number)]
    return " ".join(blocks) + "\n"


FILES = {
    "attr_num.txt": " ".join(map(str, NUM_VALUES)) + "\n",
    "imgs_train.txt": "Female/a.jpg\nFemale/b.jpg\n",
    "labels_train.txt": line(category=0, sport=14) + line(gender=1, color=18),
    "imgs_test.txt": "Male/c.jpg\n",
    "labels_test.txt": line(**dict.fromkeys(ATTRIBUTES, 1)),
}


def test_the_one_of_a_block_is_the_value_of_its_attribute(tmp_path):
    labelled = read_shopping100k(write_files(tmp_path, FILES))

    assert labelled.labels == [
        Label("Female/a.jpg", "category", "0", "train"),
        Label("Female/a.jpg", "sport", "14", "train"),
        Label("Female/b.jpg", "color", "18", "train"),
        Label("Female/b.jpg", "gender", "1", "train"),
        *(Label("Male/c.jpg", attribute, "1", "test") for attribute in ATTRIBUTES),
    ]
    assert sum(map(len, labelled.values_of.values())) == 151
    assert labelled.values_of["gender"] == ["0", "1"]
    assert labelled.one_value_each
    assert labelled.left_out["images without a value of fabric"] == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("attr_num.txt", "16 17 202\n", "attr_num.txt: expected 12 numbers of values"),
        ("labels_train.txt", line(), "labels_train.txt has 1 lines and imgs_train.txt 2"),
        ("labels_test.txt", "0 1 0\n", "labels_test.txt line 1: expected 151 numbers 0 or 1"),
        ("labels_test.txt", line().replace("0", "2", 1), "labels_test.txt line 1: expected 151"),
        ("labels_test.txt", "1 1" + line()[3:], "line 1: 2 values of category; an image has one"),
    ],
    ids=["DeepFashion's attributes", "lines", "short line", "no one-hot", "two values"],
)
def test_what_is_not_of_the_format_is_named(tmp_path, name, content, message):
    with pytest.raises(HemlineError, match=message):
        read_shopping100k(write_files(tmp_path, FILES | {name: content}))


def test_a_missing_file_is_named(tmp_path):
    files = {name: content for name, content in FILES.items() if name != "labels_test.txt"}

    with pytest.raises(HemlineError, match=r"labels_test\.txt is missing"):
        read_shopping100k(write_files(tmp_path, files))
