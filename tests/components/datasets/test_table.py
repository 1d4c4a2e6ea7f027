"""A user's own pictures: labels.csv as people and spreadsheet programs write it."""

import pytest
from builders import png, write_files

from components.datasets.labelled import Label
from components.datasets.table import read_table_format
from components.errors import HemlineError

HEADER = "image,attribute,value\n"
A, B = Label("a.jpg", "neck", "v"), Label("b.jpg", "neck", "round")


def read(tmp_path, content):
    return read_table_format(write_files(tmp_path, {"labels.csv": content})).labels


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "a.jpg,neck,v\nb.jpg,neck,round\n",
        "\ufeff" + HEADER + "a.jpg,neck,v\nb.jpg,neck,round\n",
        HEADER + "a.jpg,neck,v\r\nb.jpg,neck,round\r\n",
        HEADER + "\na.jpg,neck,v\n  \nb.jpg,neck,round",
        HEADER + "a.jpg , neck,v \nb.jpg,neck,round\n",
        "image, attribute ,value\na.jpg,neck,v\nb.jpg,neck,round\n",
        "value,note,image,attribute\nv,x,a.jpg,neck\nround,,b.jpg,neck\n",
        HEADER + "a.jpg,neck,v\nb.jpg,neck,round\na.jpg,neck,v\n",
    ],
    ids=[
        "plain",
        "BOM",
        "CRLF",
        "blank lines",
        "blanks",
        "blanks in the first line",
        "other columns",
        "duplicates",
    ],
)
def test_ways_to_write_the_same_file(tmp_path, content):
    assert read(tmp_path, content) == [A, B]


def test_an_image_has_a_row_per_label(tmp_path):
    labels = read(tmp_path, HEADER + "a.jpg,neck,v\na.jpg,hem,long\na.jpg,neck,round\n")

    assert labels == [A, Label("a.jpg", "hem", "long"), Label("a.jpg", "neck", "round")]


@pytest.mark.parametrize("value", ["NA", "null", "None", "nan", "1", "1.0", "true", '"a, b"'])
def test_values_are_text_as_written(tmp_path, value):
    assert read(tmp_path, HEADER + f"a.jpg,neck,{value}\n")[0].value == value.strip('"')


def test_paths_are_relative_to_the_images_folder_where_there_is_one(tmp_path):
    write_files(tmp_path, {"images/a.jpg": png(0)})

    assert read(tmp_path, HEADER + "a.jpg,neck,v\n") == [Label("images/a.jpg", "neck", "v")]


def test_the_folder_names_the_data_set(tmp_path):
    root = write_files(tmp_path / "spring", {"labels.csv": HEADER + "a.jpg,neck,v\n"})

    assert read_table_format(root).dataset == "spring"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image,attribute\na.jpg,neck\n", "column value is missing; .* has image, attribute$"),
        ("image;attribute;value\na;b;c\n", "column image is missing; .* image;attribute;value"),
        ("a.jpg,neck,v\n", r"column image is missing; the first line has a\.jpg, neck, v"),
        ("", "column image is missing; the first line has nothing"),
        (HEADER + "\na.jpg,neck,v\n\nb.jpg,,v\n", "line 5: an empty cell"),
        (HEADER + "a.jpg,neck,  \n", "line 2: an empty cell"),
        (HEADER + "a.jpg,neck,v\nb.jpg,neck\n", "line 3: expected 3 cells .* got 2"),
        # a comma too many must not shift the cells into other columns
        (HEADER + "a.jpg,neck,v,extra\n", "line 2: expected 3 cells .* got 4"),
        (HEADER + 'a.jpg,neck,v\n"b.jpg,neck,v\n', "not a CSV file in UTF-8"),
        ((HEADER + "ä.jpg,neck,v\n").encode("latin-1"), "not a CSV file in UTF-8"),
        ((HEADER + "a.jpg,neck,v\n").encode("utf-16"), "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_refused(tmp_path, content, expected):
    with pytest.raises(HemlineError, match=rf"labels\.csv.*{expected}"):
        read(tmp_path, content)


def test_a_missing_file_is_named_with_its_columns(tmp_path):
    with pytest.raises(HemlineError, match=r"labels\.csv is missing: .*image,attribute,value"):
        read_table_format(tmp_path)
