"""FashionAI's layout, with the quirks that its files and spreadsheet programs bring."""

import pytest
from builders import write_files

from components.datasets.fashionai import FASHIONAI_VALUES, read_fashionai
from components.datasets.labelled import Label
from components.datasets.read import read_labels
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
    assert labelled.left_out == {"rows without a label": 2}, "the question row and a maybe only"
    assert labelled.unusable == []


def test_an_image_may_have_several_attributes_but_one_value_of_each(tmp_path):
    content = f"Images/a.jpg,{NECK},nynnn\nImages/a.jpg,lapel_design_labels,nnnyn\n"
    labelled = read(tmp_path, content)

    assert labelled.labels == [TURTLE, Label("Images/a.jpg", "lapel_design", "shawl")]
    assert labelled.one_value_each


@pytest.mark.parametrize(
    "content",
    [
        f"Images/a.jpg,{NECK},nynny\n",
        f"Images/a.jpg,{NECK},nynnn\nImages/a.jpg,{NECK},nnnny\n",
        f"./Images/a.jpg,{NECK},nynnn\nImages/a.jpg,neck_design,nnnny\n",
    ],
    ids=["in a row", "in two rows", "by two spellings"],
)
def test_two_values_of_an_attribute_contradict_each_other(tmp_path, content):
    lapel = f"Images/a.jpg,lapel_design_labels,nnnyn\nImages/b.jpg,{NECK},nnnny\n"
    write_files(tmp_path, {"Annotations/label.csv": content + lapel})
    labelled = read_labels(tmp_path, data_format="fashionai")

    assert labelled.unusable == [
        ("Images/a.jpg", "conflicting_values", "neck_design: draped, turtle")
    ]
    assert labelled.labels == [Label("Images/a.jpg", "lapel_design", "shawl"), DRAPED]


def test_two_values_in_two_files_contradict_each_other(tmp_path):
    files = {
        "z_rank/Tests/answer_a.csv": f"Images/a.jpg,{NECK},nynnn\n",
        "z_rank/Tests/answer_b.csv": f"Images/a.jpg,{NECK},nnnny\n",
    }
    labelled = read_labels(write_files(tmp_path, files), data_format="fashionai")

    assert labelled.labels == []
    assert [row[:2] for row in labelled.unusable] == [("z_rank/Images/a.jpg", "conflicting_values")]


def test_a_question_and_its_answer_do_not_contradict_each_other(tmp_path):
    files = {
        "z_rank/Tests/question.csv": f"Images/a.jpg,{NECK},?\n",
        "z_rank/Tests/answer_a.csv": f"Images/a.jpg,{NECK},nynnn\n",
    }
    labelled = read_labels(write_files(tmp_path, files), data_format="fashionai")

    assert labelled.labels == [Label("z_rank/Images/a.jpg", "neck_design", "turtle")]
    assert labelled.unusable == []
    assert labelled.left_out == {"rows without a label": 1}


@pytest.mark.parametrize("folder", ["", "base", "fashionAI_attributes_train1", "a b/web"])
@pytest.mark.parametrize("name", ["Annotations/label.csv", "Tests/question.csv"])
def test_paths_are_relative_to_the_folder_that_holds_annotations(tmp_path, folder, name):
    file = tmp_path / folder / name
    write_files(file.parent, {file.name: f"Images/a.jpg,{NECK},nynnn\n"})
    labelled = read_fashionai(tmp_path)

    assert labelled.labels == [Label(f"{folder}/Images/a.jpg".lstrip("/"), "neck_design", "turtle")]
    assert labelled.source == str(file)


@pytest.mark.parametrize("path", ["/a.jpg", "../../a.jpg"])
def test_a_path_that_leads_out_of_the_root_still_does(tmp_path, path):
    write_files(tmp_path, {"base/Annotations/label.csv": f"{path},{NECK},nynnn\n"})

    assert read_fashionai(tmp_path).labels == [
        Label(path.removeprefix("../"), "neck_design", "turtle")
    ]


def test_all_parts_are_read_in_the_order_of_their_paths(tmp_path):
    row = f"Images/a.jpg,{NECK},nynnn\n"
    names = [
        "web/Annotations/skirt.csv",
        "Annotations/label.csv",
        "train2/Annotations/label.csv",
        "train1/Annotations/label.csv",
        "rank/1/Tests/question.csv",
    ]
    others = ["a/b/c/Annotations/label.csv", "Annotations/._label.csv", "label.csv", "Tests/a.txt"]
    write_files(tmp_path, dict.fromkeys(names, row) | dict.fromkeys(others, "\0"))
    labelled = read_fashionai(tmp_path)

    assert [label.path for label in labelled.labels] == [
        "Images/a.jpg",
        "rank/1/Images/a.jpg",
        "train1/Images/a.jpg",
        "train2/Images/a.jpg",
        "web/Images/a.jpg",
    ]
    assert labelled.source == f"{tmp_path} (5 annotation files)"


@pytest.mark.parametrize(("attribute", "values"), FASHIONAI_VALUES.items())
def test_the_place_of_the_letter_is_the_value(tmp_path, attribute, values):
    letters = ["".join("ny"[a == b] for b in values) for a in values]
    lines = [f"Images/{i}.jpg,{attribute}_labels,{row}" for i, row in enumerate(letters)]
    labelled = read(tmp_path, "\n".join(lines))

    assert [label.value for label in labelled.labels] == list(values)


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (f"b.jpg,{NECK},nyn", "unknown_value", "neck_design 'nyn'; it has 5 letters of y, n, m"),
        (f"b.jpg,{NECK},nynnnn", "unknown_value", "neck_design 'nynnnn'; it has 5 letters"),
        (f"b.jpg,{NECK},nYnnn", "unknown_value", "neck_design 'nYnnn'; it has 5 letters"),
        (f"b.jpg,{NECK},??", "unknown_value", "neck_design '??'; it has 5 letters"),
        (f"b.jpg,{NECK},", "unknown_value", "neck_design ''; it has 5 letters"),
        ("b.jpg,hem_labels,nynnn", "unknown_attribute", "'hem'; there are skirt_length, "),
        ("b.jpg,,?", "unknown_attribute", "''; there are skirt_length, "),
    ],
)
def test_a_row_that_says_nothing_known_is_set_apart(tmp_path, line, reason, detail):
    labelled = read(tmp_path, f"Images/a.jpg,{NECK},nynnn\n\n{line}\nImages/b.jpg,{NECK},nnnny\n")

    assert labelled.labels == [TURTLE, DRAPED]
    ((path, found, why),) = labelled.unusable
    assert (path, found) == ("b.jpg", reason)
    assert why.startswith(f"Annotations/label.csv line 3: {detail}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"a.jpg,{NECK}", "line 3: expected path,attribute,letters, got 2 columns"),
        (f"a.jpg,{NECK},nynnn,", "line 3: expected path,attribute,letters, got 4 columns"),
        (",,", "line 3: no path"),
        (f" ,{NECK},nynnn", "line 3: no path"),
        (f"a.jpg;{NECK};nynnn", "line 3: the separator seems to be ';'; .* with commas"),
        (f"a.jpg\t{NECK}\tnynnn", r"line 3: the separator seems to be '\\t'; .* with commas"),
        (f'"a.jpg,{NECK},nynnn', "is not a CSV file in UTF-8: line 3: unexpected end"),
        (f'"a\n.jpg",{NECK},nynnn\nb.jpg', "line 3: the cell .* 'a' goes on to line 4; remove"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path, line, expected):
    with pytest.raises(HemlineError, match=rf"Annotations/label\.csv {expected}"):
        read(tmp_path, f"Images/a.jpg,{NECK},nynnn\n\n{line}\n")


@pytest.mark.parametrize("content", ["", "\ufeff", "\n \n\r\n"], ids=["0 bytes", "BOM", "blank"])
def test_an_empty_file_is_named(tmp_path, content):
    write_files(tmp_path, {"web/Annotations/a.csv": f"Images/a.jpg,{NECK},nynnn\n"})

    with pytest.raises(HemlineError, match=r"Annotations/label\.csv is empty"):
        read(tmp_path, content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused(tmp_path, encoding):
    with pytest.raises(HemlineError, match=r"label\.csv is not a CSV file in UTF-8: line 1: a NUL"):
        read(tmp_path, f"Images/a.jpg,{NECK},nynnn\n".encode(encoding))


def test_a_name_in_another_encoding_costs_its_label_only(tmp_path):
    content = f"Images/ä.jpg,{NECK},nynnn\nImages/b.jpg,{NECK},nnnny\n".encode("latin-1")
    write_files(tmp_path, {"Annotations/label.csv": content})
    labelled = read_labels(tmp_path, data_format="fashionai")

    assert labelled.labels == [DRAPED]
    detail = "not UTF-8: Images/\\xe4.jpg,neck_design,turtle"
    assert labelled.unusable == [("Images/\\xe4.jpg", "bad_name", detail)]


def test_a_missing_annotation_file_is_named(tmp_path):
    write_files(tmp_path, {"a/b/c/Annotations/label.csv": f"Images/a.jpg,{NECK},nynnn\n"})

    with pytest.raises(HemlineError, match=r"label\.csv is missing: data\.format fashionai"):
        read_fashionai(tmp_path)
