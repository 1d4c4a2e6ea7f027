"""From label files and pictures to the catalog: numbering, names, and what is left out."""

import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from builders import png, png_header, write_files
from cataloguing import (
    HEADER,
    add_row,
    assert_same_files,
    build,
    build_of,
    labels_by_name,
    write_data_set,
    write_three_images,
)

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.labelled import Label, LabelledImages, PublishedTriplets, Region
from components.errors import HemlineError

# the environment is where people say where their data lies; tests read this one name only
REAL_DATA = os.environ.get("HEMLINE_REAL_DATA")


@pytest.fixture
def root(tmp_path):
    return write_three_images(tmp_path / "data")


def test_images_are_numbered_in_the_order_of_the_label_file(root):
    images = build(root).images.to_pylist()

    assert [(row["image"], row["path"]) for row in images] == [
        (0, "c.png"),
        (1, "a.png"),
        (2, "b.png"),
    ]
    for row in images:
        data = (root / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["bytes"], row["width"], row["height"]) == (len(data), 8, 6)


def test_attributes_come_in_order_of_appearance_and_values_by_the_alphabet(root):
    catalog = build(root)

    assert catalog.schema.as_dict() == {
        "dataset": "data",
        "attributes": (
            {"name": "neck", "values": ("round", "v")},
            {"name": "hem", "values": ("long", "short")},
        ),
    }
    rows = [tuple(row.values()) for row in catalog.labels.to_pylist()]
    assert [row[:3] for row in rows] == [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 1, 0)]
    assert {row[3:] for row in rows} == {(None, None)}, "the data set says no split, no role"


def test_fashionai_keeps_the_published_order_of_attributes_and_values(tmp_path):
    lines = [
        "Images/a.png,neck_design_labels,nynnn",
        "Images/b.png,neck_design_labels,nnnny",
        "Images/a.png,skirt_length_labels,nnnnny",
        "Images/b.png,skirt_length_labels,nynnnn",
    ]
    write_files(tmp_path, {"Annotations/label.csv": "\n".join(lines)})
    write_files(tmp_path, {"Images/a.png": png(0), "Images/b.png": png(1)})
    catalog = build(tmp_path, data_format="fashionai")

    assert catalog.schema.names == ["skirt_length", "neck_design"]
    assert catalog.schema.attributes[1].values[:2] == ("invisible", "turtle")
    rows = [tuple(row.values())[:3] for row in catalog.labels.to_pylist()]
    assert rows == [(0, 0, 5), (0, 1, 1), (1, 0, 1), (1, 1, 4)]


def write_garbage(root):
    (root / "x.png").write_bytes(b"GIF or so they say")


def write_empty(root):
    (root / "x.png").touch()


def write_header_only(root):
    (root / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def write_folder(root):
    (root / "x.png").mkdir()


def link_to_nothing(root):
    (root / "x.png").symlink_to("y.png")


def link_to_itself(root):
    (root / "x.png").symlink_to("x.png")


def write_pipe(root):
    os.mkfifo(root / "x.png")


def link_outside(root):
    outside = write_files(root.parent / "outside", {"x.png": png(9)})
    (root / "x.png").symlink_to(outside / "x.png")


def link_folder_outside(root):
    outside = write_files(root.parent / "outside", {"x.png": png(9)})
    (root / "folder").symlink_to(outside)


def write_beside(root):
    write_files(root.parent, {"x.png": png(9), "data-2/x.png": png(9)})


def write_bomb(root):
    (root / "x.png").write_bytes(png_header(20_000, 20_000))


def do_nothing(root):
    pass


@pytest.mark.parametrize(
    ("prepare", "path", "reason"),
    [
        (write_garbage, "x.png", "not_an_image"),
        (write_header_only, "x.png", "not_an_image"),
        (write_empty, "x.png", "empty_file"),
        (write_folder, "x.png", "not_a_file"),
        (write_bomb, "x.png", "too_large"),
        (do_nothing, "x.png", "missing"),
        (do_nothing, "a.png/x.png", "missing"),
        (do_nothing, "x" * 300 + ".png", "missing"),
        (link_to_itself, "x.png", "missing"),
        (write_pipe, "x.png", "not_a_file"),
        (link_to_nothing, "x.png", "missing"),
        (write_beside, "../x.png", "outside_root"),
        (write_beside, "../data-2/x.png", "outside_root"),
        (do_nothing, "..", "outside_root"),
        (do_nothing, ".", "not_a_file"),
        (do_nothing, "/etc/hostname", "outside_root"),
        (link_outside, "x.png", "outside_root"),
        (link_folder_outside, "folder/x.png", "outside_root"),
    ],
)
def test_an_unusable_image_goes_to_quarantine_and_the_others_stay(root, prepare, path, reason):
    without = build(root)
    prepare(root)
    add_row(root, path)
    catalog = build(root)

    assert [(row["path"], row["reason"]) for row in catalog.quarantine.to_pylist()] == [
        (path, reason)
    ]
    assert catalog.images.equals(without.images)
    assert catalog.labels.equals(without.labels)


def test_links_within_the_root_are_followed(root):
    (root / "x.png").symlink_to("a.png")
    add_row(root, "x.png")
    images = build(root).images.to_pylist()

    assert images[3]["path"] == "x.png"
    assert images[3]["sha256"] == images[1]["sha256"]


def test_a_root_that_is_a_link_is_no_way_out(root):
    link = root.parent / "link"
    link.symlink_to(root)

    assert build(link).images.num_rows == 3


def test_numbers_are_dense_when_the_first_image_is_left_out(root):
    (root / "c.png").unlink()
    add_row(root, "b.png")
    catalog = build(root)

    assert catalog.images["image"].to_pylist() == [0, 1]
    assert catalog.images["path"].to_pylist() == ["a.png", "b.png"]
    assert set(catalog.labels["image"].to_pylist()) == {0, 1}


def test_a_name_with_a_nul_is_that_of_no_file(root):
    labels = [Label("a.png", "neck", "v"), Label("b.png", "neck", "u"), Label("x\0", "neck", "v")]
    catalog = build_of(root, *labels)

    rows = [("x\0", "missing", "no file can have this name")]
    assert [tuple(row.values()) for row in catalog.quarantine.to_pylist()] == rows


def test_an_absolute_path_is_refused_even_into_the_root(root):
    add_row(root, f"{root}/a.png")
    catalog = build(root)

    assert catalog.images.num_rows == 3
    rows = [(f"{root}/a.png", "outside_root", "an absolute path")]
    assert [tuple(row.values()) for row in catalog.quarantine.to_pylist()] == rows


@pytest.mark.parametrize("folder", ["", "images"])
@pytest.mark.parametrize(
    "name",
    ["a b.png", "it's.png", 'a".png', "a,b.png", "a\\b.png", "ä😀.png", "a|b;c.png"],
)
def test_unusual_names_are_names(tmp_path, folder, name):
    write_files(tmp_path / folder, {name: png(0), "b.png": png(1)})
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "neck"), (name, "v"), ("b.png", "round")])
    catalog = build(tmp_path)

    assert catalog.images["path"].to_pylist() == [
        f"{folder}/{x}".lstrip("/") for x in (name, "b.png")
    ]
    assert catalog.quarantine.num_rows == 0


def test_a_name_in_another_encoding_is_shown_in_quarantine(root):
    name = b"\xe4.png"
    (root / os.fsdecode(name)).write_bytes(png(9))
    with (root / "labels.csv").open("ab") as file:
        file.write(name + b",neck,v\n")
    catalog = build(root)

    rows = [("\\xe4.png", "bad_name", "not UTF-8: \\xe4.png,neck,v")]
    assert [tuple(row.values()) for row in catalog.quarantine.to_pylist()] == rows
    assert catalog.images.num_rows == 3


@pytest.mark.parametrize("spelling", ["./a.png", "x/../a.png", ".//a.png"])
def test_spellings_of_a_path_are_one_image(root, spelling):
    before = build(root)
    add_row(root, spelling)
    after = build(root)

    assert after.images.equals(before.images)
    assert labels_by_name(after) == sorted([*labels_by_name(before), ("a.png", "neck", "v")])


def test_splits_roles_and_groups_reach_the_tables(root):
    content = """image,neck,split,role,group
b.png,v,test,query,p2
a.png,round,valid,candidate,
c.png,v,train,train,p2
a.png,v,,,p1
"""
    catalog = build(write_files(root, {"labels.csv": content}))

    assert catalog.images["path"].to_pylist() == ["b.png", "a.png", "c.png"]
    assert catalog.images["group"].to_pylist() == ["p2", "p1", "p2"]
    assert [tuple(row.values()) for row in catalog.labels.to_pylist()] == [
        (0, 0, 1, "test", "query"),
        (1, 0, 0, "valid", "gallery"),
        (1, 0, 1, None, None),
        (2, 0, 1, "train", None),
    ]


def test_an_image_can_be_used_while_one_of_its_labels_cannot(root):
    unusable = [("a.png", "unknown_value", "line 9"), ("a.png", "no_value", "line 8")]
    labels = [Label("a.png", "neck", "v"), Label("b.png", "neck", "u"), Label("x.png", "neck", "u")]
    catalog = build_of(root, *labels, unusable=unusable, left_out={"rows": 3})

    assert catalog.images["path"].to_pylist() == ["a.png", "b.png"]
    assert [tuple(row.values()) for row in catalog.quarantine.to_pylist()] == [
        ("a.png", "no_value", "line 8"),
        ("a.png", "unknown_value", "line 9"),
        ("x.png", "missing", "no such file"),
    ]
    assert catalog.left_out == {"rows": 3}


def test_published_triplets_of_usable_images_are_kept(root):
    triplets = PublishedTriplets(
        paths=["a.png", "x.png", "c.png", "b.png"],
        rows={
            ("train", "hem"): np.array([[0, 0, 3]]),
            ("test", "neck"): np.array([[0, 2, 3], [0, 1, 3], [3, 2, 0]]),
            ("test", "fit"): np.array([[0, 2, 3]]),
        },
    )
    labels = [Label(x, y, x) for x in ("c.png", "a.png", "b.png") for y in ("neck", "hem")]
    catalog = build_of(root, *labels, triplets=triplets)

    assert [tuple(row.values()) for row in catalog.triplets.to_pylist()] == [
        ("train", 1, 1, 1, 2),
        ("test", 0, 1, 0, 2),
        ("test", 0, 2, 0, 1),
    ]
    assert catalog.left_out == {"published triplets of images or attributes that are not used": 2}


def test_published_values_stay_before_those_that_only_labels_have(root):
    labels = [Label("a.png", "neck", "x"), Label("b.png", "neck", "v")]
    catalog = build_of(root, *labels, values_of={"hem": ["long"], "neck": ["v", "round"]})

    assert [(x.name, x.values) for x in catalog.schema.attributes] == [
        ("neck", ("v", "round", "x"))
    ]
    assert labels_by_name(catalog) == [("a.png", "neck", "x"), ("b.png", "neck", "v")]


def test_an_attribute_of_one_value_is_refused_with_the_remedy(root):
    write_files(root, {"labels.csv": (root / "labels.csv").read_text() + "a.png,fit,slim\n"})

    with pytest.raises(HemlineError, match=r"'fit' has the single value 'slim'.*exclude_attri"):
        build(root)
    assert build(root, exclude=["fit"]).schema.names == ["neck", "hem"]


@pytest.mark.parametrize("name", ["n" * 201, "领" * 23], ids=["letters", "bytes"])
def test_a_name_that_is_too_long_for_what_becomes_of_it_is_refused_with_the_remedy(root, name):
    rows = f"a.png,{name},slim\nb.png,{name},wide\n"
    write_files(root, {"labels.csv": (root / "labels.csv").read_text() + rows})

    with pytest.raises(HemlineError, match=rf"'{name}' is too long.*200.*data\.exclude_attributes"):
        build(root)
    assert build(root, exclude=[name]).schema.names == ["neck", "hem"]


def test_an_attribute_whose_other_value_is_in_quarantine_is_refused(root):
    (root / "b.png").unlink()  # the only long hem

    with pytest.raises(HemlineError, match=r"'hem' has the single value 'short'"):
        build(root)


def test_images_of_excluded_attributes_only_are_left_out(root):
    catalog = build(root, exclude=["neck"])

    assert catalog.schema.names == ["hem"]
    assert catalog.images["path"].to_pylist() == ["a.png", "b.png"]
    assert labels_by_name(catalog) == [("a.png", "hem", "short"), ("b.png", "hem", "long")]


def test_an_unknown_excluded_attribute_is_named(root):
    with pytest.raises(HemlineError, match=r"exclude_attributes: .* 'nek'; it has hem, neck"):
        build(root, exclude=["nek"])


def test_no_usable_image_is_an_error_that_shows_the_first(tmp_path):
    root = write_data_set(tmp_path, [("a.png", "neck", "v"), ("b.png", "neck", "u")], [])

    with pytest.raises(HemlineError, match=r"none of 2 labelled images .*quarantine: a\.png: miss"):
        build(root)


def test_no_usable_label_is_an_error_that_says_what_there_was(root):
    write_files(root, {"labels.csv": HEADER + "a.png,neck,\nb.png,,v\nc.png,neck,\n"})
    expected = r"none of 0 .*used; rows without a label: 2; .*quarantine: b\.png: unknown_attribute"
    with pytest.raises(HemlineError, match=expected):
        build(root)

    write_files(root, {"labels.csv": HEADER})
    with pytest.raises(HemlineError, match=r"none of 0 labelled images can be used$"):
        build(root)


def test_more_values_than_the_tables_can_count_are_refused(root):
    paths = ["a.png", "b.png"]
    values = [str(number) for number in range(2**15 + 1)]
    labels = [Label(paths[place % 2], "price", value) for place, value in enumerate(values)]

    assert build_of(root, *labels[:-1]).schema.max_num_values == 2**15
    with pytest.raises(HemlineError, match=r"'price' has 32769 values, at most 32768 .*exclude_at"):
        build_of(root, *labels)


def test_two_builds_are_the_same_to_the_byte(root, tmp_path):
    add_row(root, "missing.png")
    for folder in ("one", "two"):
        tables.write_catalog(build(root), tmp_path / folder)

    assert_same_files(tmp_path / "one", tmp_path / "two")


@pytest.mark.skipif(not REAL_DATA, reason="HEMLINE_REAL_DATA does not name the photographs' folder")
def test_real_photographs():
    root = Path(REAL_DATA) / "fashion_products"
    catalog = build(root)

    assert (catalog.images.num_rows, catalog.labels.num_rows) == (4007, 32052)
    assert len(catalog.schema.attributes) == 8
    assert catalog.quarantine.num_rows == 0
    # counted from the label file by cutting its lines, without any of the reader's code
    lines = (root / "labels.csv").read_text().splitlines()[1:]
    counts = Counter(tuple(line.split(",", 2)[1:]) for line in lines)
    attributes = catalog.schema.attributes
    rows = zip(*catalog.labels.select(["attribute", "value"]).to_pydict().values(), strict=True)
    assert Counter((attributes[a].name, attributes[a].values[v]) for a, v in rows) == counts


def test_regions_are_those_of_usable_images_and_attributes(root):
    write_files(root, {"a.png": png(0), "b.png": png(1)})
    catalog = build_catalog(
        LabelledImages(
            dataset="data",
            labels=[
                Label("a.png", "neck", "v"),
                Label("b.png", "neck", "round"),
                Label("a.png", "hem", "short"),
            ],
            source="labels.csv",
            regions=[
                Region("b.png", "neck", 1, 2, 3.5, 4),
                Region("a.png", "neck", 0, 0, 1, 1),
                Region("a.png", "hem", 0, 0, 2, 2),
                Region("gone.png", "neck", 0, 0, 2, 2),
            ],
        ),
        root,
        exclude_attributes=["hem"],
    )
    assert [tuple(row.values()) for row in catalog.regions.to_pylist()] == [
        (0, 0, 0, 0, 1, 1),
        (1, 0, 1, 2, 3.5, 4),
    ]
