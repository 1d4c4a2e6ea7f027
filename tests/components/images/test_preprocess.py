"""Making the store: right pixels, and only as much work as the change asks for.

All in this process but for one test; `test_preprocess_kills.py` has more with Ray.
"""

import time
from itertools import count

import numpy as np
import pyarrow as pa
import pytest
from builders import encoded, flip_a_bit, noise, png_header, write_files
from PIL import Image

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.read import read_labels
from components.images.decode import PIXELS_VERSION, decode
from components.images.preprocess import preprocess
from components.images.store import ImageStore, read_shards

NUM_IMAGES, PER_SHARD, SIZE = 30, 8, 32
TRUNCATED = 5


def picture(seed):
    return encoded(noise(40 + seed % 7, 50 - seed % 11, seed=seed))


@pytest.fixture
def data(tmp_path):
    """Thirty small images, one of them cut off; `label` can name others."""
    root = tmp_path / "data"
    write_files(root, {f"{i:02}.png": picture(i) for i in range(NUM_IMAGES)})
    broken = root / f"{TRUNCATED:02}.png"
    broken.write_bytes(broken.read_bytes()[:-1000])
    label(root, range(NUM_IMAGES))
    return root


def label(root, numbers):
    lines = [f"{number:02}.png,parity,{('even', 'odd')[number % 2]}" for number in numbers]
    (root / "labels.csv").write_text("image,attribute,value\n" + "\n".join(lines))


def run(root, store, *, image_size_px=SIZE, images_per_shard=PER_SHARD):
    """Runs the job and returns its quarantine."""
    return run_and_count(
        root, store, image_size_px=image_size_px, images_per_shard=images_per_shard
    )[0]


def run_and_count(
    root, store, *, image_size_px=SIZE, images_per_shard=PER_SHARD, previous=None, num_workers=0
):
    """Runs the job and returns its quarantine, how many images it decoded, and the catalog."""
    labelled = read_labels(root, data_format="table")
    catalog = build_catalog(labelled, root, exclude_attributes=[], previous=previous)
    done = []
    quarantine, num_decoded = preprocess(
        catalog.images,
        root,
        store,
        image_size_px=image_size_px,
        images_per_shard=images_per_shard,
        num_workers=num_workers,
        on_progress=done.append,
    )
    assert sum(done) == catalog.images.num_rows
    return quarantine.to_pylist(), num_decoded, catalog


def assert_holds(store, root, numbers, *, image_size_px=SIZE):
    """Compares the store with decoding one image after the other, in catalog order."""
    held = ImageStore(store)
    expected = {i: n for i, n in enumerate(numbers) if n != TRUNCATED}
    assert held.images.tolist() == list(expected)
    for image, number in expected.items():
        pixels = decode((root / f"{number:02}.png").read_bytes(), image_size_px=image_size_px)
        assert np.array_equal(held.gather(np.array([image]))[0], pixels)


def shard_files(store):
    return sorted(store.glob("shard-*"))


def times(store):
    return [path.stat().st_mtime_ns for path in shard_files(store)]


def contents(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def store(data, tmp_path):
    run(data, tmp_path / "store")
    time.sleep(0.02)  # more than a tick of the file system's clock, for what compares times
    return tmp_path / "store"


def test_pixels_are_those_of_decoding_one_by_one(data, tmp_path):
    quarantine = run(data, tmp_path / "store")

    assert_holds(tmp_path / "store", data, range(NUM_IMAGES))
    assert len(shard_files(tmp_path / "store")) == 4
    assert [(row["path"], row["reason"]) for row in quarantine] == [("05.png", "truncated")]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_on_ray_the_store_has_the_same_bytes(data, store, tmp_path):
    quarantine, num_decoded, _ = run_and_count(data, tmp_path / "ray", num_workers=2)

    assert contents(tmp_path / "ray") == contents(store)
    assert (num_decoded, [row["path"] for row in quarantine]) == (NUM_IMAGES, ["05.png"])


def test_a_second_run_makes_nothing_again(data, store):
    before, made_at = contents(store), times(store)
    quarantine = run(data, store)

    assert times(store) == made_at
    assert contents(store) == before
    assert [row["path"] for row in quarantine] == ["05.png"], "known from the manifest"


def test_another_store_has_the_same_bytes(data, store, tmp_path):
    run(data, tmp_path / "other")

    assert contents(tmp_path / "other") == contents(store)


def test_new_images_remake_the_last_shard_only(data, store):
    made_at = times(store)
    write_files(data, {f"{i:02}.png": picture(i) for i in range(NUM_IMAGES, 35)})
    label(data, range(35))
    run(data, store)

    assert_holds(store, data, range(35))
    after = times(store)
    assert (after[:3], len(after)) == (made_at[:3], 5)
    assert after[3] > made_at[3]


def test_of_a_shard_that_is_made_again_only_new_images_are_decoded(data, store, tmp_path):
    write_files(data, {f"{i:02}.png": picture(i) for i in range(NUM_IMAGES, 35)})
    label(data, range(35))
    _, num_decoded, _ = run_and_count(data, store)

    assert num_decoded == 5
    _, num_decoded, _ = run_and_count(data, tmp_path / "from scratch")
    assert num_decoded == 35
    assert contents(store) == contents(tmp_path / "from scratch")


def test_what_a_damaged_shard_holds_is_decoded_again(data, store):
    flip_a_bit(shard_files(store)[-1])
    write_files(data, {f"{i:02}.png": picture(i) for i in range(NUM_IMAGES, 35)})
    label(data, range(35))
    _, num_decoded, _ = run_and_count(data, store)

    assert num_decoded == 6 + 5, "the images of the last shard, and the new ones"
    assert_holds(store, data, range(35))


def test_a_removed_image_leaves_a_hole_and_nothing_is_decoded(data, store):
    _, _, before = run_and_count(data, store)
    label(data, [number for number in range(NUM_IMAGES) if number != 11])
    _, num_decoded, _ = run_and_count(data, store, previous=before)

    assert num_decoded == 0
    held = ImageStore(store).images.tolist()
    assert held == [n for n in range(NUM_IMAGES) if n not in (TRUNCATED, 11)]


def test_a_shard_without_images_goes_and_the_others_keep_their_numbers(data, store):
    _, _, before = run_and_count(data, store)
    left = [*range(PER_SHARD), *range(2 * PER_SHARD, NUM_IMAGES)]
    label(data, left)
    _, num_decoded, _ = run_and_count(data, store, previous=before)

    assert num_decoded == 0
    assert [path.name for path in shard_files(store)] == [
        f"shard-0000{index}.arrow" for index in (0, 2, 3)
    ]
    assert ImageStore(store).images.tolist() == [n for n in left if n != TRUNCATED]


def test_another_size_remakes_all(data, store):
    made_at = times(store)
    run(data, store, image_size_px=48)

    assert_holds(store, data, range(NUM_IMAGES), image_size_px=48)
    assert all(after > before for after, before in zip(times(store), made_at, strict=True))


def test_fewer_and_larger_shards_leave_no_old_ones(data, store):
    run(data, store, images_per_shard=20)

    assert len(shard_files(store)) == 2
    assert_holds(store, data, range(NUM_IMAGES))


def test_a_deleted_shard_is_remade_to_the_byte(data, store):
    before, made_at = contents(store), times(store)
    shard_files(store)[1].unlink()
    run(data, store)

    assert contents(store) == before
    after = times(store)
    assert after[:1] + after[2:] == made_at[:1] + made_at[2:]


def test_a_changed_image_remakes_its_shard_only(data, store):
    made_at = times(store)
    (data / "09.png").write_bytes(picture(77))
    run(data, store)

    assert_holds(store, data, range(NUM_IMAGES))
    changed = [after > before for after, before in zip(times(store), made_at, strict=True)]
    assert changed == [False, True, False, False]


def test_images_that_move_up_by_a_whole_shard_keep_number_and_pixels_together(data, store):
    """The contents of shard 1 become shard 0: its key is known, but not under that number."""
    label(data, range(PER_SHARD, NUM_IMAGES))
    run(data, store)

    assert_holds(store, data, range(PER_SHARD, NUM_IMAGES))


def test_shards_of_the_same_contents_stay_apart(data, tmp_path):
    for number in range(4):
        (data / f"{number:02}.png").write_bytes(picture(0))
    label(data, range(4))
    for _ in range(2):
        run(data, tmp_path / "store", images_per_shard=2)
        assert_holds(tmp_path / "store", data, range(4))


def test_a_renamed_image_is_quarantined_under_its_new_name(data, store):
    (data / "05.png").rename(data / "95.png")
    label(data, [95 if number == TRUNCATED else number for number in range(NUM_IMAGES)])

    assert [row["path"] for row in run(data, store)] == ["95.png"]


@pytest.mark.parametrize("num_shards", range(1, 5))
def test_a_run_that_was_stopped_is_resumed(data, store, num_shards):
    """Stopped after any shard of another size; what that run made is not made again."""
    ticks = count()

    def stop(_):
        if next(ticks) == num_shards:
            raise KeyboardInterrupt

    catalog = build_catalog(read_labels(data, data_format="table"), data, exclude_attributes=[])
    with pytest.raises(KeyboardInterrupt):
        preprocess(
            catalog.images,
            data,
            store,
            image_size_px=48,
            images_per_shard=PER_SHARD,
            num_workers=0,
            on_progress=stop,
        )
    done = [n for n in range(num_shards * PER_SHARD) if n != TRUNCATED and n < NUM_IMAGES]
    assert ImageStore(store).images.tolist() == done, "no shard of the other size"
    made_at = times(store)[:num_shards]
    run(data, store, image_size_px=48)

    assert_holds(store, data, range(NUM_IMAGES), image_size_px=48)
    assert times(store)[:num_shards] == made_at


GOOD = {
    "CMYK.jpg": encoded(noise(40, 30).convert("CMYK"), "JPEG"),
    "grey of 16 bits.png": encoded(Image.fromarray(np.full((30, 40), 40_000, np.uint16))),
    "palette.png": encoded(noise(40, 30).convert("P"), transparency=1),
    "alpha.png": encoded(noise(40, 30).convert("RGBA")),
    "turned.jpg": encoded(
        noise(40, 30), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"
    ),
    "moving.gif": encoded(
        noise(40, 30), "GIF", save_all=True, append_images=[noise(40, 30, seed=1)]
    ),
    "moving.webp": encoded(noise(9, 9), "WEBP", save_all=True, append_images=[noise(9, 9, seed=1)]),
    "tiny.png": encoded(noise(1, 1)),
    "long.png": encoded(noise(60_000, 1)),
    "a 'name' with \"quotes\",\nand a new line.png": picture(1),
}
BAD = {
    "empty.jpg": (b"", "empty_file"),
    "text.jpg": (b"see attachment", "not_an_image"),
    "truncated.jpg": (encoded(noise(90, 90), "JPEG")[:-900], "truncated"),
    "truncated.png": (picture(2)[:-900], "truncated"),
    "bomb.png": (png_header(50_000, 50_000), "too_large"),
    "floats.tiff": (encoded(Image.new("F", (9, 9)), "TIFF"), "not_an_image"),
}


def test_every_file_ends_in_the_store_or_in_the_quarantine(tmp_path):
    """Also files that went bad after they were listed."""
    root = write_files(tmp_path / "data", GOOD | {name: data for name, (data, _) in BAD.items()})
    (root / "folder.jpg").mkdir()
    names = sorted([*GOOD, *BAD, "folder.jpg", "gone.jpg"])
    rows = [{"image": i, "path": name, "sha256": f"{i:064x}"} for i, name in enumerate(names)]
    table = pa.Table.from_pylist(rows, schema=tables.IMAGES)
    quarantine, num_decoded = preprocess(
        table,
        root,
        tmp_path / "store",
        image_size_px=SIZE,
        images_per_shard=5,
        num_workers=0,
        on_progress=lambda _: None,
    )

    assert num_decoded == len(names)
    assert [names[image] for image in ImageStore(tmp_path / "store").images] == sorted(GOOD)
    found = {row["path"]: row["reason"] for row in quarantine.to_pylist()}
    assert found == {
        **{name: reason for name, (_, reason) in BAD.items()},
        "folder.jpg": "not_a_file",
        "gone.jpg": "missing",
    }


def keys(store):
    return [shard.key for shard in read_shards(store)]


def test_a_store_by_an_earlier_decoder_is_made_again(data, tmp_path, monkeypatch):
    store = tmp_path / "store"
    with monkeypatch.context() as earlier:
        earlier.setattr("components.images.preprocess.PIXELS_VERSION", PIXELS_VERSION - 1)
        run(data, store)
    before, made_at = keys(store), times(store)
    time.sleep(0.02)
    _, num_decoded, _ = run_and_count(data, store)

    assert num_decoded == NUM_IMAGES, "no pixels are taken over"
    assert not {*keys(store)} & {*before}
    assert all(after > before for after, before in zip(times(store), made_at, strict=True))


def test_what_can_be_read_by_now_leaves_the_quarantine(data, store):
    """The file is the same: the decoder reads more, or the file was away for a while."""
    path = data / "12.png"
    content = path.read_bytes()
    labelled = read_labels(data, data_format="table")
    images = build_catalog(labelled, data, exclude_attributes=[]).images
    options = {"image_size_px": 48, "images_per_shard": PER_SHARD, "num_workers": 0}
    path.unlink()
    first = preprocess(images, data, store, on_progress=lambda _: None, **options)
    made_at = times(store)
    time.sleep(0.02)
    path.write_bytes(content)
    second = preprocess(images, data, store, on_progress=lambda _: None, **options)

    assert first.quarantine["path"].to_pylist() == ["05.png", "12.png"]
    assert second.quarantine["path"].to_pylist() == ["05.png"]
    assert second.num_decoded == 1
    assert [a == b for a, b in zip(times(store), made_at, strict=True)] == [True, False, True, True]
    assert_holds(store, data, range(NUM_IMAGES), image_size_px=48)


def test_without_images_the_store_is_empty(data, tmp_path):
    catalog = build_catalog(read_labels(data, data_format="table"), data, exclude_attributes=[])
    preprocess(
        catalog.images.slice(0, 0),
        data,
        tmp_path / "store",
        image_size_px=SIZE,
        images_per_shard=PER_SHARD,
        num_workers=0,
        on_progress=lambda _: None,
    )

    assert len(ImageStore(tmp_path / "store")) == 0
