"""Planned batches: balanced, of distinct images, always of one size."""

from collections import Counter

import numpy as np
import pytest
from builders import labels_table
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from components import tables
from components.errors import HemlineError
from components.sampling.batches import BatchSampler, plan_batches

# as in FashionAI: every image has one attribute; 3 attributes of 4 values of 6 images each
DISJOINT = [(image, image // 24, image // 6 % 4) for image in range(72)]
VALUE_OF = {image: (attribute, value) for image, attribute, value in DISJOINT}


def sampler(labels, *, attributes=2, values=3, images=2, identity=None):
    return BatchSampler(
        labels_table(labels),
        attributes_per_batch=attributes,
        values_per_attribute=values,
        images_per_value=images,
        identity=identity,
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_attributes_by_values_by_images(seed):
    batch = sampler(DISJOINT).sample(rng=np.random.default_rng(seed)).tolist()

    per_value = Counter(VALUE_OF[image] for image in batch)
    assert set(per_value.values()) == {2}
    assert sorted(Counter(attribute for attribute, _ in per_value).values()) == [3, 3]
    assert len(set(batch)) == 12


def test_attributes_values_and_images_are_uniform():
    drawing, rng = sampler(DISJOINT), np.random.default_rng(0)
    images = Counter(image for _ in range(2000) for image in drawing.sample(rng=rng).tolist())

    # all alike by symmetry; drawing without replacement only makes the counts more even
    assert images.keys() == set(range(72))
    assert chisquare(list(images.values())).pvalue > 1e-4


def test_rare_and_common_values_are_drawn_equally_often():
    labels = [(image, 0, int(image >= 4)) for image in range(104)]
    drawing, rng = sampler(labels, attributes=1, values=2, images=2), np.random.default_rng(0)

    for _ in range(20):
        assert sum(drawing.sample(rng=rng) < 4) == 2


@given(
    labels=st.sets(
        st.tuples(st.integers(0, 30), st.integers(0, 2), st.integers(0, 3)), min_size=30
    ),
    shape=st.tuples(st.integers(1, 4), st.integers(2, 3), st.integers(2, 3)),
    seed=st.integers(0, 100),
)
def test_every_batch_has_its_size_and_no_image_twice(labels, shape, seed):
    attributes, values, images = shape
    known = {image for image, _, _ in labels}
    assume(attributes * values * images <= len(known))
    try:
        drawing = sampler(sorted(labels), attributes=attributes, values=values, images=images)
    except HemlineError:
        assume(False)
    batch = drawing.sample(rng=np.random.default_rng(seed)).tolist()

    assert len(batch) == drawing.images_per_batch == attributes * values * images
    assert len(set(batch)) == len(batch)
    assert set(batch) <= known


def test_what_an_attribute_cannot_give_is_filled_up_from_all_images():
    labels = [(image, 0, image % 2) for image in range(6)]  # 2 values of 3 images
    labels += [(image, 1, 0) for image in range(6, 30)]  # a single value: not drawn as such
    drawing = sampler(labels, attributes=2, values=2, images=3)
    seen = set()
    for seed in range(30):
        batch = set(drawing.sample(rng=np.random.default_rng(seed)).tolist())
        assert batch >= set(range(6))
        assert len(batch) == 12
        seen |= batch

    assert seen == set(range(30))


@pytest.mark.parametrize("identity", [0, None])
def test_batches_of_items_are_filled_up_with_further_items_and_not_with_singles(identity):
    items = [image // 3 for image in range(300)] + list(range(1000, 1200))  # 200 of one photo
    drawing = sampler(
        [(image, 0, item) for image, item in enumerate(items)],
        attributes=2,  # there is one only
        values=3,
        images=4,
        identity=identity,
    )
    batches = [drawing.sample(rng=np.random.default_rng(seed)).tolist() for seed in range(20)]
    counts = [Counter(items[image] for image in batch) for batch in batches]

    assert all(len(set(batch)) == 24 for batch in batches)
    whole = [Counter(count.values()) == {3: 8} for count in counts]
    assert all(whole) if identity == 0 else not any(whole)


def test_where_items_run_out_images_of_all_fill_up():
    labels = [(image, 0, image // 2) for image in range(8)]
    labels += [(image, 1, image % 2) for image in range(8, 40)]
    drawing = sampler(labels, attributes=2, values=3, images=3, identity=0)
    for seed in range(5):
        batch = drawing.sample(rng=np.random.default_rng(seed)).tolist()
        assert set(batch) >= set(range(8))
        assert len(set(batch)) == 18


def test_values_of_a_single_image_are_not_drawn_as_values():
    labels = [(image, 0, image % 2) for image in range(20)] + [(99, 0, 2)]
    drawing, rng = sampler(labels, attributes=1, values=3, images=2), np.random.default_rng(0)
    # 4 images of the two values; 2 of 17 others fill up, so that 99 comes in 2 of 17 batches
    share = np.mean([99 in drawing.sample(rng=rng) for _ in range(1000)])

    assert share == pytest.approx(2 / 17, abs=0.05)  # five standard deviations


def test_the_order_of_a_batch_does_not_tell_its_values():
    drawing, rng = sampler(DISJOINT), np.random.default_rng(0)
    first_two_alike = np.mean(
        [len({VALUE_OF[i] for i in drawing.sample(rng=rng)[:2].tolist()}) == 1 for _ in range(500)]
    )

    assert first_two_alike == pytest.approx(1 / 11, abs=0.07)  # five standard deviations


@pytest.mark.parametrize("labels", [DISJOINT, [(i % 40, i % 3, i // 7 % 4) for i in range(120)]])
def test_the_order_and_repetition_of_labels_do_not_matter(labels):
    shuffled = [labels[i] for i in np.random.default_rng(0).permutation(len(labels))]
    drawn, again = (
        [sampler(rows).sample(rng=np.random.default_rng(seed)).tolist() for seed in range(5)]
        for rows in (sorted(set(labels)), shuffled + labels[:7])
    )

    assert drawn == again


def test_an_image_that_is_named_twice_is_no_pair():
    labels = [(image, 0, image % 2) for image in range(20)] + [(99, 0, 2), (99, 0, 2)]
    drawing, rng = sampler(labels, attributes=1, values=3, images=2), np.random.default_rng(0)

    # as in the test above: drawn as a value it would be in every batch
    assert np.mean([99 in drawing.sample(rng=rng) for _ in range(200)]) < 0.5


def test_labels_without_pairs_of_two_values_are_an_error():
    with pytest.raises(HemlineError, match="no attribute has two values with two training images"):
        sampler([(0, 0, 0), (1, 0, 0), (2, 0, 1)])


def test_a_batch_larger_than_the_training_images_is_an_error_that_names_the_keys():
    with pytest.raises(HemlineError, match=r"batch of 80 images \(attributes_per_batch x .* 72 "):
        sampler(DISJOINT, attributes=4, values=4, images=5)


def plan(**changes):
    options = {"num_epochs": 3, "batches_per_epoch": 5, "seed": 4} | changes
    return list(plan_batches(sampler(DISJOINT), **options))


def test_an_epoch_is_the_same_however_many_follow():
    assert plan(num_epochs=2) == plan(num_epochs=4)[:2]
    assert plan(seed=5) != plan()


def test_epochs_and_batches_carry_their_numbers():
    for number, epoch in enumerate(plan()):
        assert epoch.schema == tables.BATCHES
        assert set(epoch["epoch"].to_pylist()) == {number}
        assert epoch["batch"].to_pylist() == [batch for batch in range(5) for _ in range(12)]
        images = epoch["image"].to_numpy().reshape(5, 12)
        assert len({tuple(sorted(batch)) for batch in images.tolist()}) == 5
