"""FashionAI's layout, with the quirks that its files and spreadsheet programs bring."""

import pytest
from builders import write_files

from components.datasets.fashionai import read_fashionai
from components.datasets.fashionai_values import FASHIONAI_VALUES
from components.datasets.labelled import Label
from components.errors import HemlineError

NECK = "neck_design_labels"  # five values: invisible, turtle, ruffle_semi_high, low_turtle, draped
TURTLE = Label("Images/a.jpg", "neck_design", "turtle")
DRAPED = Label("Images/b.jpg", "neck_design", "draped")


def read(tmp_path, content):
    return read_fashionai(write_files(tmp_path, {"Annotations/label.csv": content}))


@pytest.mark.parametrize(
    "content",
    [
        f"Images/a.jpg,{NECK},nynnn\nImages/b.jpg,{NECK},nnnny\n",
        f"\ufeffImages/a.jpg,{NECK},nynnn\nImages/b.jpg,{NECK},nnnny\n",
        f"Images/a.jpg,{NECK},nynnn\r\nImages/b.jpg,{NECK},nnnny\r\n",
        f"Images/a.jpg,{NECK},nynnn\nImages/b.jpg,{NECK},nnnny",
        f"\nImages/a.jpg,{NECK},nynnn\n\n  \nImages/b.jpg,{NECK},nnnny\n\n",
        f"Images/a.jpg ,{NECK} , nynnn  \nImages/b.jpg,{NECK},nnnny\t\n",
        f'"Images/a.jpg","{NECK}","nynnn"\nImages/b.jpg,{NECK},nnnny\n',
    ],
    ids=["plain", "BOM", "CRLF", "no last newline", "blank lines", "blanks", "quotes"],
)
def test_ways_to_write_the_same_file(tmp_path, content):
    assert read(tmp_path, content).labels == [TURTLE, DRAPED]


def test_maybe_is_no_label_and_question_rows_are_counted(tmp_path):
    labelled = read(
        tmp_path,
        f"Images/a.jpg,{NECK},mynnm\nImages/q.jpg,{NECK},?\nImages/n.jpg,{NECK},nmnnn\n",
    )

    assert labelled.labels == [TURTLE]
    assert labelled.num_unlabelled == 2, "the question row, and the row with only a maybe"


def test_an_image_may_have_several_values_and_attributes(tmp_path):
    labelled = read(
        tmp_path, f"Images/a.jpg,{NECK},nynny\nImages/a.jpg,lapel_design_labels,nnnyn\n"
    )

    assert labelled.labels == [
        TURTLE,
        Label("Images/a.jpg", "neck_design", "draped"),
        Label("Images/a.jpg", "lapel_design", "shawl"),
    ]


@pytest.mark.parametrize(("attribute", "values"), FASHIONAI_VALUES.items())
def test_the_place_of_the_letter_is_the_value(tmp_path, attribute, values):
    letters = ["".join("ny"[a == b] for b in values) for a in values]
    lines = [f"Images/{i}.jpg,{attribute}_labels,{row}" for i, row in enumerate(letters)]
    labelled = read(tmp_path, "\n".join(lines))

    assert [label.value for label in labelled.labels] == list(values)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"a.jpg,{NECK},nyn", "neck_design has 5 values, so it needs 5 letters .* not 'nyn'"),
        (f"a.jpg,{NECK},nynnnn", "needs 5 letters of y, n, m, not 'nynnnn'"),
        (f"a.jpg,{NECK},nYnnn", "needs 5 letters of y, n, m, not 'nYnnn'"),
        (f"a.jpg,{NECK},", "needs 5 letters of y, n, m, not ''"),
        ("a.jpg,hem_labels,nynnn", "no attribute 'hem'; FashionAI has skirt_length, "),
        (f"a.jpg,{NECK}", "expected path,attribute,letters, got 2 columns"),
        (f"a.jpg,{NECK},nynnn,", "expected path,attribute,letters, got 4 columns"),
        (",,", "no attribute ''"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path, line, expected):
    with pytest.raises(HemlineError, match=rf"label\.csv line 3: .*{expected}"):
        read(tmp_path, f"Images/a.jpg,{NECK},nynnn\n\n{line}\n")


def test_other_encodings_are_refused(tmp_path):
    with pytest.raises(HemlineError, match=r"label\.csv is not a CSV file in UTF-8"):
        read(tmp_path, f"Images/ä.jpg,{NECK},nynnn\n".encode("latin-1"))


def test_a_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"label\.csv is missing: data\.format fashionai"):
        read_fashionai(tmp_path)
