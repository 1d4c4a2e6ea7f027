"""What differs of all that attributes were learned from, between real catalogs of small tables."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from builders import png, write_files
from cataloguing import HEADER, build
from products import Products

from components import tables
from components.datasets.changes import changed_sources
from components.tables import Catalog

KNOWN = ("neck", "hem")
ROWS = [
    ("a.png", "neck", "v"),
    ("a.png", "hem", "short"),
    ("b.png", "neck", "round"),
    ("b.png", "hem", "long"),
    ("c.png", "hem", "short"),
]
FIT = [("a.png", "fit", "slim"), ("d.png", "fit", "loose"), ("e.png", "fit", "slim")]


@pytest.fixture
def before(tmp_path: Path) -> Catalog:
    return built(tmp_path, ROWS)


def built(root: Path, rows: list[tuple[str, ...]], previous: Catalog | None = None) -> Catalog:
    """Returns the catalog of rows, continued; an image's file is what its name says."""
    files = {row[0]: png(seed=ord(row[0][0])) for row in rows}
    labels = HEADER + "".join(f"{','.join(row)}\n" for row in rows)
    return build(write_files(root, {"labels.csv": labels, **files}), previous=previous)


@pytest.mark.parametrize("is_continued", [True, False])
def test_what_came_for_another_attribute_is_no_change(
    before: Catalog, tmp_path: Path, is_continued: bool
) -> None:
    """In a catalog that continues none it comes first: positions of the others are new."""
    after = built(tmp_path, [*FIT, *ROWS], before if is_continued else None)
    assert (after.schema.names[0] == "fit") != is_continued
    assert len(after.images) == 5
    assert changed_sources(before, after, KNOWN) == ()
    assert changed_sources(before, before, KNOWN) == ()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([*ROWS, ("d.png", "hem", "long")], ("1 image", "labels of 1 image")),
        ([*ROWS, *FIT, ("c.png", "neck", "v")], ("labels of 1 image",)),
        (ROWS[:4], ("1 image", "labels of 1 image")),
        ([*ROWS[:4], ("c.png", "hem", "long")], ("labels of 1 image",)),
        (
            [("a.png", "neck", "boat"), *ROWS[1:]],
            ("labels of 1 image",),
        ),
    ],
)
def test_labels_and_images_of_known_attributes_count(
    before: Catalog, tmp_path: Path, rows, found
) -> None:
    assert changed_sources(before, built(tmp_path, rows, before), KNOWN) == found


def test_values_count_by_their_names(before: Catalog, tmp_path: Path) -> None:
    """A catalog that continues none counts its values anew: the same number, another name."""
    rows = [(*row[:2], row[2].replace("v", "w")) for row in ROWS]
    after = built(tmp_path, rows)
    assert after.labels.equals(before.labels)
    assert changed_sources(before, after, KNOWN) == ("labels of 1 image",)


def test_an_image_that_is_another_now_is_found(before: Catalog, tmp_path: Path) -> None:
    write_files(tmp_path, {"b.png": png(seed=1)})
    after = build(tmp_path, previous=before)
    assert changed_sources(before, after, KNOWN) == ("1 image",)


def test_boxes_landmarks_and_published_triplets_count_for_images_that_do(
    before: Catalog, tmp_path: Path
) -> None:
    after = built(tmp_path, [*ROWS, *FIT], before)
    number = {row["path"]: row["image"] for row in after.images.to_pylist()}
    place = {name: place for place, name in enumerate(after.schema.names)}

    def with_places(path: str, attribute: str) -> Catalog:
        image = number[path]
        box = dict(zip(tables.BOXES.names, (image, 0.0, 0.0, 4.0, 4.0), strict=True))
        point = (image, 0, 1.0, 2.0, "visible")
        mark = dict(zip(tables.LANDMARKS.names, point, strict=True))
        triple = ("train", place[attribute], image, number["a.png"], number["b.png"])
        published = dict(zip(tables.PUBLISHED_TRIPLETS.names, triple, strict=True))
        return replace(
            after,
            boxes=pa.Table.from_pylist([box], schema=tables.BOXES),
            landmarks=pa.Table.from_pylist([mark], schema=tables.LANDMARKS),
            triplets=pa.Table.from_pylist([published], schema=tables.PUBLISHED_TRIPLETS),
        )

    assert changed_sources(before, with_places("d.png", "fit"), KNOWN) == ()
    assert changed_sources(before, with_places("c.png", "hem"), KNOWN) == (
        "boxes of 1 image",
        "landmarks of 1 image",
        "published triplets",
    )


def test_products_that_came_are_images_and_values(tmp_path: Path) -> None:
    before, after = (Products(number).catalog(tmp_path / str(number)) for number in (5, 6))
    found = changed_sources(before, after, ("neck", "hem", "item"))
    assert found == ("4 images", "labels of 4 images")
    assert changed_sources(before, before, ("neck", "hem", "item")) == ()
