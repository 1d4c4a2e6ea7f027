"""The door to all readers: paths and labels made one; labels that contradict or are no text."""

import posixpath

import numpy as np
import pytest
from builders import write_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.datasets.labelled import Label, LabelledImages, PublishedTriplets
from components.datasets.read import READERS, cleaned, read_labels
from components.errors import HemlineError

HEADER = b"image,attribute,value\n"
BAD = "\udce4"  # the byte E4 as readers hand it over (PEP 383), which UTF-8 never has alone


def labelled(*labels, **others):
    return LabelledImages(dataset="d", labels=labels, source="labels.csv", **others)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("./a.jpg", "a.jpg"),
        ("x/../a.jpg", "a.jpg"),
        ("x//a.jpg", "x/a.jpg"),
        ("x/./y/../a.jpg", "x/a.jpg"),
        ("../a.jpg", "../a.jpg"),
        ("x/../../a.jpg", "../a.jpg"),
        ("/x/a.jpg", "/x/a.jpg"),
        ("x\\a.jpg", "x\\a.jpg"),
        ("A.jpg", "A.jpg"),
        ("ä \n'\",.jpg", "ä \n'\",.jpg"),
    ],
)
def test_paths_are_normalised_wherever_they_stand(written, path):
    result = cleaned(
        labelled(
            Label(written, "neck", "v", "test", "query"),
            groups={written: "p1"},
            triplets=PublishedTriplets(paths=[written]),
            unusable=[(written, "no_value", "line 3")],
        )
    )

    assert result.labels == [Label(path, "neck", "v", "test", "query")]
    assert result.groups == {path: "p1"}
    assert result.triplets.paths == [path]
    assert result.unusable == [(path, "no_value", "line 3")]


NFC, NFD = "d\u00e9collet\u00e9", "de\u0301collete\u0301"


def test_names_are_one_in_whatever_unicode_form():
    result = cleaned(
        labelled(
            Label("a.jpg", NFD, "v"),
            Label("a.jpg", NFC, "v"),
            Label("b.jpg", NFC, NFD),
            Label("c.jpg", NFC, NFC),
            groups={"a.jpg": NFD, "b.jpg": NFC},
            values_of={NFD: [NFD, "v"]},
        )
    )

    assert result.labels == [
        Label("a.jpg", NFC, "v"),
        Label("b.jpg", NFC, NFC),
        Label("c.jpg", NFC, NFC),
    ]
    assert result.groups == {"a.jpg": NFC, "b.jpg": NFC}
    assert result.values_of == {NFC: [NFC, "v"]}
    assert result.left_out == {"repeated labels": 1}


@pytest.mark.parametrize(
    ("on_disk", "written"),
    [
        (f"{NFD}/{NFD}.jpg", f"{NFC}/{NFC}.jpg"),
        (f"{NFC}/{NFC}.jpg", f"{NFD}/{NFD}.jpg"),
        (f"{NFC}/{NFD}.jpg", f"x/..\\{NFD}\\{NFC}.jpg"),
        ("x/a.jpg", "x\\a.jpg"),
        ("x/a.jpg", ".\\x\\a.jpg"),
    ],
)
def test_a_path_in_another_form_is_that_of_its_file(tmp_path, on_disk, written):
    write_files(tmp_path, {on_disk: b"", "b.jpg": b""})
    rows = f"{written},neck,v\n{on_disk},hem,long\nb.jpg,neck,v\n"
    write_files(tmp_path, {"labels.csv": HEADER + rows.encode()})
    result = read_labels(tmp_path, data_format="table")

    assert [label.path for label in result.labels] == [on_disk, on_disk, "b.jpg"]
    assert result.left_out == {"paths in another spelling than their files": 1}


@pytest.mark.parametrize(
    "path", [f"{NFC}.jpg", f"{NFC}/a\\b.jpg", "x\\a.jpg", "../\\ä.jpg", "/d\u00e9.jpg", "\\a.jpg"]
)
def test_a_path_of_no_file_stays_as_written(tmp_path, path):
    rows = f"{path},neck,v\n".encode()
    write_files(
        tmp_path, {"labels.csv": HEADER + rows, NFD: b"", "de\u0301.jpg": b"", "a.jpg": b""}
    )
    result = read_labels(tmp_path, data_format="table")

    assert [label.path for label in result.labels] == [path]
    assert result.left_out == {}


def test_of_two_files_that_look_alike_each_is_itself(tmp_path):
    paths = [f"{NFC}.jpg", f"{NFD}.jpg", "x\\a.jpg", "x/a.jpg"]
    write_files(tmp_path, dict.fromkeys(paths, b""))
    rows = "".join(f"{path},neck,v\n" for path in paths)
    write_files(tmp_path, {"labels.csv": HEADER + rows.encode()})

    labels = read_labels(tmp_path, data_format="table").labels
    assert [label.path for label in labels] == paths


def test_repeated_labels_are_counted_once(tmp_path):
    label = Label("a.jpg", "neck", "v", "test", "query")
    others = [label._replace(role="gallery"), label._replace(value="u"), label._replace(split=None)]
    result = cleaned(labelled(label, label._replace(path="./a.jpg"), *others, label))

    assert result.labels == [label, *others]
    assert result.left_out == {"repeated labels": 2}


def test_what_was_left_out_nought_times_is_not_told():
    result = cleaned(labelled(Label("a.jpg", "neck", "v"), left_out={"rows": 0, "lines": 3}))

    assert result.left_out == {"lines": 3}


def test_several_values_contradict_each_other_only_where_an_image_has_one():
    labels = [
        Label("a.jpg", "neck", "v"),
        Label("b.jpg", "neck", "v"),
        Label("a.jpg", "hem", "long"),
        Label("./a.jpg", "neck", "round"),
    ]
    several = cleaned(labelled(*labels))
    one = cleaned(labelled(*labels, one_value_each=True, unusable=[("c.jpg", "no_value", "x")]))

    assert several.labels == [*labels[:3], Label("a.jpg", "neck", "round")]
    assert several.unusable == []
    assert one.labels == labels[1:3]
    assert one.unusable == [
        ("c.jpg", "no_value", "x"),
        ("a.jpg", "conflicting_values", "neck: round, v"),
    ]


def test_one_value_in_two_splits_is_no_contradiction():
    labels = [Label("a.jpg", "neck", "v", split) for split in ("train", "test")]

    assert cleaned(labelled(*labels, one_value_each=True)).labels == labels


@pytest.mark.parametrize("place", range(3))
def test_a_label_that_is_not_utf_8_is_set_apart(place):
    label = Label("x/../a.jpg", "neck", "v")
    bad = Label(*(text + BAD * (place == i) for i, text in enumerate(label[:3])), "test", "query")
    result = cleaned(labelled(bad, label))

    assert result.labels == [Label("a.jpg", "neck", "v")]
    ((path, reason, detail),) = result.unusable
    assert path == ("a.jpg\\xe4" if place == 0 else "a.jpg")
    assert reason == "bad_name"
    assert detail == "not UTF-8: " + ",".join(bad[:3]).replace(BAD, "\\xe4")


def test_all_other_texts_are_made_utf_8():
    result = cleaned(
        LabelledImages(
            dataset="d" + BAD,
            labels=[Label("a.jpg", "neck", "v")],
            source="labels.csv",
            values_of={"neck": ["v", BAD]},
            groups={"a.jpg": BAD, BAD: "p1"},
            unusable=[(BAD, "no_value", BAD)],
            left_out={BAD: 1},
        )
    )

    assert result.dataset == "d\\xe4"
    assert result.values_of == {"neck": ["v", "\\xe4"]}, "places of the others stay"
    assert result.groups == {"a.jpg": "\\xe4"}
    assert result.unusable == [("\\xe4", "no_value", "\\xe4")]
    assert result.left_out == {"\\xe4": 1}


def test_triplets_keep_their_places():
    rows = {("train", "neck"): np.array([[0, 1, 0]])}
    paths = ["./a.jpg", "a.jpg"]
    triplets = cleaned(labelled(triplets=PublishedTriplets(paths=paths, rows=rows))).triplets

    assert triplets.paths == ["a.jpg", "a.jpg"]
    assert triplets.rows is rows


@pytest.mark.parametrize("data_format", [*READERS, "published"])
def test_every_format_names_what_an_empty_folder_lacks(tmp_path, data_format):
    with pytest.raises(HemlineError, match=rf"{tmp_path}.*data\.format"):
        read_labels(tmp_path, data_format=data_format, dataset="DARN")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"data\.root: no folder .*nowhere"):
        read_labels(tmp_path / "nowhere", data_format="table")


# most files are nearly right: what arbitrary bytes alone would hardly ever be
NAMES = [b"a.jpg", b"./a.jpg", b"../b", b"/c", b"d/.", b"\xe4.jpg", b"x\\y\n", b"", b" a.jpg "]
SECOND = [b"neck_design_labels", b"neck_design", b"hem", b"nan", b"", b"\xe4", b" ", b"v|w||"]
THIRD = [b"nynnn", b"nnnny", b"nynny", b"?", b"nyn", b"", b"NaN", b"\xff", b"v", b'"u, w"', b"1.0"]
FOURTH = [b"test", b"val", b"", b"", b"g", b"\xe4", b"dev"]


def nearly_right(header, *columns):
    row = st.tuples(*map(st.sampled_from, columns)).map(b",".join)
    lines = st.tuples(
        st.lists(row, max_size=6), st.just(b"") | st.just(b"") | st.binary(max_size=9)
    )
    return lines.map(lambda lines: b"\n".join([*header, *lines[0], lines[1]]))


CONTENTS = {
    "labels.csv": st.one_of(
        nearly_right([b"image,attribute,value"], NAMES, SECOND, THIRD),
        nearly_right([b"image,neck,group"], NAMES, SECOND, THIRD),
        nearly_right([b"image,neck,hem,split"], NAMES, SECOND, THIRD, FOURTH),
        st.binary(max_size=60),
    ),
    "Annotations/label.csv": st.one_of(
        nearly_right([], NAMES, SECOND, THIRD), st.binary(max_size=60)
    ),
}


@pytest.mark.parametrize(
    ("data_format", "name"), [("table", "labels.csv"), ("fashionai", "Annotations/label.csv")]
)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_labels_or_an_expected_error(tmp_path, data_format, name, data):
    root = write_files(tmp_path, {name: data.draw(CONTENTS[name])})
    try:
        result = read_labels(root, data_format=data_format)
    except HemlineError:
        return
    rows = [*result.labels, *result.unusable]
    texts = [text for row in rows for text in row if text is not None]
    for text in [*texts, *result.groups, *result.groups.values(), *result.left_out]:
        assert text.encode().decode() == text == text.strip() != ""
    for path in [*(row[0] for row in rows), *result.groups]:
        assert path == posixpath.normpath(path)
    assert len(set(result.labels)) == len(result.labels)
    assert all(result.left_out.values())
