"""CelebA, in a small copy of its layout."""

import pytest
from builders import write_files

from components.datasets.celeba import FLAGS, VALUES_OF, read_celeba
from components.datasets.labelled import Label
from components.errors import HemlineError

NAMES = ["Arched_Eyebrows", *sorted(FLAGS)]


def row(image, *flags):
    """Returns a line of the list: 1 for the flags that are named, and -1, padded as there."""
    return image + "".join(" 1" if x in flags else " -1" for x in NAMES).replace(" 1", "  1")


ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
FILES = {
    ATTRIBUTES: "\n".join(
        [
            "2",
            " ".join(NAMES) + " ",
            row("000001.jpg", "Black_Hair", "Goatee", "Mustache", "Male", "Arched_Eyebrows"),
            row("000002.jpg", "No_Beard", "Smiling", "Young").replace("  ", " "),
        ]
    ),
    PARTITION: "000001.jpg 0\n000002.jpg 1",
}


def test_flags_are_grouped_into_eight_attributes(tmp_path):
    labelled = read_celeba(write_files(tmp_path, FILES))

    first = [(x.attribute, x.value) for x in labelled.labels if x.path.endswith("000001.jpg")]
    assert first == [
        ("hair color", "black"),
        ("beard", "goatee"),
        ("beard", "mustache"),
        ("smiling", "no"),
        ("eyeglasses", "no"),
        ("gender", "male"),
        ("hat", "no"),
        ("age", "old"),
    ]
    assert labelled.labels[len(first) :] == [
        Label("img_align_celeba/000002.jpg", attribute, value, "valid")
        for attribute, value in [
            ("beard", "none"),
            ("smiling", "yes"),
            ("eyeglasses", "no"),
            ("gender", "female"),
            ("hat", "no"),
            ("age", "young"),
        ]
    ]
    assert {x.split for x in labelled.labels} == {"train", "valid"}
    assert labelled.left_out == {"images in no partition": 0}


def test_there_are_as_many_values_as_in_the_paper():
    assert len(VALUES_OF) == 8
    assert sum(map(len, VALUES_OF.values())) == 21


def test_the_originals_folders(tmp_path):
    files = {
        f"Anno/{ATTRIBUTES}": FILES[ATTRIBUTES],
        f"Eval/{PARTITION}": FILES[PARTITION].replace("000002", "000003"),
        "Img/img_align_celeba/000001.jpg": "",
    }

    labelled = read_celeba(write_files(tmp_path, files))

    assert labelled.labels[0].path == "Img/img_align_celeba/000001.jpg"
    assert labelled.labels[-1].split is None
    assert labelled.left_out == {"images in no partition": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ATTRIBUTES, FILES[ATTRIBUTES].replace("2", "3", 1), "counts 3 rows, but 2 follow"),
        (ATTRIBUTES, FILES[ATTRIBUTES].replace("Male ", ""), "line 2: the names lack Male"),
        (ATTRIBUTES, FILES[ATTRIBUTES] + " 1", r"line 4: expected a name and 17 numbers 1 or -1"),
        (ATTRIBUTES, FILES[ATTRIBUTES].replace(" -1", " 0"), "line 3: expected a name and 17"),
        (PARTITION, "000001.jpg 3", "line 1: expected an image and one of 0, 1, 2"),
        (PARTITION, "000001.jpg 0\n000001.jpg 1", "line 2: 000001.jpg is in train and in valid"),
    ],
)
def test_what_is_not_of_the_format_is_named(tmp_path, name, content, message):
    with pytest.raises(HemlineError, match=message):
        read_celeba(write_files(tmp_path, FILES | {name: content}))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"list_eval_partition\.txt is missing"):
        read_celeba(write_files(tmp_path, {ATTRIBUTES: FILES[ATTRIBUTES]}))
