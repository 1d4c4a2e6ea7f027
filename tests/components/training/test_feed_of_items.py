"""Items and landmarks in batches: counted among those of the step, never as many as there are."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import labels_table
from small_run import noise, write_store

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.images.store import ImageStore
from components.training.feed import Batch, Feed, mapped_pixels
from components.training.plan import BatchPlan, TripletPlan

CPU = torch.device("cpu")
SCHEMA = AttributeSchema(
    dataset="items",
    attributes=(
        Attribute(name="collar", values=("none", "round")),
        Attribute(name="item", num_items=34_000),
        Attribute(name="length", values=("a", "b", "c")),
    ),
    landmarks=("left hem", "right hem"),
)
ITEM = 1
# image -> item; 5 has none
ITEMS = {0: 33_999, 1: 7, 2: 7, 3: 120, 4: 33_999, 6: 500, 7: 120}
COLLARS = {0: [0], 1: [1], 3: [0, 1], 5: [1]}
STEPS = [[0, 1, 2, 3], [4, 5, 6, 7]]
POINTS = (np.array([3, 5, 99]), np.arange(18, dtype=np.float32).reshape(3, 2, 3))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, np.arange(8), noise(8))
    return ImageStore(folder)


def feed(folder, store, *, triplets=None, **options) -> Feed:
    labels = [(image, ITEM, item) for image, item in ITEMS.items()]
    labels += [(image, 0, value) for image, values in COLLARS.items() for value in values]
    plan: BatchPlan | TripletPlan
    if triplets is None:
        images = np.concatenate(STEPS)
        columns = {"epoch": [0] * 8, "batch": np.repeat([0, 1], 4), "image": images}
        files.write_table(pa.table(columns), folder / "b.parquet", schema=tables.BATCHES)
        plan = BatchPlan(folder / "b.parquet", seed=1)
    else:
        attribute, anchor, positive, negative = zip(*triplets, strict=True)
        slots = {"anchor": anchor, "positive": positive, "negative": negative}
        columns = {"epoch": [0] * len(triplets), "attribute": attribute, **slots}
        files.write_table(pa.table(columns), folder / "t.parquet", schema=tables.TRIPLETS)
        plan = TripletPlan(folder / "t.parquet", triplets_per_batch=len(triplets), seed=1)
    gather = mapped_pixels(store, device=CPU)
    return Feed(plan, gather, labels_table(labels), schema=SCHEMA, device=CPU, **options)


def batches(made: Feed, *, rank: int = 0, world_size: int = 1) -> list[Batch]:
    return [*made.batches(first_step=0, rank=rank, world_size=world_size)]


def items_by_value(batch: Batch) -> list[list[int]]:
    """Returns which of the step's items each image has, as columns of the batch's values."""
    return [row.nonzero().flatten().tolist() for row in batch.values[:, ITEM]]


def test_items_are_counted_among_those_of_the_step(tmp_path, store):
    first, second = batches(feed(tmp_path, store))
    assert first.values.shape == (4, 3, 4), "as wide as a step has images, and not 34,000"
    assert items_by_value(first) == [[2], [0], [0], [1]]
    assert items_by_value(second) == [[2], [], [1], [0]]
    assert first.values[:, 0].tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False] * 4,
        [True, True, False, False],
    ]
    assert first.labelled.tolist() == [
        [True, True, False],
        [True, True, False],
        [False, True, False],
        [True, True, False],
    ]


def test_workers_count_the_items_of_all_workers(tmp_path, store):
    """Or the same item would be one number here and another there."""
    made = feed(tmp_path, store)
    whole = batches(made)[0]
    for rank in range(2):
        part = batches(made, rank=rank, world_size=2)[0]
        assert torch.equal(part.values, whole.values[rank::2])
        assert torch.equal(part.items, whole.items[rank::2])


def test_items_have_a_place_among_those_of_training(tmp_path, store):
    made = feed(tmp_path, store)
    assert made.num_classes == [2, 4, 3]  # 4 items of training; 34,000 numbers were given out
    assert torch.cat([batch.items for batch in batches(made)]).tolist() == [3, 0, 0, 1, 3, -1, 2, 1]


def test_only_what_is_asked_is_asked(tmp_path, store):
    first, _ = batches(feed(tmp_path, store, asked=[ITEM]))
    whole, _ = batches(feed(tmp_path, store))
    assert first.attributes.tolist() == [[ITEM]] * 4
    assert torch.equal(first.values[:, 0], whole.values[:, ITEM])
    assert torch.equal(first.labelled, whole.labelled), "branch 1 names all attributes nonetheless"
    assert torch.equal(first.listed, whole.listed)


def test_listed_values_stand_beside_one_another_and_unknown_ones_are_said_to_be(tmp_path, store):
    first, second = batches(feed(tmp_path, store))
    assert first.listed.tolist()[3] == [True, True, False, False, False]
    assert first.known.tolist() == [
        [True, True, False, False, False],
        [True, True, False, False, False],
        [False] * 5,
        [True, True, False, False, False],
    ]
    assert second.known[1].tolist() == [True, True, False, False, False]


def test_triplets_of_items_are_of_items(tmp_path, store):
    (batch,) = batches(feed(tmp_path, store, triplets=[(ITEM, 1, 2, 0), (0, 0, 3, 1)]))
    assert batch.attributes.flatten().tolist() == [ITEM] * 3 + [0] * 3
    of_items = [row.nonzero().flatten().tolist() for row in batch.values[:3, 0]]
    assert of_items == [[0], [0], [2]]  # of 7, 120 and 33,999
    assert batch.values[3:, 0, :2].tolist() == [[True, False], [True, True], [False, True]]


@pytest.mark.parametrize("number", [2, 3, 4, 100])
def test_candidates_are_the_items_of_the_step_and_random_others(tmp_path, store, number):
    made = feed(tmp_path, store, sampled_items=number)
    for batch, present in zip(batches(made), ({0, 1, 3}, {1, 2, 3}), strict=True):
        candidates = batch.candidates.tolist()
        assert candidates == sorted(set(candidates))
        assert present <= set(candidates) <= {0, 1, 2, 3}
        assert len(candidates) == max(3, min(number, 4))
    drawn = [[b.candidates for b in batches(made, rank=r, world_size=2)] for r in range(2)]
    for of_first, of_second, again in zip(*drawn, batches(made), strict=True):
        assert torch.equal(of_first, of_second)
        assert torch.equal(of_first, again.candidates)


def test_without_a_sample_there_are_no_candidates(tmp_path, store):
    assert [len(batch.candidates) for batch in batches(feed(tmp_path, store))] == [0, 0]


def test_landmarks_are_those_of_the_image(tmp_path, store):
    first, second = batches(feed(tmp_path, store, landmarks=POINTS))
    assert torch.equal(first.landmarks[3], torch.from_numpy(POINTS[1][0]))
    assert torch.equal(second.landmarks[1], torch.from_numpy(POINTS[1][1]))
    assert not first.landmarks[:3].any()
    assert [b.landmarks.shape for b in batches(feed(tmp_path, store))] == [(4, 2, 3)] * 2


def test_parts_of_a_batch_share_its_candidates(tmp_path, store):
    batch = batches(feed(tmp_path, store, sampled_items=4, landmarks=POINTS))[0]
    parts = batch.split(3)
    assert [len(part) for part in parts] == [3, 1]
    assert all(torch.equal(part.candidates, batch.candidates) for part in parts)
    assert torch.equal(torch.cat([part.landmarks for part in parts]), batch.landmarks)
    assert torch.equal(torch.cat([part.items for part in parts]), batch.items)
