"""A user's own pictures: tables of labels as people, spreadsheets and pandas write them."""

import csv
import io
import posixpath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from builders import png, write_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.datasets.labelled import Label
from components.datasets.read import read_labels
from components.datasets.table import read_table_format
from components.errors import HemlineError

HEADER = "image,attribute,value\n"
A, B = Label("a.jpg", "neck", "v"), Label("b.jpg", "neck", "round")


def read_csv(tmp_path, content):
    return read_table_format(write_files(tmp_path, {"labels.csv": content}))


def read_parquet(tmp_path, columns):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, tmp_path / "labels.parquet")
    return read_table_format(tmp_path)


def written(rows):
    """Returns rows as text that csv.writer wrote."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "a.jpg,neck,v\nb.jpg,neck,round\n",
        "\ufeff" + HEADER + "a.jpg,neck,v\nb.jpg,neck,round\n",
        HEADER + "a.jpg,neck,v\r\nb.jpg,neck,round\r\n",
        HEADER + "\na.jpg,neck,v\n  \nb.jpg,neck,round",
        HEADER + "a.jpg , neck,v \nb.jpg,neck,round\n",
        "image, attribute ,value\na.jpg,neck,v\nb.jpg,neck,round\n",
        "value,image,attribute\nv,./a.jpg,neck\nround,x/../b.jpg,neck\n",
        "image,neck\na.jpg,v\nb.jpg,round\n",
        "neck , image\r\n v,a.jpg\r\n\r\nround ,b.jpg",
        "image,neck,split,role,group\na.jpg,v,,,\nb.jpg,round,,NaN,nan\n",
    ],
    ids=[
        "plain",
        "BOM",
        "CRLF",
        "blank lines",
        "blanks",
        "blanks in the first line",
        "another order",
        "wide",
        "wide in another order",
        "empty columns",
    ],
)
def test_ways_to_write_the_same_file(tmp_path, content):
    labelled = read_csv(tmp_path, content)

    assert labelled.labels == [A, B]
    assert labelled.groups == {}
    assert not any(labelled.left_out.values())


COLUMNS = {"image": ["a.jpg", "b.jpg"], "attribute": ["neck", "neck"], "value": ["v", "round"]}


@pytest.mark.parametrize(
    "table",
    [
        pa.table(COLUMNS),
        pa.table({f" {name} ": column for name, column in COLUMNS.items()}),
        pa.table({name: pa.array(x).dictionary_encode() for name, x in COLUMNS.items()}),
        pa.table({name: pa.array(x, pa.large_string()) for name, x in COLUMNS.items()}),
        pa.table(COLUMNS | {"split": pa.nulls(2), "group": [float("nan"), None]}),
        pa.table({"image": ["a.jpg", "b.jpg"], "neck": [["v"], ["round", None]]}),
        pa.table(
            {
                "image": ["a.jpg", "b.jpg"],
                "neck": pa.ListArray.from_arrays(
                    [0, 1, 2], pa.array(["v", "round"]).dictionary_encode()
                ),
            }
        ),
        pa.Table.from_pandas(pd.DataFrame({"image": ["a.jpg", "b.jpg"], "neck": ["v", "round"]})),
        pa.Table.from_pandas(
            pd.DataFrame({"image": ["a.jpg", "b.jpg"], "neck": ["v", "round"]}, index=[7, 3])
        ),
        pa.Table.from_pandas(
            pd.DataFrame({"neck": ["v", "round"]}, index=pd.Index(["a.jpg", "b.jpg"], name="image"))
        ),
    ],
    ids=[
        "plain",
        "blanks in names",
        "dictionaries",
        "large strings",
        "empty columns",
        "wide lists",
        "wide lists of dictionaries",
        "wide of pandas",
        "pandas with an index",
        "pandas with images as index",
    ],
)
def test_ways_to_write_the_same_parquet_file(tmp_path, table):
    labelled = read_parquet(tmp_path, table)

    assert labelled.labels == [A, B]
    assert not any(labelled.left_out.values())


def test_parquet_is_read_over_row_groups(tmp_path):
    names = [f"{number}.jpg" for number in range(70_000)]
    table = pa.table({"image": names, "size": [number % 7 for number in range(70_000)]})
    pq.write_table(table, tmp_path / "labels.parquet", row_group_size=999)
    labels = read_table_format(tmp_path).labels

    assert [label.path for label in labels] == names
    assert labels[-1].value == str(69_999 % 7)


def test_an_image_has_a_row_per_label(tmp_path):
    labels = read_csv(tmp_path, HEADER + "a.jpg,neck,v\na.jpg,hem,long\na.jpg,neck,round\n").labels

    assert labels == [A, Label("a.jpg", "hem", "long"), Label("a.jpg", "neck", "round")]


def test_a_column_per_attribute(tmp_path):
    labelled = read_csv(
        tmp_path, "hem,image,neck\nlong,a.jpg,v| round |v\n,b.jpg,round\n||,c.jpg,nan|NaN\n"
    )

    assert labelled.labels == [
        Label("a.jpg", "hem", "long"),
        A,
        Label("a.jpg", "neck", "round"),
        A,  # `read.py` counts it once
        B,
    ]
    assert labelled.left_out["rows without a label"] == 1, "that of c.jpg"
    assert labelled.unusable == []


def test_a_list_holds_the_values_of_an_attribute_in_parquet(tmp_path):
    cells = [["v", " round "], [], None, ["nan", None, "", "a|b"]]
    columns = {"image": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "neck": cells, "hem": [1, 2, None, 4]}

    assert read_parquet(tmp_path, columns).labels == [
        A,
        Label("a.jpg", "neck", "round"),
        Label("a.jpg", "hem", "1"),
        Label("b.jpg", "hem", "2"),
        Label("d.jpg", "neck", "a|b"),
        Label("d.jpg", "hem", "4"),
    ]


def test_bars_are_part_of_a_value_in_the_long_form_and_in_parquet(tmp_path):
    assert read_csv(tmp_path, HEADER + "a|b.jpg,c|d,e|f\n").labels == [
        Label("a|b.jpg", "c|d", "e|f")
    ]
    (tmp_path / "labels.csv").unlink()
    columns = {"image": ["a|b.jpg"], "c|d": ["e|f"]}
    assert read_parquet(tmp_path, columns).labels == [Label("a|b.jpg", "c|d", "e|f")]


@pytest.mark.parametrize(
    "value", ["NA", "N/A", "null", "None", "1", "1.0", "true", '"a, b"', "nano", "0", "-"]
)
@pytest.mark.parametrize("header", [HEADER, "image,note,neck\n"], ids=["long", "wide"])
def test_values_are_text_as_written(tmp_path, value, header):
    labels = read_csv(tmp_path, f"{header}a.jpg,neck,{value}\n").labels

    assert labels[-1] == Label("a.jpg", "neck", value.strip('"'))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3, None], ["3"]),
        ([3.0, float("nan")], ["3"]),
        ([0.5, None], ["0.5"]),
        (np.array([0.1], np.float32), ["0.1"]),
        ([True, False], ["true", "false"]),
        (["NA", "nan", " ", "NaN", "1.0"], ["NA", "1.0"]),
        (pa.array([1, 2]).dictionary_encode(), ["1", "2"]),
        (pa.array(["1.50"]).cast(pa.decimal128(5, 2)), ["1.50"]),
        ([[1, 2], [3]], ["1", "2", "3"]),
        (pa.nulls(2), []),
    ],
)
def test_numbers_in_parquet_become_text(tmp_path, values, texts):
    columns = {"image": [f"{place}.jpg" for place in range(len(values))], "size": values}

    assert [label.value for label in read_parquet(tmp_path, columns).labels] == texts


def test_a_row_of_the_long_form_without_a_value_is_no_label(tmp_path):
    content = "a.jpg,neck,v\nb.jpg,neck,\n./c.jpg,,v\nd.jpg,neck,NaN\ne.jpg,nan, \nb.jpg,neck,round"
    labelled = read_csv(tmp_path, HEADER + content)

    assert labelled.labels == [A, B]
    assert labelled.unusable == [("c.jpg", "unknown_attribute", "labels.csv line 4: no attribute")]
    assert labelled.left_out["rows without a label"] == 3


def test_a_row_of_parquet_without_a_value_is_no_label(tmp_path):
    columns = {
        "image": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        "attribute": ["neck", "neck", None, "neck"],
        "value": [["v"], [], ["v"], None],
    }
    labelled = read_parquet(tmp_path, columns)

    assert labelled.labels == [A]
    assert labelled.unusable == [
        ("c.jpg", "unknown_attribute", "labels.parquet row 3: no attribute"),
    ]
    assert labelled.left_out["rows without a label"] == 2


SPLITS = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "": None,
    "nan": None,
}
ROLES = {"train": None, "query": "query", "gallery": "gallery", "candidate": "gallery", "": None}


@pytest.mark.parametrize("kind", ["long", "wide", "parquet"])
def test_splits_roles_and_groups(tmp_path, kind):
    rows = [(f"{split}-{role}.jpg", split, role, f"{split}1") for split in SPLITS for role in ROLES]
    names = ["image", "split", "role", "group"]
    if kind == "parquet":
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        labelled = read_parquet(tmp_path, columns | {"neck": ["v"] * len(rows)})
    elif kind == "wide":
        table = [(*names, "neck"), *((*row, "v") for row in rows)]
        labelled = read_csv(tmp_path, written(table))
    else:
        table = [("attribute", "value", *names), *(("neck", "v", *row) for row in rows)]
        labelled = read_csv(tmp_path, written(table))

    assert labelled.labels == [
        Label(image, "neck", "v", SPLITS[split], ROLES[role]) for image, split, role, _ in rows
    ]
    assert labelled.groups == {image: group for image, _, _, group in rows}


@pytest.mark.parametrize(
    ("column", "word", "allowed"),
    [
        ("split", "dev", "train, valid, test, val, validation, or nothing"),
        ("split", "Train", "train, valid, test, val, validation, or nothing"),
        ("role", "probe", "train, query, gallery, candidate, or nothing"),
    ],
)
def test_an_unknown_split_or_role_is_named(tmp_path, column, word, allowed):
    with pytest.raises(
        HemlineError,
        match=rf"labels\.csv line 3: {column} '{word}' is unknown; allowed .* {allowed}",
    ):
        read_csv(tmp_path, f"image,neck,{column}\na.jpg,v,\nb.jpg,v,{word}\n")


def test_an_image_can_be_in_one_group(tmp_path):
    content = "image,neck,group\na.jpg,v,p1\nb.jpg,v,p1\na.jpg,round,p1\na.jpg,v,\n"
    assert read_csv(tmp_path, content).groups == {"a.jpg": "p1", "b.jpg": "p1"}

    expected = r"line 6: group of image a\.jpg is 'p2', and above 'p1'"
    with pytest.raises(HemlineError, match=expected):
        read_csv(tmp_path, content + "./a.jpg,square,p2\n")


def test_names_of_columns_are_case_sensitive_and_others_are_counted_in_the_long_form(tmp_path):
    labelled = read_csv(tmp_path, "value,Split,image,attribute,,\nv,train,a.jpg,neck,x,\n")

    assert labelled.labels == [A]
    what = "columns that are not read (Split, without a name, without a name)"
    assert labelled.left_out[what] == 3


def test_paths_are_relative_to_the_images_folder_where_there_is_one(tmp_path):
    write_files(tmp_path, {"images/a.jpg": png(0)})
    content = HEADER + "a.jpg,neck,v\n./x/../b.jpg,neck,v\n../c.jpg,neck,v\n../../d.jpg,neck,v\n"
    labels = read_csv(tmp_path, content + "/e.jpg,neck,v\n").labels

    assert [label.path for label in labels] == [
        "images/a.jpg",
        "images/b.jpg",
        "c.jpg",
        "../d.jpg",
        "/e.jpg",
    ]


def test_the_folder_names_the_data_set(tmp_path):
    root = write_files(tmp_path / "spring", {"labels.csv": HEADER + "a.jpg,neck,v\n"})

    assert read_table_format(root).dataset == "spring"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image,attribute\na.jpg,neck\n", ": column value is missing; there are image, attribute."),
        ("image,value\na.jpg,v\n", ": column attribute is missing; there are image, value."),
        ("a.jpg,neck,v\n", r": column image is missing; there are a\.jpg, neck, v$"),
        ("Image,neck\na.jpg,v\n", ": column image is missing; there are Image, neck$"),
        ("image\na.jpg\n", ": no column of an attribute; there are image. A row per label"),
        ("image,split,role,group\na.jpg,,,\n", ": no column of an attribute; there are image, sp"),
        (",image,neck\n0,a.jpg,v\n", ": column 1 has no name; .* index=False"),
        ("image,neck, neck\na.jpg,v,v\n", ": two columns are named 'neck'"),
        ("image,attribute,value,image\na.jpg,neck,v,b.jpg\n", ": two columns are named 'image'"),
        ("image;attribute;value\na;b;c\n", " line 1: the separator seems to be ';'; .* commas"),
        ("image\tneck\na\tb\n", r" line 1: the separator seems to be '\\t'"),
        ("image|neck\na|b\n", r" line 1: the separator seems to be '\|'"),
        (HEADER + "a.jpg;neck;v\n", " line 2: the separator seems to be ';'"),
        ("", " is empty"),
        ("\ufeff", " is empty"),
        ("\n  \n", " is empty"),
        (HEADER + "\na.jpg,neck,v\n\n ,neck,v\n", " line 5: column image is empty"),
        (HEADER + "nan,neck,v\n", " line 2: column image is empty"),
        (HEADER + "a.jpg,neck,v\n,,\n", " line 3: column image is empty"),
        (HEADER + "a.jpg,neck,v\nb.jpg,neck\n", " line 3: expected 3 cells .* got 2"),
        # a comma too many must not shift the cells into other columns
        (HEADER + "a.jpg,neck,v,extra\n", " line 2: expected 3 cells .* got 4"),
        (HEADER + 'a.jpg,neck,v\n"b.jpg,neck,v\n', " is not a CSV file in UTF-8: line 3"),
        (
            (HEADER + "a.jpg,neck,v\n").encode("utf-16"),
            " is not a CSV file in UTF-8: line 1: a NUL",
        ),
        (HEADER + "a.jpg,neck,v\nb\0.jpg,neck,v\n", " is not a CSV file in UTF-8: line 3: a NUL"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_refused(tmp_path, content, expected):
    with pytest.raises(HemlineError, match=rf"labels\.csv{expected}"):
        read_csv(tmp_path, content)


@pytest.mark.parametrize("values", ["a column of labels", "a column that is not read"])
def test_rows_between_two_stray_quotation_marks_do_not_vanish(tmp_path, values):
    rows = [f"{number}.jpg,neck,{('flat', 'high')[number % 2]},sold" for number in range(20)]
    place = 2 if values == "a column of labels" else 3
    for number, mark in ((4, '"{}'), (9, '{}"')):
        cells = rows[number].split(",")
        cells[place] = mark.format(cells[place])
        rows[number] = ",".join(cells)

    lines = [HEADER.strip() + ",note", *rows]
    found = r"labels\.csv line 6: the cell that begins with '(flat,sold|sold)' goes on to line 11"
    with pytest.raises(HemlineError, match=found):
        read_csv(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_a_line_break_in_a_cell_is_refused(tmp_path, line_break):
    text = f"v{line_break}b.jpg"
    with pytest.raises(HemlineError, match=r"line 2: the cell .* 'v' goes on to line 3; remove"):
        read_csv(tmp_path, written([("image", "neck"), ("a.jpg", text)]))
    (tmp_path / "labels.csv").unlink()

    columns = {"image": ["a.jpg", "b.jpg"], "neck": [["v\n"], ["round", text]]}
    with pytest.raises(HemlineError, match=r"labels\.parquet row 2: column neck has a line break"):
        read_parquet(tmp_path, columns)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": [b"a.jpg"], "neck": ["v"]}, ": column image is of type binary; expected texts"),
        (
            {"image": pa.array([b"a"]).dictionary_encode(), "neck": ["v"]},
            ": column image is of type dictionary<.*binary",
        ),
        ({"image": ["a.jpg"], "neck": [[b"v"]]}, ": column neck is of type list<.*binary>"),
        ({"image": ["a.jpg"], "neck": [{"v": 1}]}, ": column neck is of type struct<"),
        ({"image": ["a.jpg"], "neck": [[["v"]]]}, ": column neck is of type list<.*list<"),
        ({"image": [["a.jpg", "b.jpg"]], "neck": ["v"]}, " row 1: column image has 2 texts, one"),
        ({"image": ["a.jpg", None], "neck": ["v", "v"]}, " row 2: column image is empty"),
        ({"image": ["a.jpg"], "neck": ["v"], "split": ["dev"]}, " row 1: split 'dev' is unknown"),
        ({"image": ["a.jpg"], "value": ["v"]}, ": column attribute is missing"),
        ({"image": ["a.jpg"]}, ": no column of an attribute; there are image"),
        ({"neck": ["v"]}, ": column image is missing; there are neck"),
    ],
)
def test_a_parquet_file_that_is_not_of_the_format_is_refused(tmp_path, columns, expected):
    with pytest.raises(HemlineError, match=rf"labels\.parquet{expected}"):
        read_parquet(tmp_path, columns)


def test_bytes_in_a_column_that_is_not_read_do_not_matter(tmp_path):
    assert read_parquet(tmp_path, COLUMNS | {"thumbnail": [b"1", b"2"]}).labels == [A, B]


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["image", "neck", "neck "])

    with pytest.raises(HemlineError, match=r"labels\.parquet: two columns are named 'neck'"):
        read_parquet(tmp_path, table)


def test_columns_with_dots_in_their_names_are_kept_apart(tmp_path):
    columns = {"image": ["a.jpg"], "neck.back": ["v"], "neck": ["round"]}

    assert read_parquet(tmp_path, columns).labels == [
        Label("a.jpg", "neck.back", "v"),
        Label("a.jpg", "neck", "round"),
    ]


def test_parquet_texts_that_are_not_utf_8_cost_their_label_only(tmp_path):
    names = pc.cast(pa.array([b"\xe4.jpg", b"b.jpg"]), pa.string(), safe=False)
    read_parquet(tmp_path, {"image": names, "neck": ["v", "round"]})
    labelled = read_labels(tmp_path, data_format="table")

    assert labelled.labels == [B]
    assert labelled.unusable == [("\\xe4.jpg", "bad_name", "not UTF-8: \\xe4.jpg,neck,v")]


@pytest.mark.parametrize("num_bytes", [0, 3, 100, -40], ids=["none", "3", "100", "all but 40"])
def test_a_damaged_parquet_file_is_refused(tmp_path, num_bytes):
    read_parquet(tmp_path, COLUMNS)
    path = tmp_path / "labels.parquet"
    path.write_bytes(path.read_bytes()[:num_bytes])

    with pytest.raises(HemlineError, match=r"labels\.parquet is not a Parquet file"):
        read_table_format(tmp_path)


def test_a_missing_file_is_named_with_its_columns(tmp_path):
    with pytest.raises(HemlineError, match=r"labels\.csv is missing: .*image,attribute,value"):
        read_table_format(tmp_path)


def test_two_tables_are_one_too_many(tmp_path):
    write_files(tmp_path, {"labels.csv": HEADER + "a.jpg,neck,v\n"})

    with pytest.raises(HemlineError, match=r"has labels\.csv and labels\.parquet; remove one"):
        read_parquet(tmp_path, COLUMNS)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=9)
SAID = TEXTS.filter(lambda text: text.strip() and text.strip().lower() != "nan")
BOUNDED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@BOUNDED
@given(rows=st.lists(st.tuples(SAID, SAID, SAID), min_size=1, max_size=4))
def test_whatever_csv_writer_writes_is_read(tmp_path, rows):
    labels = read_csv(tmp_path, written([("image", "attribute", "value"), *rows])).labels

    assert [tuple(label[:3]) for label in labels] == [
        (posixpath.normpath(image.strip()), attribute.strip(), value.strip())
        for image, attribute, value in rows
    ]


@BOUNDED
@given(cells=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_csv_and_parquet_say_the_same(tmp_path, cells):
    names = [f"{place}.jpg" for place in range(len(cells))]
    table = [(name, *row) for name, row in zip(names, cells, strict=True)]
    of_csv = read_csv(tmp_path, written([("image", "neck", "hem"), *table])).labels
    (tmp_path / "labels.csv").unlink()
    columns = {
        "image": names,
        "neck": [neck.split("|") for neck, _ in cells],
        "hem": [hem.split("|") for _, hem in cells],
    }
    of_parquet = read_parquet(tmp_path, columns).labels
    (tmp_path / "labels.parquet").unlink()

    assert of_csv == of_parquet
