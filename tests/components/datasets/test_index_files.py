"""Text files of paths and numbers: ways to write them, and how a wrong line is named."""

import numpy as np
import pytest
from builders import write_files

from components.datasets.index_files import labels_of, read_index, read_pairs, read_paths
from components.datasets.labelled import Label
from components.errors import HemlineError


def file_of(tmp_path, content):
    return write_files(tmp_path, {"index.txt": content}) / "index.txt"


@pytest.mark.parametrize(
    "content",
    [
        "0 7 3\n1 1 7\n",
        "\ufeff0 7 3\n1 1 7\n",
        "0 7 3\r\n1 1 7\r\n",
        "0 7 3\n1 1 7",
        "0\t7\t3\t\t\t\r\n1\t1\t7\t\t\t\r\n",
        "  0  7 \t 3 \n\n1 1 7\n \t\n\n",
    ],
    ids=["plain", "BOM", "CRLF", "no last newline", "padded tabs", "blanks and blank lines"],
)
@pytest.mark.parametrize("read", [read_index, lambda path: read_pairs(path, num_images=2)[0]])
def test_ways_to_write_the_same_numbers(tmp_path, content, read):
    rows = read(file_of(tmp_path, content))

    assert rows.tolist() == [[0, 7, 3], [1, 1, 7]]
    assert rows.dtype == np.int64


def test_an_index_is_what_splitting_its_lines_gives(tmp_path):
    rows = np.random.default_rng(0).integers(0, 200_000, (500, 3))
    content = "".join(f"{a}  {b}\t{c} \r\n" for a, b, c in rows)

    expected = [[int(cell) for cell in line.split()] for line in content.splitlines()]
    assert read_index(file_of(tmp_path, content)).tolist() == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("4 5", "line 3: expected three whole numbers, got 2"),
        ("4 5 6 7", "line 3: expected three whole numbers, got 4"),
        ("4 5 x", "line 3: 'x' is not a whole number"),
        ("4 5 6.0", r"line 3: '6\.0' is not a whole number"),
        ("4,5,6", "line 3: '4,5,6' is not a whole number"),
        ("4 5 6_0", "line 3: '6_0' is not a whole number"),
        ("4 5 99999999999999999999", "line 3: '9{20}' is not a whole number of 18 digits"),
        ("4 5 ٣", "line 3: '٣' is not a whole number"),
        ("# 4 5", "line 3: '#' is not a whole number"),
    ],
)
def test_a_wrong_line_of_an_index_is_named(tmp_path, line, expected):
    with pytest.raises(HemlineError, match=rf"index\.txt {expected}"):
        read_index(file_of(tmp_path, f"1 2 3\n\n{line}\n7 8 9\n"))


@pytest.mark.parametrize("content", ["1 2\n3 4\n", "1\n", "1 2 3 4\n"])
def test_an_index_of_other_width_is_refused(tmp_path, content):
    width = len(content.splitlines()[0].split())
    with pytest.raises(HemlineError, match=f"line 1: expected three whole numbers, got {width}"):
        read_index(file_of(tmp_path, content))


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
@pytest.mark.parametrize(
    "read", [read_paths, read_index, lambda path: read_pairs(path, num_images=1)]
)
def test_a_file_without_content_or_without_existence_is_refused(tmp_path, content, read):
    with pytest.raises(HemlineError, match=r"index\.txt is empty"):
        read(file_of(tmp_path, content))
    with pytest.raises(HemlineError, match=r"other\.txt is missing; docs/data\.md"):
        read(tmp_path / "other.txt")


@pytest.mark.parametrize("wrong", [-1, 3])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_ids_outside_the_images_are_named_with_their_line(tmp_path, wrong, column):
    rows = [[0, 1, 2], [2, 1, 0], [2, 2, 2]]
    rows[1][column] = wrong
    path = file_of(tmp_path, "\n" + "\n".join(" ".join(map(str, row)) for row in rows))

    with pytest.raises(HemlineError, match=f"line 3: no image has the id {wrong}; there are 3"):
        read_index(path, num_images=3)


def test_every_id_of_an_image_is_allowed(tmp_path):
    path = file_of(tmp_path, "0 1 2\n2 1 0\n")

    assert read_index(path, num_images=3).tolist() == [[0, 1, 2], [2, 1, 0]]


def test_a_line_holds_any_number_of_pairs(tmp_path):
    path = file_of(tmp_path, "2\t1\t365\t5\t656\t\t\t\r\n0\t\t\t\t\r\n1 4 156\n0\n")
    rows, num_without = read_pairs(path, num_images=3)

    assert rows.tolist() == [[2, 1, 365], [2, 5, 656], [1, 4, 156]]
    assert num_without == 2


def test_labels_may_be_none_at_all(tmp_path):
    rows, num_without = read_pairs(file_of(tmp_path, "0\n1\n"), num_images=2)

    assert rows.shape == (0, 3)
    assert num_without == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 2", "line 3: expected an id and pairs of numbers, got 2"),
        ("1 2 3 4", "line 3: expected an id and pairs of numbers, got 4"),
        ("1 2 b", "line 3: 'b' is not a whole number"),
        ("9 2 3", "line 3: no image has the id 9; there are 9, counted from 0"),
        ("-1 2 3", "line 3: no image has the id -1"),
    ],
)
def test_a_wrong_line_of_pairs_is_named(tmp_path, line, expected):
    with pytest.raises(HemlineError, match=rf"index\.txt {expected}"):
        read_pairs(file_of(tmp_path, f"0 1 2 1 3\n\n{line}\n"), num_images=9)


def test_paths_are_the_lines(tmp_path):
    content = "\ufeffimg/a b/1.jpg\r\nimg/ä.jpg \t\nimg/1.jpg\n\n".encode() + b"\n"

    assert read_paths(file_of(tmp_path, content)) == ["img/a b/1.jpg", "img/ä.jpg", "img/1.jpg"]


def test_a_path_that_is_not_utf_8_does_not_cost_the_file(tmp_path):
    paths = read_paths(file_of(tmp_path, b"a.jpg\nb\xe4.jpg\n"))

    assert paths == ["a.jpg", "b\udce4.jpg"]


def test_a_blank_line_between_paths_would_shift_ids_and_is_refused(tmp_path):
    with pytest.raises(HemlineError, match=r"index\.txt line 2: a blank line between paths"):
        read_paths(file_of(tmp_path, "a.jpg\n\nb.jpg\n"))


def test_positions_without_a_name_are_set_apart(tmp_path):
    rows = np.array([[0, 0, 1], [1, 2, 0], [1, 1, 1], [0, -1, 0], [0, 1, -1], [1, 1, 0]])
    labels, unusable = labels_of(
        rows,
        written=rows + 1,
        source=tmp_path / "label.txt",
        paths=["a.jpg", "b\udce4.jpg"],  # the second not UTF-8: PEP 383
        values_of={"neck": ("v", "round"), "hem": ("long",)},
        split="test",
        role="query",
    )

    assert labels == [
        Label("a.jpg", "neck", "round", "test", "query"),
        Label("b\udce4.jpg", "hem", "long", "test", "query"),
    ]
    assert unusable == [
        (r"b\xe4.jpg", "unknown_attribute", "label.txt: 2 3 1 is of no attribute"),
        (r"b\xe4.jpg", "unknown_value", "label.txt: 2 2 2 is of no value of hem"),
        ("a.jpg", "unknown_attribute", "label.txt: 1 0 1 is of no attribute"),
        ("a.jpg", "unknown_value", "label.txt: 1 2 0 is of no value of hem"),
    ]
