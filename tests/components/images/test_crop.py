"""The crop of a store: what its shards show, when they are made again, and models of another."""

import json

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from builders import encoded, images_table, noise, write_files

from components import files, tables
from components.errors import HemlineError
from components.files import sha256
from components.images.decode import decode
from components.images.preprocess import preprocess
from components.images.remote_store import StoreLocation, publish_store
from components.images.store import ImageStore

SIZE, PER_SHARD, NUM_IMAGES = 16, 3, 8
BOXES = {0: (4.0, 2.0, 20.0, 40.0), 1: (0.0, 0.0, 30.5, 9.25), 5: (10.0, 10.0, 50.0, 40.0)}


@pytest.fixture
def data(tmp_path):
    return write_files(
        tmp_path / "data",
        {f"{image}.png": encoded(noise(60, 44, seed=image)) for image in range(NUM_IMAGES)},
    )


def run(data, store, *, crop, boxes=BOXES, num_workers=0):
    """Returns how many images a run decodes, and the keys of its shards."""
    rows = [(image, *box) for image, box in boxes.items()]
    records = [dict(zip(tables.BOXES.names, row, strict=True)) for row in rows]
    done = preprocess(
        images_table(sha256(data / f"{image}.png") for image in range(NUM_IMAGES)),
        data,
        store,
        image_size_px=SIZE,
        crop=crop,
        boxes=pa.Table.from_pylist(records, schema=tables.BOXES),
        images_per_shard=PER_SHARD,
        num_workers=num_workers,
        on_progress=lambda _: None,
    )
    manifest = json.loads((store / "manifest.json").read_text())
    return done.num_decoded, [shard["key"] for shard in manifest["shards"]]


def test_an_image_is_its_box_and_one_without_is_whole(data, tmp_path):
    run(data, tmp_path / "store", crop="box")
    store = ImageStore(tmp_path / "store")
    assert store.crop == "box"
    for image, shown in enumerate(store.gather(store.images)):
        file = (data / f"{image}.png").read_bytes()
        expected = decode(file, image_size_px=SIZE, crop="box", box=BOXES.get(image))
        assert np.array_equal(shown, expected)


@pytest.mark.slow
def test_boxes_pass_through_ray(data, tmp_path, ray_session):
    run(data, tmp_path / "here", crop="box")
    run(data, tmp_path / "there", crop="box", num_workers=2)
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("here", "there")
    )
    assert here == there


def test_a_box_that_changes_decodes_its_image_alone(data, tmp_path):
    store = tmp_path / "store"
    assert run(data, store, crop="box")[0] == NUM_IMAGES
    _, keys = run(data, store, crop="box")
    num_decoded, changed = run(
        data, store, crop="box", boxes={**BOXES, 5: (10.0, 10.0, 50.0, 39.5)}
    )
    assert num_decoded == 1
    assert [x == y for x, y in zip(keys, changed, strict=True)] == [True, False, True]
    file = (data / "5.png").read_bytes()
    expected = decode(file, image_size_px=SIZE, crop="box", box=(10.0, 10.0, 50.0, 39.5))
    assert np.array_equal(ImageStore(store).gather(np.array([5]))[0], expected)
    assert run(data, store, crop="box", boxes={})[0] == len(BOXES)


def test_boxes_mean_nothing_to_the_centre(data, tmp_path):
    store = tmp_path / "store"
    _, keys = run(data, store, crop="centre", boxes={})
    contents = {path.name: path.read_bytes() for path in store.iterdir()}
    assert run(data, store, crop="centre") == (0, keys)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == contents


def test_another_crop_makes_every_shard_again(data, tmp_path):
    store = tmp_path / "store"
    _, centre = run(data, store, crop="centre", boxes={})
    num_decoded, box = run(data, store, crop="box", boxes={})
    assert num_decoded == NUM_IMAGES
    assert not {*centre} & {*box}


def test_a_published_store_keeps_its_crop(data, tmp_path):
    run(data, tmp_path / "store", crop="box")
    url = "memory://cropped/store"
    publish_store(tmp_path / "store", url)
    copy = ImageStore(StoreLocation(address=url, cache=tmp_path / "cache").local())
    assert copy.crop == "box"
    fsspec.filesystem("memory").rm("/cropped", recursive=True)


def test_a_store_of_an_older_hemline_shows_the_centre(data, tmp_path):
    run(data, tmp_path / "store", crop="centre")
    manifest = tmp_path / "store/manifest.json"
    content = files.read_json(manifest)
    assert content.pop("crop") == "centre"
    files.write_json(content, manifest)
    store = ImageStore(tmp_path / "store")
    store.check_crop("centre", of="a model")
    with pytest.raises(HemlineError, match=r"a model sees .* crop box, .* set preprocess\.crop to"):
        store.check_crop("box", of="a model")
