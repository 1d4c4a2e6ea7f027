"""The store gives back the pixels it was given, whatever shards they lie in."""

import hashlib
import zlib

import numpy as np
import pyarrow as pa
import pytest
from builders import flip_a_bit
from hypothesis import given
from hypothesis import strategies as st

from components import files, tables
from components.errors import HemlineError
from components.images.perceptual_hash import perceptual_hashes
from components.images.store import (
    ImageStore,
    Shard,
    StoredImages,
    read_hashes,
    read_reusable,
    read_shards,
    shard_file,
    shard_key,
    write_manifest,
    write_shard,
)

SIZE = 4
SHARDS = [[0, 1, 2], [], [5, 7], [8]]  # 3, 4 and 6 went to quarantine, with all of shard 1
PIXELS = {
    image: np.random.default_rng(image).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for shard in SHARDS
    for image in shard
}


def sha256(image):
    return hashlib.sha256(str(image).encode()).hexdigest()


def write_store(folder, shards):
    listed = []
    for index, images in enumerate(shards):
        pixels = np.array([PIXELS[image] for image in images], np.uint8)
        pixels = pixels.reshape(-1, SIZE, SIZE, 3)
        sha256s = [sha256(image) for image in images]
        batches = [  # two images to a batch
            StoredImages(images[i : i + 2], sha256s[i : i + 2], pixels[i : i + 2])
            for i in range(0, len(images), 2)
        ]
        path = folder / shard_file(index)
        crc32 = write_shard(path, batches, image_size_px=SIZE, recipe="r")
        listed.append(
            Shard(
                file=shard_file(index),
                key=f"key {index}",
                num_images=len(images),
                quarantined=((f"{index}.png", "truncated", "detail"),),
                crc32=crc32,
            )
        )
    write_manifest(folder, listed, image_size_px=SIZE)
    return listed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, SHARDS)
    return folder


def test_the_store_lists_what_it_holds(folder):
    store = ImageStore(folder)

    assert store.images.tolist() == sorted(PIXELS)
    assert (len(store), store.image_size_px) == (6, SIZE)


@given(images=st.lists(st.sampled_from(sorted(PIXELS)), max_size=20))
def test_gather_gives_the_pixels_in_the_order_asked_with_repeats(folder, images):
    gathered = ImageStore(folder).gather(np.array(images, np.int64))

    assert gathered.dtype == np.uint8
    assert gathered.shape == (len(images), SIZE, SIZE, 3)
    for image, pixels in zip(images, gathered, strict=True):
        assert np.array_equal(pixels, PIXELS[image])


def test_gathered_pixels_are_a_copy(folder):
    store = ImageStore(folder)
    store.gather(np.array([5]))[:] = 0

    assert np.array_equal(store.gather(np.array([5]))[0], PIXELS[5])


@pytest.mark.parametrize("absent", [3, 6, 9, -1, 10**12])
def test_an_image_that_the_store_does_not_hold_is_named(folder, absent):
    with pytest.raises(HemlineError, match=rf"does not hold images \[{absent}\]"):
        ImageStore(folder).gather(np.array([5, absent, 0]))


def in_pixels(path, image):
    return path.read_bytes().index(PIXELS[image].tobytes()) / path.stat().st_size


def test_a_flipped_bit_is_found_when_its_shard_is_read(tmp_path):
    write_store(tmp_path, SHARDS)
    path = tmp_path / shard_file(2)
    flip_a_bit(path, share=in_pixels(path, 7) + 1e-9)
    store = ImageStore(tmp_path)

    assert np.array_equal(store.gather(np.array([8, 0]))[0], PIXELS[8])
    for _ in range(2):
        with pytest.raises(HemlineError, match=r"shard-00002\.arrow is damaged .*: remove .*run"):
            store.gather(np.array([0, 5]))


def test_batches_that_are_not_read_are_not_looked_at(tmp_path):
    """Images 0 and 1 are one batch of the shard, 2 is the other."""
    write_store(tmp_path, SHARDS)
    path = tmp_path / shard_file(0)
    flip_a_bit(path, share=in_pixels(path, 2) + 1e-9)
    store = ImageStore(tmp_path)

    assert np.array_equal(store.gather(np.array([1, 0]))[0], PIXELS[1])
    with pytest.raises(HemlineError, match=r"shard-00000\.arrow is damaged from image 2 on"):
        store.gather(np.array([1, 2]))


def test_a_bit_anywhere_in_a_shard_is_found_or_changes_nothing(tmp_path):
    write_store(tmp_path, SHARDS)
    path, num_found = tmp_path / shard_file(0), 0
    data = path.read_bytes()
    for place in range(len(data)):
        path.unlink()  # the last one may still be mapped
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert files.problem_of(path, f"{zlib.crc32(data):08x}"), "by `hemline check`"
        try:
            found = ImageStore(tmp_path).gather(np.array(SHARDS[0]))
        except HemlineError:
            num_found += 1
        else:
            assert np.array_equal(found, [PIXELS[image] for image in SHARDS[0]])
    assert num_found > 3 * SIZE**2 * len(SHARDS[0])


def test_a_shard_of_an_older_hemline_is_checked_whole(tmp_path):
    write_store(tmp_path, SHARDS)
    path, manifest = tmp_path / shard_file(0), files.read_json(tmp_path / "manifest.json")
    with pa.ipc.open_file(path) as file:
        schema, batches = file.schema, [file.get_batch(i) for i in range(2)]
    path.unlink()  # what was read is a view of it
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    manifest["shards"][0]["crc32"] = files.checksum(path)
    files.write_json(manifest, tmp_path / "manifest.json")

    assert np.array_equal(ImageStore(tmp_path).gather(np.array([2]))[0], PIXELS[2])
    flip_a_bit(path, share=in_pixels(path, 2) + 1e-9)
    with pytest.raises(HemlineError, match=r"shard-00000\.arrow is damaged .*: remove .*run"):
        ImageStore(tmp_path).gather(np.array([0]))


def test_a_store_without_checksums_is_read(tmp_path):
    write_store(tmp_path, SHARDS)
    manifest = files.read_json(tmp_path / "manifest.json")
    for entry in manifest["shards"]:
        assert files.checksum(tmp_path / entry["file"]) == entry.pop("crc32")
    files.write_json(manifest, tmp_path / "manifest.json")

    assert np.array_equal(ImageStore(tmp_path).gather(np.array([5]))[0], PIXELS[5])


@pytest.mark.parametrize("shards", [[], [[]]])
def test_an_empty_store_holds_nothing(tmp_path, shards):
    write_store(tmp_path, shards)
    store = ImageStore(tmp_path)

    assert len(store) == 0
    assert store.gather(np.empty(0, np.int64)).shape == (0, SIZE, SIZE, 3)
    with pytest.raises(HemlineError, match=r"does not hold images \[0\]"):
        store.gather(np.array([0]))


def test_a_shard_that_the_manifest_names_must_be_there(tmp_path):
    write_store(tmp_path, SHARDS)
    (tmp_path / shard_file(2)).unlink()

    with pytest.raises(HemlineError, match=r"shard-00002\.arrow is missing; run `dvc repro"):
        ImageStore(tmp_path)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_shard_is_named(tmp_path, share):
    write_store(tmp_path, SHARDS)
    path = tmp_path / shard_file(2)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(HemlineError, match=r"shard-00002\.arrow is damaged .* remove it"):
        ImageStore(tmp_path)


def test_a_store_without_manifest_is_missing(tmp_path):
    with pytest.raises(HemlineError, match=r"manifest\.json is missing"):
        ImageStore(tmp_path)


def test_a_shard_is_a_plain_arrow_file(folder):
    table = pa.ipc.open_file(folder / shard_file(2)).read_all()

    assert table.schema.names == ["image", "sha256", "perceptual_hash", "pixels"]
    assert table.schema.field("pixels").type == pa.fixed_shape_tensor(pa.uint8(), (SIZE, SIZE, 3))
    assert np.array_equal(table["pixels"].chunk(0).to_numpy_ndarray()[1], PIXELS[7])


def test_writing_a_shard_twice_gives_the_same_bytes(tmp_path):
    contents = []
    for _ in range(2):
        write_store(tmp_path, SHARDS)
        contents.append([(tmp_path / shard_file(i)).read_bytes() for i in range(len(SHARDS))])

    assert contents[0] == contents[1]


def test_the_manifest_comes_back_as_written(tmp_path):
    assert read_shards(tmp_path) == []
    listed = write_store(tmp_path, SHARDS)

    assert read_shards(tmp_path) == listed


def test_a_key_tells_apart_all_that_goes_into_a_shard():
    made_of = {
        "image": [4, 5],
        "path": ["1", "2"],
        "sha256": ["a", "b"],
        "image_size_px": 32,
        "recipe": "1",
    }
    others = [
        made_of | change
        for change in (
            {"sha256": ["b", "a"]},
            {"image": [4], "sha256": ["a"], "path": ["1"]},
            {"sha256": ["a", "c"]},
            {"path": ["1", "3"]},
            {"image": [4, 6]},
            {"image_size_px": 64},
            {"recipe": "2"},
        )
    ]

    assert len({shard_key(**made_of), *(shard_key(**other) for other in others)}) == 8


def test_hashes_of_all_images_are_read_from_the_shards(folder):
    held = ImageStore(folder)
    expected = perceptual_hashes(held.gather(held.images))

    assert read_hashes(folder).to_pydict() == {
        "image": held.images.tolist(),
        "perceptual_hash": expected.tolist(),
    }


def test_an_empty_store_has_no_hashes(tmp_path):
    write_store(tmp_path, [[]])

    assert read_hashes(tmp_path).equals(tables.IMAGE_HASHES.empty_table())


def reusable(path, **changes):
    return read_reusable(path, **({"crc32": None, "image_size_px": SIZE, "recipe": "r"} | changes))


def test_images_can_be_taken_over_by_number_and_content(folder):
    held = reusable(folder / shard_file(2))

    assert held.keys() == {(5, sha256(5)), (7, sha256(7))}
    assert np.array_equal(held[7, sha256(7)], PIXELS[7])


@pytest.mark.parametrize("changes", [{"image_size_px": 8}, {"recipe": "s"}])
def test_a_shard_that_was_made_otherwise_gives_nothing(folder, changes):
    assert reusable(folder / shard_file(2), **changes) == {}


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_missing_or_damaged_shard_gives_nothing(tmp_path, share):
    write_store(tmp_path, SHARDS)
    path = tmp_path / shard_file(0)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    assert reusable(path) == {}
    assert reusable(tmp_path / "absent.arrow") == {}


def test_changed_bytes_in_a_shard_do_not_end_the_process(tmp_path):
    """Each byte of what describes the shard is set to 255: some of them are sizes and places."""
    write_store(tmp_path, SHARDS)
    path = tmp_path / shard_file(0)
    data, changed = path.read_bytes(), tmp_path / "changed.arrow"
    for place in range(len(data)):
        changed.unlink(missing_ok=True)  # the last one may still be mapped
        changed.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        assert all(pixels.shape == (SIZE, SIZE, 3) for pixels in reusable(changed).values())


def test_a_shard_of_another_layout_gives_nothing(tmp_path):
    batch = pa.record_batch({"image": [1], "pixels": [b"xyz"]})
    path = tmp_path / shard_file(0)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)

    assert reusable(path) == {}
