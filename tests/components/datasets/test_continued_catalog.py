"""Catalogs that continue another: which numbers and positions stay, and when none does."""

import hashlib
import json
import shutil

import pytest
from builders import png, write_files
from cataloguing import (
    add_row,
    assert_same_files,
    build,
    labels_by_name,
    paths_by_number,
    write_three_images,
)

from components import files, tables
from components.tables import Numbering


@pytest.fixture
def root(tmp_path):
    return write_three_images(tmp_path / "data")


def add_first(root, *rows):
    """Adds rows before all others, with an image file for each name that has none."""
    header, *lines = (root / "labels.csv").read_text().splitlines()
    write_files(root, {"labels.csv": "\n".join([header, *rows, *lines]) + "\n"})
    for seed, name in enumerate((row.split(",")[0] for row in rows), start=10):
        if not (root / name).exists():
            write_files(root, {name: png(seed)})


def remove(root, name):
    """Removes an image and its rows."""
    lines = (root / "labels.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{name},")]
    write_files(root, {"labels.csv": "\n".join(kept) + "\n"})
    (root / name).unlink()


def test_an_image_keeps_its_number_when_data_is_added(root):
    before = build(root)
    add_first(root, "z.png,neck,v", "0.png,hem,short")
    after = build(root, previous=before)

    assert after.images.slice(0, 3).equals(before.images)
    assert paths_by_number(after) == {0: "c.png", 1: "a.png", 2: "b.png", 3: "z.png", 4: "0.png"}
    assert after.numbering == Numbering(origin=before.numbering.origin, next_image=5)
    assert paths_by_number(build(root))[0] == "z.png", "without a catalog to continue"


@pytest.mark.parametrize(("name", "number"), [("c.png", 0), ("b.png", 2)], ids=["first", "last"])
def test_the_number_of_a_removed_image_is_not_given_again(root, name, number):
    add_first(root, "a.png,neck,u", "a.png,hem,long")  # so that either can be missed
    first = build(root)
    numbers = {path: number for number, path in paths_by_number(first).items()}
    remove(root, name)
    second = build(root, previous=first)
    add_first(root, f"{name},neck,round", "d.png,neck,v")
    third = build(root, previous=second)

    assert paths_by_number(second) == {n: path for path, n in numbers.items() if path != name}
    assert paths_by_number(third) == paths_by_number(second) | {3: name, 4: "d.png"}


def test_a_changed_file_keeps_its_number(root):
    before = build(root)
    (root / "a.png").write_bytes(png(99))
    after = build(root, previous=before)

    assert paths_by_number(after) == paths_by_number(before)
    digests = [hashlib.sha256((root / x).read_bytes()).hexdigest() for x in ("c.png", "a.png")]
    assert after.images["sha256"].to_pylist()[:2] == digests
    assert after.images["sha256"][1] != before.images["sha256"][1]


def test_new_values_and_attributes_come_behind_the_old(root):
    before = build(root)
    add_first(root, "a.png,fit,slim", "b.png,fit,loose", "a.png,neck,boat", "c.png,hem,midi")
    after = build(root, previous=before)

    assert [(x.name, x.values) for x in after.schema.attributes] == [
        ("neck", ("round", "v", "boat")),
        ("hem", ("long", "short", "midi")),
        ("fit", ("loose", "slim")),
    ]
    old = before.labels.to_pylist()
    assert [row for row in after.labels.to_pylist() if row in old] == old
    added = {("a.png", "fit", "slim"), ("b.png", "fit", "loose"), ("a.png", "neck", "boat")}
    assert set(labels_by_name(after)) - set(labels_by_name(before)) == {
        *added,
        ("c.png", "hem", "midi"),
    }


def test_a_value_that_nobody_has_any_more_keeps_its_place(root):
    add_first(root, "a.png,neck,boat")
    before = build(root)
    write_files(root, {"labels.csv": (root / "labels.csv").read_text().replace("boat", "v")})
    after = build(root, previous=before)

    assert after.schema == before.schema
    assert ("a.png", "neck", "v") in labels_by_name(after)


def test_a_mended_image_gets_a_new_number(root):
    add_first(root, "x.png,neck,v")
    (root / "x.png").write_bytes(b"no picture")
    before = build(root)
    (root / "x.png").write_bytes(png(8))
    after = build(root, previous=before)

    assert paths_by_number(before) == {0: "c.png", 1: "a.png", 2: "b.png"}
    assert paths_by_number(after) == paths_by_number(before) | {3: "x.png"}
    assert after.quarantine.num_rows == 0


def test_a_catalog_of_another_name_is_not_continued(root):
    other = build(shutil.copytree(root, root.parent / "other"))
    add_first(root, "z.png,neck,v")

    assert build(root, previous=other).images.equals(build(root).images)
    assert build(root, previous=other).numbering.origin != other.numbering.origin


def test_a_catalog_without_a_common_path_is_not_continued(root):
    before = build(root)
    for name in ("a.png", "b.png", "c.png"):
        remove(root, name)
    add_first(root, "z.png,neck,v", "y.png,neck,u")
    after = build(root, previous=before)

    assert paths_by_number(after) == {0: "z.png", 1: "y.png"}
    assert after.schema.names == ["neck"]
    assert after.schema.attributes[0].values == ("u", "v")
    assert after.numbering.origin != before.numbering.origin


def test_continuing_what_did_not_change_changes_nothing(root, tmp_path):
    add_row(root, "missing.png")
    tables.write_catalog(build(root), tmp_path / "one")
    previous = tables.read_catalog(tmp_path / "one")
    tables.write_catalog(build(root, previous=previous), tmp_path / "two")

    assert_same_files(tmp_path / "one", tmp_path / "two")


def test_a_catalog_of_another_unicode_form_is_continued(tmp_path):
    nfc, nfd = "d\u00e9collet\u00e9", "de\u0301collete\u0301"
    rows = [f"{nfd}.png,{nfd},v", f"b.png,{nfd},{nfd}"]
    root = write_files(tmp_path, {f"{nfd}.png": png(0), "b.png": png(1)})
    write_files(root, {"labels.csv": "\n".join(["image,attribute,value", *rows])})
    tables.write_catalog(build(root), tmp_path / "first")
    schema = tmp_path / "first/schema.json"
    written = json.dumps(nfc)
    content = json.dumps(files.read_json(schema))
    assert written in content
    # as versions before 0.2 wrote it
    schema.write_text(content.replace(written, json.dumps(nfd)))
    write_files(root, {"labels.csv": "\n".join(["image,attribute,value", *rows]).replace(nfd, nfc)})
    first = tables.read_catalog(tmp_path / "first")
    second = build(root, previous=first, exclude=[])

    assert second.schema == first.schema
    assert [x.name for x in second.schema.attributes] == [nfc]
    assert second.images.equals(first.images)
    assert second.labels.equals(first.labels)
