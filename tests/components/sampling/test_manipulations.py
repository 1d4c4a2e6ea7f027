"""Manipulations against a loop over images, attributes and values."""

import numpy as np
import pyarrow as pa
import pytest

from components.sampling.manipulations import ManipulationSampler

NUM_VALUES = [2, 3, 2]
FIRSTS = [0, 2, 5]
Labels = dict[int, set[tuple[int, int]]]


def as_table(labels: Labels) -> pa.Table:
    rows = [(image, *label) for image, of in labels.items() for label in sorted(of)]
    names = ("image", "attribute", "value")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def random_labels(num_images: int, *, seed: int) -> Labels:
    """Images with one value of most attributes, none of some, two of a few."""
    rng = np.random.default_rng(seed)
    labels: Labels = {}
    for image in range(num_images):
        numbers = [rng.choice(3, p=[0.1, 0.8, 0.1]) for _ in NUM_VALUES]
        of = {
            (a, int(v))
            for a, number in enumerate(numbers)
            for v in rng.permutation(NUM_VALUES[a])[:number]
        }
        labels[10 * image + 3] = of or {(0, 0)}
    return labels


def every_manipulation(labels: Labels) -> dict[tuple[int, int, int], set[int]]:
    """Image, attribute and value of each, and the images that have exactly what is asked."""
    answers = {}
    for image, of in labels.items():
        for attribute, number in enumerate(NUM_VALUES):
            had = {label for label in of if label[0] == attribute}
            for value in range(number):
                if had and (attribute, value) not in had:
                    target = of - had | {(attribute, value)}
                    answers[image, attribute, value] = {i for i in labels if labels[i] == target}
    return answers


@pytest.mark.parametrize("seed", range(3))
def test_every_manipulation_with_an_answer_comes_once_with_one(seed):
    labels = random_labels(60, seed=seed)
    sampler = ManipulationSampler(as_table(labels), num_values=NUM_VALUES)
    answers = every_manipulation(labels)
    wanted = {asked for asked, images in answers.items() if images}
    assert 0 < len(wanted) < len(answers)
    assert len(sampler) == len(wanted)
    assert sampler.num_left_out == len(answers) - len(wanted)
    seen = []
    for batch in sampler.batches(16, rng=np.random.default_rng(1)):
        assert len(batch.anchors) <= 16
        for anchor, attribute, row, positive, negative in zip(*batch, strict=True):
            value = int(row) - FIRSTS[attribute]
            asked = (int(sampler.images[anchor]), int(attribute), value)
            assert int(sampler.images[positive]) in answers[asked]
            assert int(sampler.images[negative]) not in answers[asked]
            seen.append(asked)
    assert sorted(seen) == sorted(wanted)
    assert seen != sorted(seen)


def test_positives_and_negatives_are_uniform_among_those_possible():
    """Of one image asked to be another's like: three answers, and itself and one more are none."""
    labels = {0: {(0, 0)}, 1: {(0, 1)}, 2: {(0, 1)}, 3: {(0, 1)}, 4: {(1, 0)}}
    sampler = ManipulationSampler(as_table(labels), num_values=[2, 1])
    rng = np.random.default_rng(0)
    positives, negatives = np.zeros(5), np.zeros(5)
    for _ in range(900):
        (batch,) = sampler.batches(8, rng=rng)
        (row,) = np.flatnonzero(batch.anchors == 0)
        positives[batch.positives[row]] += 1
        negatives[batch.negatives[row]] += 1
    assert positives[[0, 4]].tolist() == [0, 0]
    assert positives[1:4].min() > 250  # of 300 expected; a deviation of 14 is usual
    assert negatives[1:4].tolist() == [0, 0, 0]
    assert negatives[[0, 4]].min() > 390  # of 450


def test_the_same_generator_gives_the_same_batches():
    labels = as_table(random_labels(40, seed=5))
    sampler = ManipulationSampler(labels, num_values=NUM_VALUES)
    first, again = (list(sampler.batches(32, rng=np.random.default_rng(4))) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        assert all(map(np.array_equal, left, right))
