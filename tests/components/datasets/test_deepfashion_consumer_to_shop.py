"""DeepFashion's Consumer-to-shop benchmark, in a small copy of its layout."""

import pytest
from builders import encoded, noise, write_files
from cataloguing import build

from components.datasets.deepfashion_consumer_to_shop import read_deepfashion_consumer_to_shop
from components.datasets.labelled import Box, Label
from components.datasets.read import read_labels
from components.errors import HemlineError

PARTITION = "Eval/list_eval_partition.txt"
CLOTH, ITEMS = "Anno/list_attr_cloth.txt", "Anno/list_attr_items.txt"
FOLDERS = {"1": "img/TOPS/T_Shirt/id_00000001", "2": "img/DRESSES/Lace_Dress/id_00000002"}
FOLDERS |= {"3": "img/TOPS/T_Shirt/id_00000003", "4": "img/DRESSES/Lace_Dress/id_00000004"}


def consumer(item, number):
    return f"{FOLDERS[item]}/comsumer_0{number}.jpg"


def shop(item, number):
    return f"{FOLDERS[item]}/shop_0{number}.jpg"


PAIRS = [  # a shop's image in several pairs, a consumer's in two
    (consumer("1", 1), shop("1", 2), "id_00000001", "train"),
    (consumer("1", 2), shop("1", 2), "id_00000001", "train"),
    (consumer("2", 1), shop("2", 1), "id_00000002", "val"),
    (consumer("3", 1), shop("3", 1), "id_00000003", "test"),
    (consumer("3", 1), shop("3", 2), "id_00000003", "test"),
    (consumer("4", 1), shop("4", 1), "id_00000004", "test"),
]


def listed(header, *rows):
    lines = ["   ".join(map(str, row)) + "      " for row in rows]
    return "\n".join([str(len(rows)), header, *lines]) + "\n"


def windows(text):
    """Returns a file as the attributes' are: behind a byte order mark, with CRLF."""
    return "\ufeff" + text.replace("\n", "\r\n")


FILES = {
    PARTITION: listed("image_pair_name_1 image_pair_name_2 item_id evaluation_status", *PAIRS),
    "Anno/list_bbox_consumer2shop.txt": listed(
        "image_name clothes_type source_type x_1 y_1 x_2 y_2",
        (consumer("1", 1), 1, 2, 10, 20, 200, 290),
        (shop("2", 1), 3, 1, 0, 0, 300, 301),
    ),
    "Anno/list_attr_type.txt": windows(
        "3\nattribute_type_cn  attribute_type\n"
        "衣长    length of upper-body clothes\n面料    fabric\n颜色    colour\n"
    ),
    CLOTH: windows(
        "5\nattribute_name_cn  attribute_name  attribute_type\n"
        "常规款\uff0851-65cm\uff09    Regular length (51-65cm)    1\n"
        "短款    Short length    1 \n蕾丝    Lace    2\n棉  Cotton   2\n红  Red\t3\n"
    ),
    ITEMS: listed(
        "item_id attribute_labels",
        ("id_00000001", 1, -1, 0, 1, 1),
        ("id_00000003", -1, 1, 1, 1, 0),
        ("id_00000004", 0, 0, 0, 0, 0),
    ),
}


def read(root, *, shop_gallery="valid_and_test", **files):
    write_files(root, {**FILES, **files})
    return read_deepfashion_consumer_to_shop(root, shop_gallery=shop_gallery)


def labels_of(labelled, attribute):
    return [label for label in labelled.labels if label.attribute == attribute]


def test_consumers_ask_and_shops_answer(tmp_path):
    labelled = read(tmp_path)
    assert labels_of(labelled, "item") == [
        Label(consumer("1", 1), "item", "id_00000001", "train"),
        Label(shop("1", 2), "item", "id_00000001", "train"),
        Label(consumer("1", 2), "item", "id_00000001", "train"),
        Label(consumer("2", 1), "item", "id_00000002", "valid", "query"),
        Label(shop("2", 1), "item", "id_00000002", "valid", "gallery"),
        Label(shop("2", 1), "item", "id_00000002", "test", "gallery"),
        Label(consumer("3", 1), "item", "id_00000003", "test", "query"),
        Label(shop("3", 1), "item", "id_00000003", "test", "gallery"),
        Label(shop("3", 2), "item", "id_00000003", "test", "gallery"),
        Label(consumer("4", 1), "item", "id_00000004", "test", "query"),
        Label(shop("4", 1), "item", "id_00000004", "test", "gallery"),
    ]
    assert labelled.domains[consumer("3", 1)] == "street"
    assert labelled.domains[shop("3", 2)] == "shop"
    assert labelled.groups[shop("3", 2)] == "id_00000003"


@pytest.mark.parametrize(("shop_gallery", "number"), [("test", 3), ("valid_and_test", 4)])
def test_the_gallery_is_chosen_and_counted(tmp_path, shop_gallery, number):
    write_files(tmp_path, FILES)
    labelled = read_labels(
        tmp_path, data_format="deepfashion_consumer_to_shop", shop_gallery=shop_gallery
    )
    what = f"shop images that answer test (data.shop_gallery {shop_gallery})"
    assert labelled.counted == {what: number}
    answering = {label.path for label in labelled.labels if label[3:] == ("test", "gallery")}
    assert (shop("2", 1) in answering) == (shop_gallery == "valid_and_test")
    assert len(answering) == number


def test_types_are_attributes_and_each_1_of_an_item_is_a_value_of_its_images(tmp_path):
    labelled = read(tmp_path)
    length = labels_of(labelled, "length of upper-body clothes")
    assert [(x.path, x.value, x.split, x.role) for x in length] == [
        (consumer("1", 1), "Regular length (51-65cm)", "train", None),
        (shop("1", 2), "Regular length (51-65cm)", "train", None),
        (consumer("1", 2), "Regular length (51-65cm)", "train", None),
        (consumer("3", 1), "Short length", "test", None),
        (shop("3", 1), "Short length", "test", None),
        (shop("3", 2), "Short length", "test", None),
    ]
    fabric = [x.value for x in labels_of(labelled, "fabric") if x.path == shop("3", 1)]
    assert fabric == ["Lace", "Cotton"]
    assert not [x for x in labelled.labels if "id_00000004" in x.path and x.value == "Red"]
    assert labelled.values_of == {
        "clothes_type": ("upper_body", "lower_body", "full_body"),
        "length of upper-body clothes": ["Regular length (51-65cm)", "Short length"],
        "fabric": ["Lace", "Cotton"],
        "colour": ["Red"],
    }


def test_categories_boxes_and_clothes_types(tmp_path):
    labelled = read(tmp_path)
    assert {x.value for x in labels_of(labelled, "category")} == {
        "TOPS/T_Shirt",
        "DRESSES/Lace_Dress",
    }
    assert [(x.path, x.value) for x in labels_of(labelled, "clothes_type")] == [
        (consumer("1", 1), "upper_body"),
        (shop("2", 1), "full_body"),
    ]
    assert labelled.boxes[0] == Box(consumer("1", 1), 10, 20, 200, 290)


def test_a_pair_of_a_missing_photo_costs_that_photo(tmp_path):
    write_files(tmp_path, FILES)
    paths = dict.fromkeys(path for pair in PAIRS for path in pair[:2])
    del paths[consumer("4", 1)]
    write_files(tmp_path, {path: encoded(noise(30, 20, seed=n)) for n, path in enumerate(paths)})
    catalog = build(tmp_path, data_format="deepfashion_consumer_to_shop", exclude=["colour"])
    unusable = [tuple(row.values())[:2] for row in catalog.quarantine.to_pylist()]
    assert unusable == [(consumer("4", 1), "missing")]
    assert catalog.images.num_rows == len(paths)
    assert catalog.schema.attributes[catalog.schema.identity].num_items == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({PARTITION: FILES[PARTITION].replace("   val", "")}, "line 5: expected a consumer's"),
        ({PARTITION: FILES[PARTITION].replace("val", "valid")}, "one of train, val, test"),
        (
            {PARTITION: FILES[PARTITION].replace("id_00000003   test", "id_00000004   test", 1)},
            r"line 7: .*shows id_00000003 in test query, and above id_00000004 in test query",
        ),
        (
            {PARTITION: FILES[PARTITION].replace("id_00000003   test", "id_00000003   val", 1)},
            r"line 7: .* in test query, and above id_00000003 in valid query",
        ),
        ({CLOTH: FILES[CLOTH].replace("Lace    2", "Lace 2")}, "cloth.txt line 5: expected the"),
        ({CLOTH: FILES[CLOTH].replace("Lace    2", "Lace    4")}, "its type, 1 to 3"),
        ({CLOTH: FILES[CLOTH].replace("5", "6", 1)}, "counts 6 rows, but 5 follow"),
        ({ITEMS: FILES[ITEMS].replace("-1", "-2", 1)}, "'-2' is none of 1"),
        ({ITEMS: FILES[ITEMS].replace("-1   0", "-1", 1)}, "items.txt line 3: expected 5 numbers"),
    ],
)
def test_what_is_not_of_the_format_is_an_error(tmp_path, files, message):
    with pytest.raises(HemlineError, match=message):
        read(tmp_path, **files)


def test_items_without_the_names_of_their_attributes_are_an_error(tmp_path):
    write_files(tmp_path, FILES)
    (tmp_path / CLOTH).unlink()
    with pytest.raises(HemlineError, match=r"list_attr_cloth\.txt is missing"):
        read_deepfashion_consumer_to_shop(tmp_path)
