"""DeepFashion's In-shop benchmark, in a small copy of its layout."""

import pytest
from builders import encoded, noise, write_files
from cataloguing import build

from components import tables
from components.datasets.deepfashion_inshop import read_deepfashion_inshop
from components.datasets.labelled import Box, Label, Landmark
from components.errors import HemlineError

PARTITION = "Eval/list_eval_partition.txt"
BOXES, LANDMARKS = "Anno/list_bbox_inshop.txt", "Anno/list_landmarks_inshop.txt"
DRESS, OTHER_DRESS = (
    "img/WOMEN/Dresses/id_00000008/0{}.jpg",
    "img/WOMEN/Dresses/id_00000009/0{}.jpg",
)
PANTS, SHIRT = "img/MEN/Pants/id_00000002/0{}.jpg", "img/MEN/Shirts_Polos/id_00000003/0{}.jpg"
ROWS = [  # sorted neither by item nor by status
    (DRESS.format("2_7_additional"), "id_00000008", "gallery"),
    (PANTS.format("1_1_front"), "id_00000002", "train"),
    (DRESS.format("2_1_front"), "id_00000008", "query"),
    (SHIRT.format("1_1_front"), "id_00000003", "train"),
    (PANTS.format("1_2_side"), "id_00000002", "train"),
    (OTHER_DRESS.format("1_4_full"), "id_00000009", "query"),
    (OTHER_DRESS.format("1_3_back"), "id_00000009", "gallery"),
    (SHIRT.format("1_2_side"), "id_00000003", "train"),
]


def listed(header, *rows):
    """Returns a file in the benchmark's way: the number of rows, names of columns, padded cells."""
    lines = ["".join(f"{cell!s:12}  " for cell in row) for row in rows]
    return "\n".join([str(len(rows)), header, *lines]) + "\n"


FILES = {
    PARTITION: listed("image_name  item_id  evaluation_status", *ROWS),
    BOXES: listed(
        "image_name clothes_type pose_type x_1 y_1 x_2 y_2",
        (ROWS[0][0], 3, 1, "050", 49, 208, 235),
        (ROWS[1][0], 2, 1, 0, 0, 300, 100),
        (ROWS[2][0], 3, 6, 10, 10, 10, 50),
        ("img/WOMEN/Skirts/id_00000077/01_1_front.jpg", 2, 1, 1, 2, 3, 4),
    ),
    LANDMARKS: listed(
        "image_name clothes_type variation_type landmark_visibility_1 landmark_location_x_1",
        (ROWS[0][0], 3, 0, *[0, "095", "009"] * 6, 1, 7, 8, 2, 0, 0),
        (ROWS[1][0], 2, 1, *[0, 1, 2] * 3, 0, 999, 5),
        (ROWS[3][0], 1, 5, *[0, 3, 4] * 5, 1, 5, 6),
    ),
    "Anno/list_item_inshop.txt": "4\nid_00000002\nid_00000003\nid_00000008\nid_00000009\n",
    "Anno/attributes/list_attr_cloth.txt": "3\nattribute_name\nlong sleeve\nred  \nlace\n",
    "Anno/attributes/list_attr_items.txt": listed(
        "item_id attribute_labels",
        ("id_00000008", -1, 1, 1),
        ("id_00000009", 1, 0, -1),
        ("id_00000002", 0, 0, 0),
        ("id_00000077", 1, 1, 1),
    ),
}


def read(root, **files):
    return read_deepfashion_inshop(write_files(root, {**FILES, **files}))


def labels_of(labelled, attribute):
    return [label for label in labelled.labels if label.attribute == attribute]


def test_status_says_split_and_role_of_items(tmp_path):
    labelled = read(tmp_path)
    use_of = {"train": ("train", None), "query": ("test", "query"), "gallery": ("test", "gallery")}
    assert labels_of(labelled, "item") == [
        Label(image, "item", item, *use_of[status]) for image, item, status in ROWS
    ]
    assert labelled.identity == "item"
    assert labelled.groups == {image: item for image, item, _ in ROWS}
    assert {*labelled.domains.values()} == {"shop"}


def test_other_attributes_have_the_split_and_no_role(tmp_path):
    labelled = read(tmp_path)
    assert labels_of(labelled, "category")[:2] == [
        Label(ROWS[0][0], "category", "WOMEN/Dresses", "test"),
        Label(ROWS[1][0], "category", "MEN/Pants", "train"),
    ]
    assert [(x.path, x.value) for x in labels_of(labelled, "clothes_type")] == [
        (ROWS[0][0], "full_body"),
        (ROWS[1][0], "lower_body"),
        (ROWS[2][0], "full_body"),
        (ROWS[3][0], "upper_body"),  # its landmarks say it
    ]
    assert labels_of(labelled, "attribute") == [
        *(Label(ROWS[0][0], "attribute", value, "test") for value in ("red", "lace")),
        *(Label(ROWS[2][0], "attribute", value, "test") for value in ("red", "lace")),
        Label(ROWS[5][0], "attribute", "long sleeve", "test"),
        Label(ROWS[6][0], "attribute", "long sleeve", "test"),
    ]
    assert labelled.values_of["attribute"] == ["long sleeve", "red", "lace"]


def test_boxes_and_landmarks_are_those_of_the_files(tmp_path):
    labelled = read(tmp_path)
    assert labelled.boxes[0] == Box(ROWS[0][0], 50, 49, 208, 235)
    full, lower, upper = (
        [x for x in labelled.landmarks if x.path == ROWS[row][0]] for row in (0, 1, 3)
    )
    assert [x.name for x in full] == [
        *("left collar", "right collar", "left sleeve", "right sleeve"),
        *("left waistline", "right waistline", "left hem", "right hem"),
    ]
    assert full[0] == Landmark(ROWS[0][0], "left collar", 95, 9, "visible")
    assert [x.visibility for x in full[-2:]] == ["occluded", "absent"]
    assert [x.name for x in lower] == [x.name for x in full[4:]]
    assert [x.name for x in upper] == [x.name for x in full[:4] + full[6:]]
    assert labelled.left_out == {"images without a box": 5, "boxes of images in no partition": 1}


def test_the_catalog_clips_boxes_and_takes_landmarks_outside_for_absent(tmp_path):
    write_files(tmp_path, FILES)
    write_files(
        tmp_path, {path: encoded(noise(256, 256, seed=n)) for n, (path, *_) in enumerate(ROWS)}
    )
    catalog = build(tmp_path, data_format="deepfashion_inshop")
    boxes = catalog.boxes.to_pylist()
    assert [tuple(box.values())[1:] for box in boxes] == [(50, 49, 208, 235), (0, 0, 256, 100)]
    assert catalog.left_out["boxes without an area in their picture"] == 1
    assert catalog.left_out["landmarks outside their picture"] == 1
    items = tables.item_names(catalog.images, catalog.labels, catalog.schema)
    assert {*items.values()} == {item for _, item, _ in ROWS}
    assert len(catalog.schema.landmarks) == 8


def test_only_the_partition_is_needed(tmp_path):
    labelled = read_deepfashion_inshop(write_files(tmp_path, {PARTITION: FILES[PARTITION]}))
    assert {label.attribute for label in labelled.labels} == {"item", "category"}
    assert (labelled.boxes, labelled.landmarks) == ([], [])


def test_images_may_lie_one_folder_down(tmp_path):
    (tmp_path / "Img/img").mkdir(parents=True)
    labelled = read(tmp_path)
    assert labelled.labels[0].path == f"Img/{ROWS[0][0]}"
    assert labels_of(labelled, "category")[0].value == "WOMEN/Dresses"
    assert labelled.boxes[0].path == labelled.landmarks[0].path == f"Img/{ROWS[0][0]}"


@pytest.mark.parametrize(
    "written",
    [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text],
    ids=["CRLF", "BOM"],
)
def test_ways_to_write_the_same_files(tmp_path, written):
    expected = read(tmp_path / "as they are")
    files = {name: written(content) for name, content in FILES.items()}
    assert read_deepfashion_inshop(write_files(tmp_path / "written", files)).labels == (
        expected.labels
    )


def changed(name, old, new):
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({PARTITION: FILES[PARTITION].replace("8\n", "9\n", 1)}, "counts 9 rows, but 8 follow"),
        (
            changed(PARTITION, "gallery", "galery"),
            r"partition.txt line 3: .* train, query, gallery",
        ),
        (changed(PARTITION, ".jpg  id_00000002", ".jpg  "), "line 4: expected an image, its item"),
        (
            changed(PARTITION, DRESS.format("2_1_front"), DRESS.format("2_7_additional")),
            r"line 5: img/WOMEN/.* shows id_00000008 in test query, and above id_00000008 in test",
        ),
        (changed(BOXES, "050", "fifty"), "bbox_inshop.txt line 3: expected left, top, right"),
        (changed(BOXES, "208", "   "), "line 3: expected left, top, right and bottom of a box, 4"),
        (changed(BOXES, "3             1", "4             1"), "type of its clothes"),
        (changed(LANDMARKS, "999", "   "), "line 4: expected visibility, x and y of 4 landmarks"),
        (changed(LANDMARKS, "2             0             0", "3  0  0"), "'3' is none of 0, 1 and"),
        (
            changed("Anno/attributes/list_attr_items.txt", "-1  ", ""),
            "items.txt line 3: expected 3 numbers",
        ),
    ],
)
def test_what_is_not_of_the_format_is_an_error(tmp_path, files, message):
    with pytest.raises(HemlineError, match=message):
        read(tmp_path, **files)


def test_a_row_that_stands_twice_is_one_image(tmp_path):
    files = changed(PARTITION, PANTS.format("1_2_side"), PANTS.format("1_1_front"))
    assert len(labels_of(read(tmp_path, **files), "item")) == 7


def test_without_a_partition_it_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"list_eval_partition\.txt is missing"):
        read_deepfashion_inshop(tmp_path)
