"""The demo data set: files as FashionAI lays them out, and pictures that show their labels."""

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.datasets.fashionai import FASHIONAI_VALUES
from components.datasets.read import read_labels
from components.wardrobe.outfit import (
    HIDING,
    INVISIBLE,
    labelled_attribute,
    sample_outfit,
    visible_values,
)
from components.wardrobe.picture import Spec, draw_picture, sample_spec
from components.wardrobe.write import write_wardrobe

NUM_IMAGES = 48
SIZE_PX = 64
ATTRIBUTES = tuple(FASHIONAI_VALUES)


def write(out: Path, *, seed: int = 3, num_processes: int = 1, **changes) -> Path:
    arguments = {"num_images": NUM_IMAGES, "image_size_px": SIZE_PX, **changes}
    write_wardrobe(out, seed=seed, num_processes=num_processes, **arguments)
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def label_rows(root: Path) -> list[list[str]]:
    with (root / "Annotations" / "label.csv").open() as stream:
        return list(csv.reader(stream))


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "wardrobe")


@pytest.fixture(scope="module")
def fully_labelled(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "all", labels="all")


def specs_of(attribute: str, *, hidden: bool, count: int) -> list[Spec]:
    """The first pictures of seed 0 labelled for the attribute, with or without its value shown."""
    indices = (i for i in range(100_000) if labelled_attribute(0, i) == attribute)
    outfits = (
        (i, sample_outfit(np.random.default_rng([0, i, 0]), seed=0, index=i)) for i in indices
    )
    wanted = (i for i, outfit in outfits if (outfit.hiding is not None) == hidden)
    return [sample_spec(0, next(wanted)) for _ in range(count)]


def with_value(spec: Spec, value: str) -> Spec:
    """The same picture with another value of its labelled attribute, all else equal."""
    shapes = {**spec.outfit.shapes, spec.outfit.labelled: value}
    return replace(spec, outfit=replace(spec.outfit, shapes=shapes))


def test_same_seed_gives_same_bytes_for_any_number_of_processes(wardrobe, tmp_path):
    assert contents(write(tmp_path / "other", num_processes=2)) == contents(wardrobe)


@pytest.mark.parametrize(
    ("folder", "digest"),
    [
        ("wardrobe", "2cc1474970428bc8277b6b14c9ced68e584e08c2e76ab9522ad7be64e3bb37bd"),
        ("fully_labelled", "da4ba363ee8fb5496bf3fd779989d86b7df6f31fd5f3f1699a7c114eebe51c8d"),
    ],
)
def test_the_wardrobe_has_the_bytes_that_it_had_before_there_were_products(request, folder, digest):
    found = hashlib.sha256()
    for path, content in sorted(contents(request.getfixturevalue(folder)).items()):
        found.update(path.encode() + content)
    assert found.hexdigest() == digest


def test_image_does_not_depend_on_how_many_there_are(wardrobe, tmp_path):
    few = contents(write(tmp_path / "few", num_images=9))
    images = {path for path in few if path.endswith(".jpg")}
    assert len(images) == 9
    assert all(few[path] == contents(wardrobe)[path] for path in images)


def test_other_seed_gives_other_images(wardrobe, tmp_path):
    other = contents(write(tmp_path / "other", seed=4))
    assert not set(other.values()) & set(contents(wardrobe).values())


def test_labels_read_as_fashionai_writes_them(wardrobe):
    rows = label_rows(wardrobe)
    assert len(rows) == NUM_IMAGES
    for path, folder, positions in rows:
        images, path_folder, name = path.split("/")
        attribute = folder.removesuffix("_labels")
        assert (images, path_folder) == ("Images", folder)
        assert len(name) == 36
        assert set(name.removesuffix(".jpg")) <= set("0123456789abcdef")
        assert len(positions) == len(FASHIONAI_VALUES[attribute])
        assert sorted(positions) == ["n"] * (len(positions) - 1) + ["y"]
        assert (wardrobe / path).is_file()


def test_folder_holds_nothing_but_images_labels_and_truth(wardrobe):
    listed = {path for path, _, _ in label_rows(wardrobe)}
    assert set(contents(wardrobe)) == listed | {"Annotations/label.csv", "truth.parquet"}


def test_the_drawn_data_set_names_itself_and_is_not_called_fashionai(wardrobe):
    assert read_labels(wardrobe, data_format="fashionai").dataset == "wardrobe"
    # beside other parts of a challenge, one or two folders down
    assert read_labels(wardrobe.parent, data_format="fashionai").dataset == "wardrobe"


def test_a_truth_without_a_name_is_of_fashionai(wardrobe, tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/label.csv").write_bytes(
        (wardrobe / "Annotations/label.csv").read_bytes()
    )
    assert read_labels(tmp_path, data_format="fashionai").dataset == "FashionAI"
    truth = pq.read_table(wardrobe / "truth.parquet").replace_schema_metadata(None)
    pq.write_table(truth, tmp_path / "truth.parquet")
    assert read_labels(tmp_path, data_format="fashionai").dataset == "FashionAI"


def test_attributes_are_labelled_equally_often(wardrobe):
    counts = Counter(folder for _, folder, _ in label_rows(wardrobe))
    assert counts == {f"{attribute}_labels": NUM_IMAGES // 8 for attribute in ATTRIBUTES}


def test_every_value_is_common_among_4000_images():
    counts = Counter()
    for index in range(4000):
        outfit = sample_outfit(np.random.default_rng([0, index, 0]), seed=0, index=index)
        counts[outfit.labelled, outfit.label] += 1
    for attribute, values in FASHIONAI_VALUES.items():
        assert min(counts[attribute, value] for value in values) >= 25, attribute


def test_truth_agrees_with_labels(wardrobe):
    truth = {
        row["path"]: row
        for row in pq.read_table(wardrobe / "truth.parquet").to_pylist()
        if row["labelled"]
    }
    assert len(truth) == NUM_IMAGES
    for path, folder, positions in label_rows(wardrobe):
        attribute = folder.removesuffix("_labels")
        assert truth[path]["attribute"] == attribute
        assert truth[path]["value"] == FASHIONAI_VALUES[attribute][positions.index("y")]


def test_truth_has_a_row_per_image_and_attribute(wardrobe):
    rows = pq.read_table(wardrobe / "truth.parquet").to_pylist()
    pairs = {(row["path"], row["attribute"]) for row in rows}
    assert len(pairs) == len(rows) == NUM_IMAGES * len(ATTRIBUTES)
    assert all(row["value"] in (None, *FASHIONAI_VALUES[row["attribute"]]) for row in rows)


def test_boxes_lie_inside_the_picture_where_a_value_shows(wardrobe):
    rows = pq.read_table(wardrobe / "truth.parquet").to_pylist()
    assert any(row["value"] == INVISIBLE for row in rows)
    for row in rows:
        edges = [row[name] for name in ("x0", "y0", "x1", "y1")]
        if row["value"] in (None, INVISIBLE):
            assert edges == [None] * 4
        else:
            x0, y0, x1, y1 = edges
            assert 0 <= x0 < x1 <= SIZE_PX
            assert 0 <= y0 < y1 <= SIZE_PX


def test_label_is_what_the_picture_shows():
    # The label is drawn first, the truth is measured on the canvas: framing and occluders
    # must never push a labelled region out of sight.
    for index in range(160):
        spec = sample_spec(1, index)
        _, truths = draw_picture(spec, SIZE_PX)
        assert truths[spec.outfit.labelled].value == spec.outfit.label


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_value_changes_the_picture_at_its_box_and_nowhere_else(attribute):
    size_px = 128
    for spec in specs_of(attribute, hidden=False, count=4):
        values = visible_values(attribute)
        here = values.index(str(spec.outfit.label))
        other = with_value(spec, values[here - 1] if here else values[1])
        (image, truths), (changed, other_truths) = (draw_picture(s, size_px) for s in (spec, other))
        difference = np.abs(np.asarray(image, np.float32) - np.asarray(changed, np.float32))
        boxes = np.array([truths[attribute].box, other_truths[attribute].box])
        # A garment's length also changes what lies between the two hems.
        x0, y0 = np.floor(boxes[:, :2].min(axis=0)).astype(int) - 8
        x1, y1 = np.ceil(boxes[:, 2:].max(axis=0)).astype(int) + 8
        inside = np.zeros((size_px, size_px), dtype=bool)
        inside[max(0, y0) : y1, max(0, x0) : x1] = True
        assert difference[inside].mean() > 1.0
        assert difference[inside].mean() > 10 * difference[~inside].mean()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_invisible_pictures_give_no_hint_of_the_hidden_shape(attribute):
    for spec in specs_of(attribute, hidden=True, count=6):
        pictures = [
            np.asarray(draw_picture(with_value(spec, value), 96)[0], dtype=np.float32)
            for value in visible_values(attribute)
        ]
        changed = np.ptp(np.stack(pictures), axis=0).max(axis=-1) > 8.0
        # Seams may show beside a cover: at most 1.05 % of the pixels in 190 such pictures.
        assert changed.mean() < 0.015, spec.outfit.hiding


def test_every_way_of_hiding_is_drawn():
    for attribute, ways in HIDING.items():
        drawn = {spec.outfit.hiding for spec in specs_of(attribute, hidden=True, count=24)}
        assert drawn == set(ways)


def test_outfit_refuses_a_value_that_cannot_be_drawn():
    (spec,) = specs_of("pant_length", hidden=False, count=1)
    with pytest.raises(ValueError, match="pant_length='floor'; allowed: "):
        with_value(spec, "floor")


@pytest.mark.parametrize(
    ("argument", "value", "minimum"),
    [("num_images", 0, 1), ("image_size_px", 63, 64), ("seed", -1, 0), ("num_processes", 0, 1)],
)
def test_refuses_arguments_out_of_range(tmp_path, argument, value, minimum):
    with pytest.raises(ValueError, match=f"{argument} is {value}; it must be at least {minimum}"):
        write(tmp_path / "out", **{argument: value})


def test_refuses_to_replace_what_is_not_a_wardrobe(tmp_path):
    (tmp_path / "thesis.txt").write_text("four years of work")
    with pytest.raises(ValueError, match="does not hold a wardrobe"):
        write(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"four years of work"}


def test_replaces_a_wardrobe_and_fills_an_empty_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write(out, num_images=2)
    write(out, num_images=3)
    assert len(label_rows(out)) == 3
    assert len(list(out.glob("Images/*/*.jpg"))) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interruption_leaves_the_old_wardrobe_alone(tmp_path):
    out = write(tmp_path / "out", num_images=2)
    before = contents(out)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(out, num_images=3, on_progress=interrupt)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_progress_adds_up_to_the_number_of_images(tmp_path):
    finished = []
    write(tmp_path / "out", num_images=70, on_progress=finished.append)
    assert sum(finished) == 70
    assert len(finished) > 1


def test_all_labels_are_of_the_same_pictures_byte_for_byte(wardrobe, fully_labelled):
    ones, alls = (
        {path.name: path.read_bytes() for path in root.rglob("*.jpg")}
        for root in (wardrobe, fully_labelled)
    )
    assert len(ones) == NUM_IMAGES
    assert alls == ones


def test_all_labels_are_those_of_the_drawing(fully_labelled):
    """Every value that shows, and neither what the outfit lacks nor what is out of sight."""
    expected, hidden = set(), 0
    for index in range(NUM_IMAGES):
        name = hashlib.md5(f"3/{index}".encode()).hexdigest()
        _, truths = draw_picture(sample_spec(3, index), SIZE_PX)
        shown = {attribute: truth.value for attribute, truth in truths.items() if truth.box}
        expected |= {(f"images/{name}.jpg", *label) for label in shown.items()}
        hidden += sum(truth.value == INVISIBLE for truth in truths.values())
    labels = read_labels(fully_labelled, data_format="table").labels
    assert {(label.path, label.attribute, label.value) for label in labels} == expected
    assert hidden
    assert max(Counter(label.path for label in labels).values()) >= 3


def test_the_folder_of_all_labels_holds_nothing_but_images_labels_and_truth(fully_labelled):
    names = {path for path in contents(fully_labelled) if not path.startswith("images/")}
    assert names == {"labels.csv", "truth.parquet"}
    truth = pq.read_table(fully_labelled / "truth.parquet").to_pylist()
    labels = read_labels(fully_labelled, data_format="table").labels
    assert sum(row["labelled"] for row in truth) == len(labels)
    assert all(row["value"] != INVISIBLE for row in truth if row["labelled"])


def test_one_layout_replaces_the_other(tmp_path):
    out = write(tmp_path / "out", num_images=2, labels="all")
    write(out, num_images=2)
    assert not (out / "labels.csv").exists()
    write(out, num_images=2, labels="all")
    assert not (out / "Annotations").exists()


def test_the_truths_boxes_become_regions(tmp_path):
    """Also where wardrobes lie side by side; what has no box has no region."""
    for part in ("one", "two"):
        write(tmp_path / part)
    regions = read_labels(tmp_path, data_format="fashionai").regions
    rows = pq.read_table(tmp_path / "one/truth.parquet").to_pylist()
    with_box = [row for row in rows if row["x0"] is not None]
    assert 0 < len(with_box) < len(rows)
    assert len(regions) == 2 * len(with_box)
    assert set(regions) == {
        (f"{part}/{row['path']}", row["attribute"], *(row[x] for x in ("x0", "y0", "x1", "y1")))
        for part in ("one", "two")
        for row in with_box
    }
