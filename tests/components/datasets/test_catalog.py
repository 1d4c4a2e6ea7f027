"""From label files and pictures to the catalog: numbering, names, and what is left out."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from builders import png, png_header, write_files

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.read import read_labels
from components.errors import HemlineError

HEADER = "image,attribute,value\n"
# the environment is where people say where their data lies; tests read this one name only
REAL_DATA = os.environ.get("HEMLINE_REAL_DATA")


def build(root, *, data_format="table", exclude=()):
    return build_catalog(
        read_labels(root, data_format=data_format), root, exclude_attributes=exclude
    )


def write_data_set(root, rows, files):
    """Writes a data set of the table format; an image of its own for each name."""
    lines = [",".join(row) for row in rows]
    write_files(root, {name: png(seed) for seed, name in enumerate(files)})
    return write_files(root, {"labels.csv": HEADER + "\n".join(lines) + "\n"})


@pytest.fixture
def root(tmp_path):
    """Three usable images; more rows and files are added by the tests."""
    rows = [
        ("c.png", "neck", "v"),
        ("a.png", "hem", "short"),
        ("a.png", "neck", "round"),
        ("b.png", "hem", "long"),
    ]
    return write_data_set(tmp_path / "data", rows, ["a.png", "b.png", "c.png"])


def add_row(root, path):
    with (root / "labels.csv").open("a") as file:
        file.write(f"{path},neck,v\n")


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
    assert rows == [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 1, 0)]


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
    rows = [tuple(row.values()) for row in catalog.labels.to_pylist()]
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
        (do_nothing, "x\0.png", "missing"),
        (link_to_nothing, "x.png", "missing"),
        (write_beside, "../x.png", "outside_root"),
        (write_beside, "../data-2/x.png", "outside_root"),
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


def test_an_image_keeps_its_number_when_data_is_added(root):
    before = build(root)
    write_files(root, {"0.png": png(5)})
    add_row(root, "0.png")
    after = build(root)

    assert after.images.slice(0, 3).equals(before.images)
    assert after.images["path"].to_pylist()[3] == "0.png"


def test_an_attribute_of_one_value_is_refused_with_the_remedy(root):
    write_files(root, {"labels.csv": (root / "labels.csv").read_text() + "a.png,fit,slim\n"})

    with pytest.raises(HemlineError, match=r"'fit' has the single value 'slim'.*exclude_attri"):
        build(root)
    assert build(root, exclude=["fit"]).schema.names == ["neck", "hem"]


def test_an_attribute_whose_other_value_is_in_quarantine_is_refused(root):
    (root / "b.png").unlink()  # the only long hem

    with pytest.raises(HemlineError, match=r"'hem' has the single value 'short'"):
        build(root)


def test_images_of_excluded_attributes_only_are_left_out(root):
    catalog = build(root, exclude=["neck"])

    assert catalog.schema.names == ["hem"]
    assert catalog.images["path"].to_pylist() == ["a.png", "b.png"]
    assert catalog.labels.to_pydict() == {"image": [0, 1], "attribute": [0, 0], "value": [1, 0]}


def test_an_unknown_excluded_attribute_is_named(root):
    with pytest.raises(HemlineError, match=r"exclude_attributes: .* 'nek'; it has hem, neck"):
        build(root, exclude=["nek"])


def test_no_usable_image_is_an_error_that_shows_the_first(tmp_path):
    root = write_data_set(tmp_path, [("a.png", "neck", "v"), ("b.png", "neck", "u")], [])

    with pytest.raises(HemlineError, match=r"none of 2 images .* the first: a\.png: missing"):
        build(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"data\.root: no folder .*nowhere"):
        build(tmp_path / "nowhere")


def test_two_builds_are_the_same_to_the_byte(root, tmp_path):
    add_row(root, "missing.png")
    for folder in ("one", "two"):
        tables.write_catalog(build(root), tmp_path / folder)

    written = sorted((tmp_path / "one").iterdir())
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


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
