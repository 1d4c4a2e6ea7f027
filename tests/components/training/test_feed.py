"""From planned rows to tensors."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import labels_table
from small_run import noise, write_store

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.images.store import ImageStore
from components.training.feed import Feed, mapped_pixels, resident_pixels
from components.training.plan import BatchPlan, TripletPlan

SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="length", values=("short", "middle", "long")),
        Attribute(name="collar", values=("none", "round")),
        Attribute(name="pocket", values=("a", "b", "c", "d")),
    ),
)
STORED = np.array([0, 2, 3, 5, 7, 11, 13, 17])  # 3 and 17 have no label of the training split
# image -> attribute -> values: several values, and images without a label of some attribute
LABELS = {
    0: {0: [0], 1: [1], 2: [2]},
    2: {0: [2], 2: [0, 3]},
    5: {0: [1, 2], 1: [0]},
    7: {2: [1]},
    11: {0: [0]},
    13: {0: [0], 1: [0], 2: [3]},
}
TRIPLETS = [(0, 0, 11, 2), (2, 2, 13, 7), (0, 5, 2, 0), (1, 5, 13, 0), (0, 13, 0, 5), (2, 13, 2, 0)]
BATCHES = [[13, 0, 5, 2], [7, 11, 2, 0], [5, 7, 13, 11]]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, STORED, noise(len(STORED)), shards=3)
    return ImageStore(folder)


@pytest.fixture(scope="module")
def labels() -> pa.Table:
    rows = [
        (image, attribute, value)
        for image, of_attribute in LABELS.items()
        for attribute, values in of_attribute.items()
        for value in values
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    return labels_table(rows[i] for i in order)


CPU = torch.device("cpu")


def make_feed(plan, store, labels) -> Feed:
    return Feed(plan, mapped_pixels(store, device=CPU), labels, schema=SCHEMA, device=CPU)


@pytest.fixture
def triplet_plan(tmp_path) -> TripletPlan:
    attribute, anchor, positive, negative = zip(*TRIPLETS, strict=True)
    columns = {"anchor": anchor, "positive": positive, "negative": negative}
    table = pa.table({"epoch": [0] * len(TRIPLETS), "attribute": attribute, **columns})
    files.write_table(table, tmp_path / "train.parquet", schema=tables.TRIPLETS)
    return TripletPlan(tmp_path / "train.parquet", triplets_per_batch=2, seed=0)


@pytest.fixture
def batch_plan(tmp_path) -> BatchPlan:
    images = np.concatenate(BATCHES)
    batch = np.repeat(np.arange(len(BATCHES)), 4)
    table = pa.table({"epoch": [0] * len(images), "batch": batch, "image": images})
    files.write_table(table, tmp_path / "batches.parquet", schema=tables.BATCHES)
    return BatchPlan(tmp_path / "batches.parquet", seed=0)


def has(image: int, attribute: int) -> list[bool]:
    values = LABELS[image].get(attribute, [])
    return [value in values for value in range(SCHEMA.max_num_values)]


def assert_pixels(batch, images, store):
    assert batch.pixels.dtype == torch.uint8
    for pixels, image in zip(batch.pixels, images, strict=True):
        assert (pixels.numpy() == store.gather(np.array([image]))[0]).all()


def test_batches_of_images_are_asked_for_every_attribute(batch_plan, store, labels):
    batches = [*make_feed(batch_plan, store, labels).batches(first_step=0, rank=0, world_size=1)]
    assert len(batches) == len(BATCHES)
    for step, (batch, images) in enumerate(zip(batches, BATCHES, strict=True)):
        assert_pixels(batch, images, store)
        assert batch.attributes.tolist() == [[0, 1, 2]] * 4
        assert batch.values.tolist() == [[has(i, a) for a in range(3)] for i in images]
        assert batch.labelled.tolist() == [[a in LABELS[i] for a in range(3)] for i in images]
        planned = batch_plan.step(step, rank=0, world_size=1)
        assert (batch.draws.numpy() == planned.draws[:, 0]).all()


def test_the_slots_of_a_triplet_are_neighbours_and_ask_for_its_attribute(
    triplet_plan, store, labels
):
    batches = make_feed(triplet_plan, store, labels).batches(first_step=0, rank=0, world_size=1)
    for step, batch in enumerate(batches):
        rows = TRIPLETS[2 * step : 2 * step + 2]
        images = [image for row in rows for image in row[1:]]
        attributes = [row[0] for row in rows for _ in range(3)]
        assert_pixels(batch, images, store)
        assert batch.attributes.tolist() == [[a] for a in attributes]
        assert batch.values.tolist() == [
            [has(i, a)] for i, a in zip(images, attributes, strict=True)
        ]
        assert batch.labelled.tolist() == [[n == a for n in range(3)] for a in attributes]
        planned = triplet_plan.step(step, rank=0, world_size=1)
        assert (batch.draws.numpy() == planned.draws.reshape(6, -1)).all()
    assert step == 2


def test_workers_share_a_batch_out(batch_plan, store, labels):
    feed = make_feed(batch_plan, store, labels)
    shares = [[*feed.batches(first_step=0, rank=rank, world_size=2)] for rank in range(2)]
    for images, *batches in zip(BATCHES, *shares, strict=True):
        for rank, batch in enumerate(batches):
            assert_pixels(batch, images[rank::2], store)


def test_an_epoch_can_be_taken_up_in_its_middle(batch_plan, store, labels):
    feed = make_feed(batch_plan, store, labels)
    rest = [*feed.batches(first_step=2, rank=0, world_size=1)]
    assert len(rest) == 1
    assert_pixels(rest[0], BATCHES[2], store)
    assert not [*feed.batches(first_step=3, rank=0, world_size=1)]


def test_an_error_in_the_thread_reaches_the_caller(batch_plan, store, labels, monkeypatch):
    def fail(images):
        raise OSError("the disk is gone")

    feed = make_feed(batch_plan, store, labels)
    monkeypatch.setattr(store, "gather", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        next(feed.batches(first_step=0, rank=0, world_size=1))


def test_pixels_on_the_device_are_those_of_the_store(store, monkeypatch):
    monkeypatch.setattr("components.training.feed._IMAGES_AT_ONCE", 3)
    asked = np.array([13, 2, 5, 2, 11])
    resident = resident_pixels(store, np.array([2, 13, 11, 5, 2, 7]), device=CPU)
    assert resident(asked).equal(mapped_pixels(store, device=CPU)(asked))


def test_pixels_that_do_not_fit_on_the_device_are_an_error(store, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(HemlineError, match=r"8 images of 32 px .*train\.store_residency mapped"):
        resident_pixels(store, STORED, device=CPU)
