"""Photographs of products: what stays, what varies, and where box and landmarks lie."""

import csv
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.wardrobe.camera import Camera
from components.wardrobe.cloth import PRINTS
from components.wardrobe.curves import box
from components.wardrobe.design import CATEGORIES, COLOURS
from components.wardrobe.outfit import visible_values
from components.wardrobe.paint import plain
from components.wardrobe.photo import PhotoSpec, sample_photo
from components.wardrobe.product import sample_product
from components.wardrobe.take_photo import LANDMARKS, Photo, take_photo
from components.wardrobe.tracing import TracingCanvas
from components.wardrobe.write_products import LABELLED, write_products

SIZE_PX = 128
NUM_ITEMS, PHOTOS_PER_ITEM = 9, 3
ENDS_OF = {
    "top": {"collar", "sleeve", "hem"},
    "coat": {"collar", "sleeve", "hem"},
    "dress": {"collar", "sleeve", "waistline", "hem"},
    "skirt": {"waistline", "hem"},
    "trousers": {"waistline", "hem"},
}


def write(out: Path, *, num_processes: int = 1, **changes) -> Path:
    arguments = {
        "num_items": NUM_ITEMS,
        "photos_per_item": PHOTOS_PER_ITEM,
        "image_size_px": 64,
        "seed": 3,
        **changes,
    }
    write_products(out, num_processes=num_processes, **arguments)
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "labels.csv").open() as stream:
        return list(csv.DictReader(stream))


def specs(count: int, *, shots: tuple[int, ...] = (0, 1)) -> list[PhotoSpec]:
    return [
        sample_photo(sample_product(0, item), seed=0, item=item, shot=shot)
        for item in range(count)
        for shot in shots
    ]


def side_and_end(name: str) -> tuple[str, str]:
    side, end = name.split()
    return side, end


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "products")


@pytest.fixture(scope="module")
def photos() -> list[tuple[PhotoSpec, Photo]]:
    return [(spec, take_photo(spec, SIZE_PX)) for spec in specs(40)]


def test_same_seed_gives_same_bytes_for_any_number_of_processes(products, tmp_path):
    assert contents(write(tmp_path / "other", num_processes=2)) == contents(products)


def test_a_photo_depends_on_neither_number(products, tmp_path):
    few = contents(write(tmp_path / "few", num_items=4, photos_per_item=2))
    images = {path for path in few if path.endswith(".jpg")}
    assert len(images) == 8
    assert all(few[path] == contents(products)[path] for path in images)


def test_other_seed_gives_other_images(products, tmp_path):
    other = contents(write(tmp_path / "other", seed=4, num_items=2))
    assert not set(other.values()) & set(contents(products).values())


def test_folder_holds_nothing_but_images_table_and_truth(products):
    listed = {f"images/{row['image']}" for row in rows_of(products)}
    assert len(listed) == NUM_ITEMS * PHOTOS_PER_ITEM
    assert set(contents(products)) == listed | {"labels.csv", "truth.parquet"}


def test_every_item_is_photographed_in_shop_and_street(products):
    domains = defaultdict(Counter)
    for row in rows_of(products):
        domains[row["item"]][row["domain"]] += 1
    assert len(domains) == NUM_ITEMS
    assert all(count == {"shop": 2, "street": 1} for count in domains.values())


def test_all_photos_of_an_item_have_its_labels(products):
    said = defaultdict(set)
    for row in rows_of(products):
        said[row["item"]].add(tuple(row[name] for name in LABELLED))
    assert all(len(labels) == 1 for labels in said.values())
    expected = sample_product(3, 5).labels
    (labels,) = said["product_00005"]
    assert dict(zip(LABELLED, labels, strict=True)) == dict.fromkeys(LABELLED, "") | expected


def test_cells_of_what_there_is_not_are_empty(products):
    seen = set()
    for row in rows_of(products):
        left, top, right, bottom = (
            float(row[f"box_{edge}"]) for edge in ("left", "top", "right", "bottom")
        )
        assert 0 <= left < right <= 64
        assert 0 <= top < bottom <= 64
        for name in LANDMARKS:
            cells = f"landmark_{name.replace(' ', '_')}"
            visibility, x, y = (row[f"{cells}_{part}"] for part in ("visibility", "x", "y"))
            seen.add(visibility)
            if visibility == "absent":
                assert x == y == ""
            else:
                assert 0 <= float(x) <= 64
                assert 0 <= float(y) <= 64
    assert seen == {"visible", "occluded", "absent"}


def test_truth_has_a_row_per_image_and_shape_of_the_garment(products):
    truth = pq.read_table(products / "truth.parquet").to_pylist()
    expected = {
        (f"images/{row['image']}", attribute)
        for row in rows_of(products)
        for attribute in sample_product(3, int(row["item"].removeprefix("product_"))).shapes
    }
    assert len(truth) == len(expected)
    assert {(row["path"], row["attribute"]) for row in truth} == expected
    assert all((row["value"] == "invisible") == (row["x0"] is None) for row in truth)


def test_a_product_is_the_same_whenever_it_is_sampled_and_no_other_is():
    sampled = [sample_product(0, item) for item in range(200)]
    assert sampled == [sample_product(0, item) for item in range(200)]
    assert len({repr(product) for product in sampled}) == 200
    assert sample_product(1, 0) != sampled[0]


def test_products_of_the_same_labels_look_different():
    """In the same photograph otherwise: another print, place of a detail or cut shows."""
    like = defaultdict(list)
    for item in range(300):
        product = sample_product(0, item)
        like[tuple(product.labels.items())].append(product)
    twins = [products[:2] for products in like.values() if len(products) > 1]
    assert len(twins) > 40
    for one, other in twins:
        spec = sample_photo(one, seed=0, item=0, shot=0)
        twin = replace(
            spec,
            product=other,
            clothes=spec.clothes if one.is_coat else spec.clothes | other.shapes,
            coat=other.shapes if other.is_coat else None,
        )
        images = [np.asarray(take_photo(x, SIZE_PX).image, np.float32) for x in (spec, twin)]
        changed = np.abs(images[0] - images[1]).max(axis=2) > 40
        assert changed.sum() > 60


def test_most_products_share_all_labels_with_another():
    counts = Counter(tuple(sample_product(0, item).labels.items()) for item in range(600))
    assert sum(count for count in counts.values() if count > 1) > 0.9 * 600


def test_every_category_colour_and_print_is_common():
    sampled = [sample_product(0, item) for item in range(600)]
    for attribute, values in (("category", CATEGORIES), ("colour", COLOURS), ("pattern", PRINTS)):
        counts = Counter(product.labels[attribute] for product in sampled)
        assert set(counts) == set(values)
        assert min(counts.values()) > 20


def test_shapes_can_be_drawn_and_are_those_of_the_category():
    for item in range(100):
        product = sample_product(0, item)
        for attribute, value in product.shapes.items():
            assert value in visible_values(attribute)
        assert ("sleeve_length" in product.shapes) == ("sleeve" in ENDS_OF[product.category])


def test_photos_of_an_item_share_the_garment_and_nothing_else():
    piece = {"top": "top", "dress": "top", "skirt": "bottom", "trousers": "bottom", "coat": "coat"}
    for item in range(20):
        product = sample_product(0, item)
        one, other = (sample_photo(product, seed=0, item=item, shot=shot) for shot in (0, 2))
        assert one.product is other.product
        assert one.domain == other.domain == "shop"
        assert one.style != other.style
        assert one.pose != other.pose
        assert one.camera != other.camera
        for spec in (one, other):
            looks = product.worn_with(spec.style)
            assert getattr(looks, piece[product.category]) == product.cloth
            assert looks.hem_shift == product.cut.hem_shift
            assert looks.skin == spec.style.skin


def test_another_wearer_in_the_same_stance_shows_the_same_garment():
    for item in range(12):
        product = sample_product(0, item)
        one, other = (sample_photo(product, seed=0, item=item, shot=shot) for shot in (0, 2))
        posed = replace(one, style=other.style, clothes=other.clothes)
        photo, again = take_photo(one, SIZE_PX), take_photo(posed, SIZE_PX)
        assert photo.box == again.box
        assert photo.landmarks == again.landmarks
        assert photo.garment.tobytes() == again.garment.tobytes()
        mask = np.asarray(photo.garment.reduce(2)) == 255
        pixels = [np.asarray(x.image, np.float32)[mask] for x in (photo, again)]
        changed = np.abs(pixels[0] - pixels[1]).max(axis=1) > 8
        assert changed.mean() < 0.25, product.labels  # hands, and what a coat is open over


@pytest.mark.parametrize("domain", ["shop", "street"])
def test_the_box_is_tight_around_the_garments_mask(photos, domain):
    for spec, photo in photos:
        if spec.domain != domain:
            continue
        mask = np.asarray(photo.garment) > 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert photo.box == tuple(edge / 2 for edge in edges)


def test_a_changed_colour_changes_the_picture_inside_the_box_only(photos):
    """The mask is where the cloth is: nothing of the garment is painted outside it."""
    for spec, photo in photos[:40:2]:  # the shop's, which are not blurred
        cloth = replace(spec.product.cloth, colour=(255, 0, 255), second=(0, 255, 255))
        other = replace(spec, product=replace(spec.product, cloth=cloth))
        images = [np.asarray(x.image, np.float32) for x in (photo, take_photo(other, SIZE_PX))]
        changed = np.abs(images[0] - images[1]).max(axis=2) > 2
        mask = np.asarray(photo.garment.reduce(2)) > 0
        assert changed.any()
        assert not (changed & ~mask).any()


def test_landmarks_lie_on_the_garment(photos):
    """Each within 2 pixels of its mask."""
    for _, photo in photos:
        mask = np.asarray(photo.garment) > 0
        for name, landmark in photo.landmarks.items():
            if landmark.place is None:
                continue
            x, y = (round(2 * edge) for edge in landmark.place)
            near = mask[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
            assert near.any(), name


def test_hems_are_the_lower_corners_of_skirts_and_trousers(photos):
    """Where the outline turns from the side into the hem: outermost just above, nothing below."""
    checked = 0
    for spec, photo in photos:
        places = [photo.landmarks[f"{side} hem"].place for side in ("left", "right")]
        if spec.domain != "shop" or spec.product.category not in ("skirt", "trousers"):
            continue
        mask = np.asarray(photo.garment) > 0
        assert None not in places
        for (x, y), outermost in zip(places, (0, -1), strict=True):
            column, row = round(2 * x), round(2 * y)
            above = np.flatnonzero(mask[row - 4])
            assert abs(above[outermost] - column) <= 4
            outside = mask[row + 3 :, : column + 1] if outermost == 0 else mask[row + 3 :, column:]
            assert not outside.any()
            checked += 1
    assert checked >= 10


def test_left_is_left_in_the_picture_mirrored_or_not(photos):
    mirrored = Counter()
    for spec, photo in photos:
        for end in ("collar", "waistline", "hem"):
            left, right = (photo.landmarks[f"{side} {end}"].place for side in ("left", "right"))
            if left and right:
                assert left[0] < right[0]
                mirrored[spec.camera.mirrored] += 1
    assert min(mirrored[True], mirrored[False]) > 5


def test_a_mirrored_view_swaps_left_and_right():
    for spec in specs(6, shots=(0,)):
        straight = Camera(
            centre=(0.0, spec.camera.centre[1]),
            span=spec.camera.span,
            stretch=1.0,
            rotation_deg=0.0,
            mirrored=False,
        )
        one, other = (
            take_photo(replace(spec, camera=replace(straight, mirrored=mirrored)), SIZE_PX)
            for mirrored in (False, True)
        )
        for name, landmark in one.landmarks.items():
            side, end = side_and_end(name)
            twin = other.landmarks[f"{'right' if side == 'left' else 'left'} {end}"]
            assert landmark.visibility == twin.visibility
            if landmark.place and twin.place:
                assert twin.place == pytest.approx((SIZE_PX - landmark.place[0], landmark.place[1]))


def test_a_garment_has_the_landmarks_of_its_category(photos):
    for spec, photo in photos:
        ends = ENDS_OF[spec.product.category]
        if spec.product.shapes.get("sleeve_length") == "sleeveless":
            ends = ends - {"sleeve"}
        for name, landmark in photo.landmarks.items():
            assert (landmark.place is None) == (landmark.visibility == "absent")
            if side_and_end(name)[1] not in ends:
                assert landmark.visibility == "absent"
            elif spec.domain == "shop" and photo.box[0] > 0 and photo.box[2] < SIZE_PX:
                assert landmark.visibility != "absent", (spec.product.labels, name)


def test_in_the_shop_nothing_but_the_wearer_hides_a_landmark(photos):
    shares = {}
    for domain in ("shop", "street"):
        seen = Counter(
            landmark.visibility
            for spec, photo in photos
            if spec.domain == domain
            for landmark in photo.landmarks.values()
        )
        shares[domain] = seen["occluded"] / (seen["occluded"] + seen["visible"])
    assert shares["shop"] < 0.05
    assert 0.05 < shares["street"] < 0.4


def test_what_covers_a_landmark_makes_it_occluded_and_leaves_the_box():
    camera = Camera(centre=(0.0, 50.0), span=100.0, stretch=1.0, rotation_deg=0.0, mirrored=False)
    canvas = TracingCanvas(image=Image.new("RGB", (200, 200)), camera=camera)
    with canvas.garment():
        canvas.fill(box(-20.0, 30.0, 20.0, 70.0), plain((200, 0, 0)))
        canvas.pin("hem", np.array([[-20.0, 70.0], [20.0, 70.0]]))
    canvas.pin("hem", np.array([[0.0, 0.0], [1.0, 0.0]]))  # another garment's
    assert canvas.ends == {"left hem": (60.0, 140.0), "right hem": (140.0, 140.0)}
    before = canvas.garment_box()
    canvas.fill(box(10.0, 60.0, 30.0, 80.0), plain((0, 200, 0)))
    assert canvas.garment_box() == before
    assert canvas.end_is_shown("left hem")
    assert not canvas.end_is_shown("right hem")


def test_shop_pictures_have_one_pale_backdrop_and_streets_do_not(photos):
    for spec, photo in photos:
        corners = np.asarray(photo.image, np.float32)[[0, 0], [0, -1]]
        pale = (corners > 190).all() and np.ptp(corners) < 3
        if spec.domain == "street":
            assert not pale


def test_mean_colour_does_not_find_the_product():
    """Acc@5 of street to shop over 60 products with 2 photographs each; at random it is 0.08."""
    means = defaultdict(list)
    for spec in specs(60):
        picture = take_photo(spec, 64)
        crop = np.asarray(picture.image.crop(tuple(map(round, picture.box))), np.float32)
        means[spec.domain].append(crop.mean(axis=(0, 1)))
    shop, street = (np.array(means[domain]) for domain in ("shop", "street"))
    order = np.linalg.norm(street[:, None] - shop[None], axis=2).argsort(axis=1)
    hits = (order[:, :5] == np.arange(60)[:, None]).any(axis=1).mean()
    assert hits < 0.4


@pytest.mark.parametrize(
    ("argument", "value", "minimum"),
    [("num_items", 0, 1), ("photos_per_item", 1, 2), ("image_size_px", 63, 64), ("seed", -1, 0)],
)
def test_refuses_arguments_out_of_range(tmp_path, argument, value, minimum):
    with pytest.raises(ValueError, match=f"{argument} is {value}; it must be at least {minimum}"):
        write(tmp_path / "out", **{argument: value})
    assert not (tmp_path / "out").exists()


def test_products_replace_a_wardrobe_and_nothing_else(tmp_path):
    out = write(tmp_path / "out", num_items=2)
    write(out, num_items=1)
    assert len(rows_of(out)) == PHOTOS_PER_ITEM
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.txt").write_text("four years of work")
    with pytest.raises(ValueError, match="does not hold a wardrobe"):
        write(tmp_path / "thesis")
