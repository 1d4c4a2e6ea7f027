"""Triplets: always valid, and drawn with the papers' distribution."""

from collections import Counter
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
from builders import labels_table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from components import tables
from components.errors import HemlineError
from components.sampling.triplets import TripletSampler, plan_triplets

# image, attribute, value: values of several sizes, images of two values, of one and both attributes
TOY = [
    *[(image, 0, 0) for image in (0, 1, 2)],
    *[(image, 0, 1) for image in (2, 3)],  # image 2 has both values
    *[(image, 0, 2) for image in (4, 5, 6, 7)],
    (8, 0, 3),  # can be a negative only
    *[(image, 3, 1) for image in (0, 4)],
    *[(image, 3, 5) for image in (1, 5, 9)],
]
LOWEST_P = 1e-4  # seeds are fixed, so a correct sampler does not fail by chance now and then


def draw(labels, count, *, seed=0):
    rng = np.random.default_rng(seed)
    return TripletSampler(labels_table(labels)).sample(count, rng=rng)


def rows_of(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def values_of(labels):
    values = {}
    for image, attribute, value in labels:
        values.setdefault((attribute, image), set()).add(value)
    return values


def is_valid(labels, attribute, anchor, positive, negative):
    values = values_of(labels)
    ours, same, other = (values.get((attribute, i), set()) for i in (anchor, positive, negative))
    return anchor != positive and bool(ours & same) and bool(other) and not other & (ours | same)


def images_by_value(labels):
    grouped = {}
    for image, attribute, value in labels:
        grouped.setdefault(attribute, {}).setdefault(value, []).append(image)
    return grouped


def probabilities(labels):
    """Returns the probability of each triplet, multiplied up along the steps of the papers."""
    result = Counter()
    grouped = images_by_value(labels)
    anchors = {
        attribute: [value for value, images in of_value.items() if len(images) > 1]
        for attribute, of_value in grouped.items()
        if len(of_value) > 1
    }
    anchors = {attribute: values for attribute, values in anchors.items() if values}
    for attribute, values in anchors.items():
        for value in values:
            pairs = list(permutations(grouped[attribute][value], 2))
            others = [v for v in grouped[attribute] if v != value]
            for anchor, positive in pairs:
                weights = Counter()
                for other in others:
                    for negative in grouped[attribute][other]:
                        if is_valid(labels, attribute, anchor, positive, negative):
                            weights[negative] += 1 / len(others) / len(grouped[attribute][other])
                for negative, weight in weights.items():
                    share = weight / weights.total() / len(pairs) / len(values) / len(anchors)
                    result[attribute, anchor, positive, negative] += share
    return result


def naive_triplet(labels, rng):
    """Draws one triplet in the papers' words; begins the negative again where it shares a value."""
    grouped = {a: of_value for a, of_value in images_by_value(labels).items() if len(of_value) > 1}
    attribute = rng.choice(list(grouped))
    of_value = grouped[attribute]
    value = rng.choice([v for v, images in of_value.items() if len(images) > 1])
    anchor, positive = rng.choice(of_value[value], 2, replace=False)
    while True:
        other = rng.choice([v for v in of_value if v != value])
        negative = rng.choice(of_value[other])
        if is_valid(labels, attribute, anchor, positive, negative):
            return tuple(int(x) for x in (attribute, anchor, positive, negative))


labels_of_some_images = st.sets(
    st.tuples(st.integers(0, 7), st.integers(0, 1), st.integers(0, 2)), min_size=1
).map(sorted)


@settings(max_examples=60)
@given(labels=labels_of_some_images, seed=st.integers(0, 1000))
def test_every_triplet_is_valid(labels, seed):
    if not probabilities(labels):
        with pytest.raises(HemlineError):
            draw(labels, 100, seed=seed)
        return
    # the rarest case, one good pair among all attributes, values and pairs: 1 in 2 * 3 * 56
    drawn = rows_of(draw(labels, 5000, seed=seed))
    assert len(drawn) == 5000
    assert all(is_valid(labels, *triplet) for triplet in set(drawn))


def test_the_distribution_of_whole_triplets_is_the_papers():
    expected = probabilities(TOY)
    assert expected.total() == pytest.approx(1)
    assert min(expected.values()) * 60_000 > 5, "enough of each for a chi-square test"
    drawn = Counter(rows_of(draw(TOY, 60_000)))

    assert drawn.keys() == expected.keys(), "every possible triplet, and no other"
    observed = [drawn[triplet] for triplet in expected]
    assert chisquare(observed, [p * 60_000 for p in expected.values()]).pvalue > LOWEST_P


def test_attributes_then_values_then_images_are_uniform():
    drawn = rows_of(draw(TOY, 30_000))
    of_attribute = Counter(row[0] for row in drawn)
    assert chisquare([of_attribute[0], of_attribute[3]]).pvalue > LOWEST_P

    of_value = Counter(row[1] in (0, 4) for row in drawn if row[0] == 3)
    assert chisquare(list(of_value.values())).pvalue > LOWEST_P, "2 and 3 images: equally often"
    for column in (1, 2):
        images = Counter(row[column] for row in drawn if row[0] == 3 and row[1] in (1, 5, 9))
        assert images.keys() == {1, 5, 9}
        assert chisquare(list(images.values())).pvalue > LOWEST_P


def test_no_difference_from_a_naive_rejection_sampler():
    rng = np.random.default_rng(1)
    naive = [naive_triplet(TOY, rng) for _ in range(3000)]
    ours = rows_of(draw(TOY, 3000, seed=2))

    for columns in ([0], [0, 1], [0, 2], [0, 3], [1, 3]):
        counts = [Counter(tuple(row[c] for c in columns) for row in rows) for rows in (naive, ours)]
        keys = sorted(counts[0] | counts[1])
        table = [[count[key] for key in keys] for count in counts]
        assert chi2_contingency(table).pvalue > LOWEST_P


def test_the_number_asked_for_is_drawn():
    assert draw(TOY, 1234).num_rows == 1234
    assert draw(TOY, 0).num_rows == 0


def test_an_image_of_every_value_cannot_have_a_negative():
    labels = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (2, 0, 0), (3, 0, 1), (4, 0, 1)]
    drawn = rows_of(draw(labels, 500))

    assert len(drawn) == 500
    assert all(0 not in row[1:] for row in drawn)


def test_pairs_without_a_negative_do_not_change_how_often_the_others_are_drawn():
    # 0 has every value, so that no pair with it has a negative; 2 has the value of the crowd
    crowd = [(image, 0, 1) for image in range(10, 19)]
    everywhere = [(0, 0, value) for value in range(3)]
    labels = [*everywhere, (1, 0, 0), (2, 0, 0), (2, 0, 1), (3, 0, 2), (4, 0, 2), *crowd]
    expected = probabilities(labels)
    assert expected.total() < 0.9
    assert min(expected.values()) * 50_000 > 5, "enough of each for a chi-square test"
    drawn = Counter(rows_of(draw(labels, 50_000)))

    assert drawn.keys() == expected.keys()
    observed = [drawn[triplet] for triplet in expected]
    shares = [p / expected.total() * 50_000 for p in expected.values()]
    assert chisquare(observed, shares).pvalue > LOWEST_P


def test_rare_negatives_are_drawn_as_common_ones():
    # one in eight proposed negatives shares no value with 0 and 1: an image of a value of one
    # image, or of a value of three
    labels = [(image, 0, value) for image in (0, 1) for value in range(15)]
    labels += [(2, 0, 15), *[(image, 0, 16) for image in (3, 4, 5)]]
    expected = probabilities(labels)
    assert min(expected.values()) * 50_000 > 5, "enough of each for a chi-square test"
    drawn = Counter(rows_of(draw(labels, 50_000)))

    assert drawn.keys() == expected.keys()
    observed = [drawn[triplet] for triplet in expected]
    assert chisquare(observed, [p * 50_000 for p in expected.values()]).pvalue > LOWEST_P


def test_the_order_and_repetition_of_labels_do_not_matter():
    shuffled = [TOY[i] for i in np.random.default_rng(0).permutation(len(TOY))]

    assert draw(shuffled + TOY[:3], 200).equals(draw(TOY, 200))


def test_what_cannot_be_sampled_is_listed():
    labels = [
        *[(0, 0, 0), (1, 0, 0), (2, 0, 1)],  # value 1: a single image
        *[(0, 1, 4), (1, 1, 4), (2, 1, 4)],  # a single value
        *[(0, 2, 0), (1, 2, 1)],  # two values of a single image each
    ]
    sampler = TripletSampler(labels_table(labels))

    assert sampler.left_out.values_with_one_image == [(0, 1), (2, 0), (2, 1)]
    assert sampler.left_out.attributes_with_one_value == [1, 2]
    drawn = rows_of(sampler.sample(100, rng=np.random.default_rng(0)))
    assert {row[0] for row in drawn} == {0}
    assert {row[3] for row in drawn} == {2}, "the single image is a negative"


def test_nothing_is_left_out_where_all_can_be_sampled():
    left_out = TripletSampler(labels_table([row for row in TOY if row[0] != 8])).left_out

    assert left_out.values_with_one_image == []
    assert left_out.attributes_with_one_value == []


@pytest.mark.parametrize(
    "labels",
    [
        [(0, 0, 0), (1, 0, 1)],
        [(0, 0, 0), (1, 0, 0)],
        [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)],  # all share all values
    ],
)
def test_labels_without_any_triplet_are_an_error(labels):
    with pytest.raises(
        HemlineError, match=r"no attribute has two values|no triplet can be sampled"
    ):
        draw(labels, 100)


def plan(**changes):
    options = {"num_epochs": 3, "triplets_per_epoch": 50, "seed": 4} | changes
    return list(plan_triplets(TripletSampler(labels_table(TOY)), **options))


def test_an_epoch_is_the_same_however_many_follow():
    assert plan(num_epochs=2) == plan(num_epochs=5)[:2]


def test_epochs_and_seeds_differ():
    drawn = [epoch.drop(["epoch"]) for epoch in [*plan(), *plan(seed=5)]]

    assert all(not one.equals(other) for one, other in permutations(drawn, 2))


def test_epochs_carry_their_number_and_the_schema():
    for number, epoch in enumerate(plan()):
        assert epoch.schema == tables.TRIPLETS
        assert epoch["epoch"].equals(pa.chunked_array([pa.array([number] * 50, pa.int16())]))
