"""Items, domains, boxes and landmarks in a user's own table."""

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import encoded, noise, write_files
from cataloguing import build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import tables
from components.datasets.labelled import Box, Label, Landmark
from components.datasets.table import read_table_format
from components.errors import HemlineError

WIDE = (
    "image,neck,item,domain,role,box_left,box_top,box_right,box_bottom,"
    "landmark_left_collar_x,landmark_left_collar_y,landmark_left_collar_visibility,"
    "landmark_hem_x,landmark_hem_y\n"
    "a.jpg,v,p|1,street,query,1,2.5,30,40,7,8,,3,4\n"
    "b.jpg,round,p|1,shop,gallery,,,,,9,9,occluded,,\n"
    "c.jpg,,p2,,,,,,,,,absent,,nan\n"
)
LONG = (
    "image,attribute,value,item,domain,box_left,box_top,box_right,box_bottom,"
    "landmark_hem_x,landmark_hem_y\n"
    "a.jpg,neck,v,p1,street,1,2,3,4,5,6\n"
    "a.jpg,hem,long,p1,street,1,2.0,3,4,5,6\n"
    "a.jpg,fit,slim,p1,,,,,,,\n"
    "b.jpg,,,p2,shop,,,,,,\n"
)


def read(root, content):
    return read_table_format(write_files(root, {"labels.csv": content}))


def test_a_column_of_each_in_the_wide_form(tmp_path):
    labelled = read(tmp_path, WIDE)
    assert labelled.labels == [
        Label("a.jpg", "item", "p|1", None, "query"),
        Label("a.jpg", "neck", "v", None, "query"),
        Label("b.jpg", "item", "p|1", None, "gallery"),
        Label("b.jpg", "neck", "round", None, "gallery"),
        Label("c.jpg", "item", "p2"),
    ]
    assert labelled.identity == "item"
    assert labelled.groups == {"a.jpg": "p|1", "b.jpg": "p|1", "c.jpg": "p2"}
    assert labelled.domains == {"a.jpg": "street", "b.jpg": "shop"}
    assert labelled.boxes == [Box("a.jpg", 1, 2.5, 30, 40)]
    assert labelled.landmarks == [
        Landmark("a.jpg", "left collar", 7, 8, "visible"),
        Landmark("b.jpg", "left collar", 9, 9, "occluded"),
        Landmark("c.jpg", "left collar", 0, 0, "absent"),
        Landmark("a.jpg", "hem", 3, 4, "visible"),
    ]
    assert not any(labelled.left_out.values())


def test_rows_of_the_long_form_repeat_what_they_say_of_their_image(tmp_path):
    labelled = read(tmp_path, LONG)
    assert [x.value for x in labelled.labels] == ["p1", "v", "p1", "long", "p1", "slim", "p2"]
    assert labelled.boxes == [Box("a.jpg", 1, 2, 3, 4)]
    assert labelled.landmarks == [Landmark("a.jpg", "hem", 5, 6, "visible")]
    assert labelled.domains == {"a.jpg": "street", "b.jpg": "shop"}
    assert not any(labelled.left_out.values()), "an item is a label"


def test_items_may_be_all_that_is_known(tmp_path):
    labelled = read(tmp_path, "image,item\na.jpg,p1\nb.jpg,p2\n")
    assert labelled.labels == [Label("a.jpg", "item", "p1"), Label("b.jpg", "item", "p2")]


def test_a_table_without_items_has_no_identity(tmp_path):
    labelled = read(tmp_path, "image,neck,group\na.jpg,v,p1\n")
    assert labelled.identity is None
    assert (labelled.domains, labelled.boxes, labelled.landmarks) == ({}, [], [])


def test_the_catalog_has_what_the_table_says(tmp_path):
    write_files(tmp_path, {f"{name}.jpg": encoded(noise(35, 45)) for name in "abc"})
    write_files(tmp_path, {"labels.csv": WIDE})
    catalog = build(tmp_path)
    assert catalog.schema.attributes[0].num_items == 2
    assert catalog.schema.landmarks == ("left collar", "hem")
    assert catalog.images["domain"].to_pylist() == ["street", "shop", None]
    assert catalog.boxes.to_pylist()[0]["bottom"] == 40
    assert catalog.landmarks.num_rows == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,item,group,neck\na.jpg,p,p,v\n", "columns group and item, .*: keep one"),
        (
            "image,attribute,value,item,group\na.jpg,neck,v,p,p\n",
            "columns group and item, .*: keep one",
        ),
        ("image,attribute,value,item\na.jpg,item,p,p\n", "line 2: attribute item beside the col"),
        ("image,item,domain\na.jpg,p,Shop\n", r"line 2: domain 'Shop' is unknown; allowed are st"),
        ("image,item,box_left\na.jpg,p,1\n", r"labels\.csv: column box_top is missing"),
        (WIDE.replace("2.5,", "two,"), r"line 2: column box_top has 'two'; expected a number"),
        (WIDE.replace("2.5,", ","), "line 2: column box_top is empty; a box needs all four"),
        (WIDE.replace("2.5,", "inf,"), "line 2: column box_top has 'inf'; expected a number"),
        ("image,neck,landmark_hem_x\na.jpg,v,1\n", "column landmark_hem_y is missing"),
        (WIDE.replace("7,8,,", "7,,,"), "line 2: column landmark_left_collar_y is empty; a land"),
        (WIDE.replace("9,9,", ",,"), "line 3: column landmark_left_collar_x is empty; a landmark"),
        (WIDE.replace("occluded", "hidden"), "collar_visibility 'hidden' is unknown; allowed are"),
        (LONG.replace("slim,p1", "slim,p2"), "line 4: item of image a.jpg is 'p2', and above 'p1'"),
        (
            LONG.replace("2.0", "2.1"),
            r"line 3: box of image a.jpg is 1.0 2.1 .*, and above 1.0 2.0",
        ),
        (LONG.replace("long,p1,street", "long,p1,shop"), "domain of image a.jpg is 'shop', and ab"),
        (LONG.replace("2.0,3,4,5", "2.0,3,4,9"), "line 3: hem of image a.jpg is hem 9.0 6.0 visib"),
    ],
)
def test_what_is_not_of_the_format_is_an_error(tmp_path, content, message):
    with pytest.raises(HemlineError, match=message):
        read(tmp_path, content)


numbers = st.floats(-1e6, 1e6) | st.integers(-999, 999)
points = st.tuples(numbers, numbers, st.sampled_from(tables.VISIBILITIES))
texts = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1).filter(
    lambda text: text.lower() != "nan" and text == text.strip()
)
rows_of_images = st.lists(
    st.tuples(
        texts,
        st.sampled_from(["street", "shop", ""]),
        st.none() | st.tuples(*[numbers] * 4),
        st.none() | points,
    ),
    min_size=1,
    max_size=8,
)
HEADER = (
    *("image", "item", "domain", "box_left", "box_top", "box_right", "box_bottom"),
    *("landmark_left_hem_x", "landmark_left_hem_y", "landmark_left_hem_visibility"),
)


def typed(name, cell):
    """Returns a cell as Parquet has it: null where it is empty, numbers as floats."""
    if cell == "":
        return None
    return cell if name in {"image", "item", "domain", HEADER[-1]} else float(cell)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=rows_of_images)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whatever_is_written_is_read(tmp_path, rows, kind):
    table = [
        (f"{number}.jpg", item, domain, *(box or [""] * 4), *(point or [""] * 3))
        for number, (item, domain, box, point) in enumerate(rows)
    ]
    if kind == "csv":
        file = io.StringIO(newline="")
        csv.writer(file).writerows([HEADER, *table])
        (tmp_path / "labels.csv").write_text(file.getvalue(), newline="")
    else:
        columns = {
            name: [typed(name, cell) for cell in column]
            for name, column in zip(HEADER, zip(*table, strict=True), strict=True)
        }
        pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    labelled = read_table_format(tmp_path)
    assert [label.value for label in labelled.labels] == [row[0] for row in rows]
    found = {box.path: box[1:] for box in labelled.boxes}
    assert found == {f"{n}.jpg": row[2] for n, row in enumerate(rows) if row[2]}
    assert labelled.domains == {f"{n}.jpg": row[1] for n, row in enumerate(rows) if row[1]}
    seen = {x.path: x[2:] for x in labelled.landmarks if x.visibility != "absent"}
    assert seen == {
        f"{n}.jpg": row[3] for n, row in enumerate(rows) if row[3] and row[3][2] != "absent"
    }
    for path in tmp_path.iterdir():
        path.unlink()
