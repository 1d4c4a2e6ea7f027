"""Street2Shop, in a small copy of its layout."""

import json

import pytest
from builders import encoded, noise, write_files
from cataloguing import build

from components.datasets.labelled import Label
from components.datasets.read import read_labels
from components.datasets.street2shop import read_street2shop
from components.errors import HemlineError

SIZE = (60, 40)


def pair(photo, product, *, left=5, top=6, width=20, height=30, **others):
    box = {"width": width, "top": top, "left": left, "height": height, **others}
    return {"photo": photo, "product": product, "bbox": box}


def shop(photo, product):
    return {"photo": photo, "product": product}


LISTS = {
    "train_pairs_dresses": [pair(2847, 1), pair(2848, 2)],
    "test_pairs_dresses": [pair(8288, 3), pair(8288, 4, left=30, top=0, width=10)],
    # of other products than those of dresses
    "retrieval_dresses": [shop(11, 1), shop(12, 2), shop(13, 3), shop(14, 4), shop(15, 9)],
    "train_pairs_tops": [pair(2847, 1, left=0, top=0, width=9, height=9)],
    "test_pairs_tops": [pair(2900, 2)],
    "retrieval_tops": [shop(21, 1), shop(22, 2)],
}
PHOTOS = {2847: "jpg", 2848: "jpg", 8288: "png", 2900: "jpeg"} | dict.fromkeys(
    (11, 12, 13, 14, 15, 21, 22), "jpg"
)


def write(root, *, photos=PHOTOS, **lists):
    files = {f"meta/json/{name}.json": json.dumps(x) for name, x in {**LISTS, **lists}.items()}
    files |= {
        f"photos/{photo:09d}.{suffix}": encoded(noise(*SIZE, seed=photo))
        for photo, suffix in photos.items()
    }
    urls = "".join(f"{photo:09d},http://shop/a,b/{photo}.jpg\n" for photo in photos)
    return write_files(root, {**files, "photos/photos.txt": urls})


def read(root, **changed):
    return read_street2shop(write(root, **changed))


def items_of(labelled):
    return [label for label in labelled.labels if label.attribute == "item"]


BOX = "#xywh=5,6,20,30"


def test_street_photos_are_their_boxes_and_products_count_within_their_category(tmp_path):
    assert items_of(read(tmp_path)) == [
        Label(f"photos/000002847.jpg{BOX}", "item", "dresses/1", "train"),
        Label(f"photos/000002848.jpg{BOX}", "item", "dresses/2", "train"),
        Label(f"photos/000008288.png{BOX}", "item", "dresses/3", "test", "query"),
        Label("photos/000008288.png#xywh=30,0,10,30", "item", "dresses/4", "test", "query"),
        Label("photos/000000011.jpg", "item", "dresses/1", "train"),
        Label("photos/000000012.jpg", "item", "dresses/2", "train"),
        Label("photos/000000013.jpg", "item", "dresses/3", "test", "gallery"),
        Label("photos/000000014.jpg", "item", "dresses/4", "test", "gallery"),
        Label("photos/000000015.jpg", "item", "dresses/9", "test", "gallery"),  # in no pair
        Label("photos/000002847.jpg#xywh=0,0,9,9", "item", "tops/1", "train"),
        Label(f"photos/000002900.jpeg{BOX}", "item", "tops/2", "test", "query"),
        Label("photos/000000021.jpg", "item", "tops/1", "train"),
        Label("photos/000000022.jpg", "item", "tops/2", "test", "gallery"),
    ]


def test_domains_groups_and_categories(tmp_path):
    labelled = read(tmp_path)
    items = items_of(labelled)
    assert {path for path, domain in labelled.domains.items() if domain == "street"} == {
        label.path for label in items if "#" in label.path
    }
    assert labelled.groups == {label.path: label.value for label in items}
    categories = {x.path: x.value for x in labelled.labels if x.attribute == "category"}
    assert categories == {label.path: label.value.partition("/")[0] for label in items}
    assert labelled.identity == "item"


def test_a_box_is_the_box_of_its_image(tmp_path):
    catalog = build(write(tmp_path), data_format="street2shop")
    paths = catalog.images["path"].to_pylist()
    boxes = {paths[x["image"]]: tuple(x.values())[1:] for x in catalog.boxes.to_pylist()}
    assert boxes["photos/000008288.png#xywh=30,0,10,30"] == (30, 0, 40, 30)
    assert {*boxes} == {path for path in paths if "#" in path}
    assert catalog.quarantine.num_rows == 0
    assert catalog.schema.attributes[catalog.schema.identity].num_items == 7


def test_photos_that_could_not_be_fetched_are_missing(tmp_path):
    photos = {photo: suffix for photo, suffix in PHOTOS.items() if photo not in {2848, 15}}
    catalog = build(write(tmp_path, photos=photos), data_format="street2shop")
    assert [tuple(row.values())[:2] for row in catalog.quarantine.to_pylist()] == [
        ("photos/000000015.jpg", "missing"),
        (f"photos/000002848.jpg{BOX}", "missing"),
    ]


@pytest.mark.parametrize(
    "box",
    [
        {"width": 5, "left": 1, "top": 1},
        {"height": 5},
        {},
        None,
        {**pair(1, 1)["bbox"], "width": 0},
    ],
)
def test_a_pair_without_width_or_height_is_counted(tmp_path, box):
    broken = {"photo": 8288, "product": 4916, "bbox": box}
    labelled = read(tmp_path, test_pairs_tops=[*LISTS["test_pairs_tops"], broken])
    assert labelled.left_out == {"pairs without the width or height of a box": 1}
    assert items_of(labelled) == items_of(read(tmp_path / "whole"))


def test_a_box_that_begins_outside_the_photo_is_clipped(tmp_path):
    labelled = read(tmp_path, test_pairs_tops=[pair(2900, 2, left=-4, top=-1.5)])
    assert "photos/000002900.jpeg#xywh=0,0,16,28.5" in labelled.groups


def test_a_place_of_two_products_is_in_conflict(tmp_path):
    write(tmp_path, test_pairs_tops=[pair(2900, 2), pair(2900, 3)])
    labelled = read_labels(tmp_path, data_format="street2shop")
    path = f"photos/000002900.jpeg{BOX}"
    assert labelled.unusable == [(path, "conflicting_values", "item: tops/2, tops/3")]
    assert path not in {label.path for label in items_of(labelled)}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"test_pairs_tops": {"photo": 1}}, r"test_pairs_tops\.json is no list"),
        (
            {"retrieval_tops": [shop(21, 1), [22, 2]]},
            r"retrieval_tops\.json: entry 1, counted from",
        ),
        ({"retrieval_tops": [{"photo": 21}]}, "needs the numbers photo and product"),
        ({"train_pairs_tops": [{"photo": "21", "product": 1}]}, "needs the numbers photo and"),
    ],
)
def test_what_is_not_of_the_format_is_an_error(tmp_path, lists, message):
    with pytest.raises(HemlineError, match=message):
        read(tmp_path, **lists)


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(HemlineError, match=r"train_pairs_dresses\.json is missing: data\.format"):
        read_street2shop(tmp_path)
    write(tmp_path)
    path = tmp_path / "meta/json/retrieval_tops.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(HemlineError, match=r"retrieval_tops\.json"):
        read_street2shop(tmp_path)
    path.unlink()
    with pytest.raises(HemlineError, match=r"retrieval_tops\.json is missing"):
        read_street2shop(tmp_path)
