"""A catalog of single products: items, domains, boxes and landmarks."""

from dataclasses import replace

import pytest
from builders import encoded, noise, write_files

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.labelled import Box, Label, LabelledImages, Landmark
from components.errors import HemlineError

SIZE = (8, 6)


def labelled(root, items, **others):
    """Returns what a reader finds of images by their item, each with a file."""
    write_files(root, {path: encoded(noise(*SIZE, seed=n)) for n, path in enumerate(items)})
    labels = [Label(path, "item", item) for path, item in items.items()]
    labels += [Label(path, "neck", "v" if n % 2 else "round") for n, path in enumerate(items)]
    found = {"identity": "item", "groups": items, **others}
    return LabelledImages(dataset="data", labels=labels, source="labels.csv", **found)


def build(root, items, *, previous=None, **others):
    found = labelled(root, items, **others)
    return build_catalog(found, root, exclude_attributes=(), previous=previous)


def items_by_name(catalog):
    names = tables.item_names(catalog.images, catalog.labels, catalog.schema)
    return {name: item for item, name in names.items()}


ITEMS = {"a.png": "p9", "b.png": "p1", "c.png": "p9", "d.png": "p5"}


def test_items_are_counted_in_order_of_appearance_and_not_listed(tmp_path):
    catalog = build(tmp_path, ITEMS)

    assert catalog.schema.as_dict()["attributes"] == (
        {"name": "item", "num_items": 3},
        {"name": "neck", "values": ("round", "v")},
    )
    assert items_by_name(catalog) == {"p9": 0, "p1": 1, "p5": 2}


def test_items_keep_their_numbers_and_one_that_went_leaves_a_gap(tmp_path):
    before = build(tmp_path, ITEMS)
    grown = {"n.png": "p2", "a.png": "p9", "c.png": "p9", "d.png": "p5"}
    after = build(tmp_path, grown, previous=before)

    assert items_by_name(after) == {"p9": 0, "p5": 2, "p2": 3}
    assert after.schema.num_values[0] == 4
    again = build(tmp_path, {**grown, "b.png": "p1"}, previous=after)
    assert items_by_name(again) == {"p9": 0, "p5": 2, "p2": 3, "p1": 4}


def test_more_items_than_an_attribute_may_list_are_counted(tmp_path):
    catalog = build(tmp_path, ITEMS)
    item = replace(catalog.schema.attributes[0], num_items=2**15)
    schema = replace(catalog.schema, attributes=(item, *catalog.schema.attributes[1:]))
    after = build(tmp_path, {**ITEMS, "e.png": "p7"}, previous=replace(catalog, schema=schema))

    assert items_by_name(after)["p7"] == 2**15


def test_a_single_item_is_nothing_to_tell_apart(tmp_path):
    with pytest.raises(HemlineError, match="'item' has the single value 'p'"):
        build(tmp_path, {"a.png": "p", "b.png": "p"})


def test_images_have_their_domains(tmp_path):
    catalog = build(tmp_path, ITEMS, domains={"a.png": "street", "d.png": "shop"})

    assert catalog.images["domain"].to_pylist() == ["street", None, None, "shop"]


def test_boxes_are_clipped_and_those_without_an_area_are_left_out(tmp_path):
    boxes = [
        Box("d.png", -3, 1, 5, 99),
        Box("b.png", 4, 4, 4, 6),
        Box("c.png", 9, 0, 20, 6),
        Box("missing.png", 0, 0, 1, 1),
    ]
    catalog = build(tmp_path, ITEMS, boxes=boxes)

    assert [tuple(row.values()) for row in catalog.boxes.to_pylist()] == [(3, 0, 1, 5, 6)]
    assert catalog.left_out == {"boxes without an area in their picture": 2}


def test_landmarks_outside_their_picture_are_absent(tmp_path):
    landmarks = [
        Landmark("b.png", "left hem", 8, 6, "occluded"),
        Landmark("b.png", "left collar", 8.5, 2, "visible"),
        Landmark("a.png", "left hem", 0, 0, "absent"),
        Landmark("missing.png", "left hem", 0, 0, "visible"),
    ]
    catalog = build(tmp_path, ITEMS, landmarks=landmarks)

    assert catalog.schema.landmarks == ("left hem", "left collar")
    assert [tuple(row.values()) for row in catalog.landmarks.to_pylist()] == [
        (0, 0, None, None, "absent"),
        (1, 0, 8, 6, "occluded"),
        (1, 1, None, None, "absent"),
    ]
    assert catalog.left_out == {"landmarks outside their picture": 1}


def test_landmarks_keep_their_places(tmp_path):
    hem, collar = (Landmark("a.png", name, 1, 1, "visible") for name in ("hem", "collar"))
    before = build(tmp_path, ITEMS, landmarks=[hem])
    after = build(tmp_path, ITEMS, landmarks=[collar, hem], previous=before)

    assert after.schema.landmarks == ("hem", "collar")
    assert [row["landmark"] for row in after.landmarks.to_pylist()] == [0, 1]


def test_regions_of_a_file_are_images_and_their_boxes(tmp_path):
    """Of those that a data set gives as well, the path's own counts; outside there is no box."""
    one, two, beside = "a.png#xywh=1,1,3,4", "a.png#xywh=4,0,9,9", "a.png#xywh=50,0,9,9"
    items = {"a.png": "p9", "b.png": "p1", "c.png#xywh=1,1,2,2": "p2"}
    write_files(tmp_path, {"c.png#xywh=1,1,2,2": encoded(noise(4, 4))})
    found = labelled(tmp_path, items)
    labels = [*found.labels, *(Label(path, "item", "p9") for path in (one, two, beside))]
    found = replace(found, labels=labels, boxes=[Box(one, 0, 0, 1, 1), Box("b.png", 1, 2, 3, 4)])
    catalog = build_catalog(found, tmp_path, exclude_attributes=())

    rows = catalog.images.select(["path", "width", "height"]).to_pylist()
    assert [row["path"] for row in rows] == [*items, one, two, beside]
    assert {(row["width"], row["height"]) for row in rows} == {SIZE}
    assert len({*catalog.images["sha256"].take([0, 3, 4, 5]).to_pylist()}) == 1
    boxes = [tuple(row.values()) for row in catalog.boxes.to_pylist()]
    assert boxes == [(1, 1, 2, 3, 4), (3, 1, 1, 4, 5), (4, 4, 0, 8, 6)]
    assert catalog.left_out["boxes without an area in their picture"] == 1


def test_a_region_of_no_file_is_missing(tmp_path):
    found = labelled(tmp_path, ITEMS)
    labels = [*found.labels, Label("z.png#xywh=1,1,3,4", "item", "p9")]
    catalog = build_catalog(replace(found, labels=labels), tmp_path, exclude_attributes=())

    assert catalog.quarantine.to_pylist() == [
        {"path": "z.png#xywh=1,1,3,4", "reason": "missing", "detail": "no such file"}
    ]
