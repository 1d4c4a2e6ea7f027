"""Which images each worker sees at each step."""

import numpy as np
import pyarrow as pa
import pytest

from components import files, tables
from components.errors import HemlineError
from components.images.augmentation import NUM_DRAWS
from components.training.plan import BatchPlan, TripletPlan

NUM_EPOCHS = 3
TRIPLETS_PER_EPOCH = 21  # five batches of four, and one triplet too many
IMAGES_PER_BATCH = 8


def numbered_triplets(epoch: int) -> pa.Table:
    rows = np.arange(TRIPLETS_PER_EPOCH) + 100 * epoch
    slots = {"anchor": rows, "positive": rows + 1000, "negative": rows + 2000}
    return pa.table({"epoch": np.full(len(rows), epoch), "attribute": rows % 5, **slots})


def numbered_batches(epoch: int) -> pa.Table:
    rows = np.arange(5 * IMAGES_PER_BATCH)
    columns = {"batch": rows // IMAGES_PER_BATCH, "image": rows + 100 * epoch}
    return pa.table({"epoch": np.full(len(rows), epoch), **columns})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    triplets, batches = folder / "triplets.parquet", folder / "batches.parquet"
    epochs = range(NUM_EPOCHS)
    files.write_row_groups(map(numbered_triplets, epochs), triplets, schema=tables.TRIPLETS)
    files.write_row_groups(map(numbered_batches, epochs), batches, schema=tables.BATCHES)
    return folder


@pytest.fixture(params=["triplets", "batches"])
def make_plan(request, folder):
    def make(*, seed: int = 3):
        if request.param == "batches":
            return BatchPlan(folder / "batches.parquet", seed=seed)
        return TripletPlan(folder / "triplets.parquet", triplets_per_batch=4, seed=seed)

    return make


def epoch_of(plan, epoch: int, *, world_size: int = 1):
    """Returns images and draws of all steps in global order: row i of a step is rank i mod W's."""
    plan.load_epoch(epoch)
    images, draws = [], []
    for step in range(plan.num_steps):
        shares = [plan.step(step, rank=r, world_size=world_size) for r in range(world_size)]
        images.append(np.stack([share.images for share in shares], axis=1))
        draws.append(np.stack([share.draws for share in shares], axis=1))
    slots = images[0].shape[-1]
    return (
        np.concatenate(images).reshape(-1, slots),
        np.concatenate(draws).reshape(-1, slots, NUM_DRAWS),
    )


def test_steps_follow_the_file_row_by_row(make_plan):
    plan = make_plan()
    assert (plan.num_epochs, plan.num_steps) == (NUM_EPOCHS, 5)
    for epoch in range(NUM_EPOCHS):
        images, _ = epoch_of(plan, epoch)
        rows = np.arange(5 * plan.rows_per_step)[:, None]
        assert (images == rows + 100 * epoch + 1000 * np.arange(images.shape[1])).all()


@pytest.mark.parametrize("world_size", [2, 4])
def test_any_number_of_workers_sees_the_same_global_batches(make_plan, world_size):
    plan = make_plan()
    for epoch in range(NUM_EPOCHS):
        images, draws = epoch_of(plan, epoch, world_size=world_size)
        images_of_one, draws_of_one = epoch_of(plan, epoch)
        assert (images == images_of_one).all()
        assert (draws == draws_of_one).all()


def test_a_worker_gets_an_equal_share_with_its_attributes(folder):
    plan = TripletPlan(folder / "triplets.parquet", triplets_per_batch=4, seed=0)
    rows = plan.step(2, rank=1, world_size=2)
    assert rows.images.tolist() == [[9, 1009, 2009], [11, 1011, 2011]]
    assert rows.attributes.tolist() == [9 % 5, 11 % 5]


def test_batches_ask_for_all_attributes(folder):
    plan = BatchPlan(folder / "batches.parquet", seed=0)
    assert plan.step(0, rank=0, world_size=1).attributes is None


def test_a_step_does_not_depend_on_what_was_asked_before(make_plan):
    seasoned, fresh = make_plan(), make_plan()
    for epoch in (2, 0, 1):
        epoch_of(seasoned, epoch)
    seasoned.step(4, rank=0, world_size=1)
    fresh.load_epoch(1)
    for step in (3, 0):
        expected = fresh.step(step, rank=1, world_size=2)
        actual = seasoned.step(step, rank=1, world_size=2)
        assert (actual.images == expected.images).all()
        assert (actual.draws == expected.draws).all()


def test_draws_are_uniform_and_differ_between_epochs_seeds_rows_and_slots(make_plan):
    plan = make_plan()
    drawn = [epoch_of(plan, epoch)[1] for epoch in range(NUM_EPOCHS)]
    drawn.append(epoch_of(make_plan(seed=4), 0)[1])
    values = np.stack(drawn)
    assert len(np.unique(values)) > 0.99 * values.size
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.03)


def test_fewer_triplets_than_a_batch_is_an_error(folder):
    with pytest.raises(HemlineError, match=r"triplets_per_batch 22 is more than the 21 triplets"):
        TripletPlan(folder / "triplets.parquet", triplets_per_batch=22, seed=0)


def test_a_missing_plan_is_an_error(tmp_path):
    with pytest.raises(HemlineError, match=r"batches\.parquet is missing"):
        BatchPlan(tmp_path / "batches.parquet", seed=0)
