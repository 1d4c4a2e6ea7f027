"""Probes: the regression is its definition's, and features are the same however they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
from builders import flip_a_bit, splits_table
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from components import files
from components.images.transforms import normalise
from components.models.grown import LinearProbe, grid_features
from components.models.network import BackboneNetwork
from components.training.probes import (
    FEW_IMAGES,
    RIDGE,
    Features,
    Labels,
    Reading,
    fit_probe,
    map_features,
    reading_of,
    training_labels,
)
from components.training.setup import build_network

torch.set_num_threads(1)

COARSE = Reading(grid_size=3, mirrors=False)
MAPS = (18, 9, 27)  # features of each of three maps
NUM_FEATURES = sum(MAPS)
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # the probe's own precision; it is fitted in float64
OnProgress = Callable[[int], None]
NOT_AUTOCAST = torch.autocast("cpu", torch.bfloat16, enabled=False)


@dataclass(frozen=True)
class Given:
    """Features that a test makes up, of images 0, 1, 2 and so on."""

    rows_nF: NDArray[np.float32]
    map_features: Sequence[int] = MAPS
    reading: Reading = COARSE

    def of(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.rows_nF[images]


def made_up(num_images: int, num_values: int, *, seed: int = 0) -> tuple[Given, Labels]:
    """Returns features of which some say the values, on scales that differ, and labels."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, num_values, num_images)
    values[:num_values] = range(num_values)  # each has an image
    values_nV = np.eye(num_values, dtype=bool)[values]
    seen = values_nV @ rng.normal(size=(num_values, NUM_FEATURES))
    rows = (seen + rng.normal(size=seen.shape)) * rng.uniform(0.1, 9, NUM_FEATURES) + 3
    return Given(rows.astype(np.float32)), labels_of(values_nV)


def labels_of(values_nV: NDArray[np.bool_]) -> Labels:
    return Labels(images_n=np.arange(len(values_nV)), values_nV=values_nV)


def fitted(features: Given, labels: Labels, *, dim: int = 64) -> LinearProbe:
    return fit_probe(features, labels, embedding_dim=dim)  # type: ignore[arg-type]


@torch.no_grad()
def predicted(probe: LinearProbe, rows_nF: NDArray[np.float32]) -> NDArray[np.float64]:
    return probe.double().linear(torch.from_numpy(rows_nF).double()).numpy()


def standardised(features: Given) -> NDArray[np.float64]:
    """Returns features of mean 0; the squares of an image's add up to 1 in the mean, or nearly.

    Every map has the same part in that, and every feature of a map, but for those that hardly
    change: deviations are a thousandth of the map's larger than they are.
    """
    rows_nF = features.rows_nF.astype(np.float64)
    out, start = [], 0
    for num_features in features.map_features:
        columns_Fn = rows_nF[:, start : start + num_features].T
        of_map = (sum(column_n.var() for column_n in columns_Fn) / num_features) ** 0.5
        for column_n in columns_Fn:
            each_n = (column_n - column_n.mean()) / (column_n.std() + of_map / 1000)
            out.append(each_n / (len(features.map_features) * num_features) ** 0.5)
        start += num_features
    return np.stack(out, axis=1)


@pytest.mark.parametrize("num_images", [12, NUM_FEATURES, NUM_FEATURES + 1, 200])
@pytest.mark.parametrize("num_values", [2, 7])
def test_it_is_ridge_regression_with_fewer_and_with_more_images_than_features(
    num_images, num_values
):
    """By scikit-learn, primal and dual, whichever of the two is solved here."""
    features, labels = made_up(num_images, num_values)
    X_nF, Y_nV = standardised(features), labels.values_nV - labels.values_nV.mean(axis=0)
    assert np.square(X_nF).sum(axis=1).mean() == pytest.approx(1, rel=0.02)
    found = predicted(fitted(features, labels), features.rows_nF)
    primal = Ridge(alpha=RIDGE, fit_intercept=False).fit(X_nF, Y_nV).predict(X_nF)
    dual = KernelRidge(alpha=RIDGE, kernel="linear").fit(X_nF, Y_nV).predict(X_nF)
    np.testing.assert_allclose(primal, dual, atol=1e-9)
    np.testing.assert_allclose(found, primal, **FLOAT32)


def test_no_other_weights_have_a_smaller_penalised_error():
    """Of squares, by definition: in whatever direction the weights move, it grows."""
    features, labels = made_up(40, 3)
    X_nF, Y_nV = standardised(features), labels.values_nV - labels.values_nV.mean(axis=0)
    scale_F = X_nF.std(axis=0) / features.rows_nF.astype(np.float64).std(axis=0)
    weights_FV = fitted(features, labels).linear.weight.detach().double().numpy().T
    weights_FV = weights_FV / scale_F[:, None]

    def error(weights_FV: NDArray[np.float64]) -> float:
        total = RIDGE * np.square(weights_FV).sum()
        for image in range(len(X_nF)):
            total += np.square(X_nF[image] @ weights_FV - Y_nV[image]).sum()
        return total

    rng = np.random.default_rng(1)
    for _ in range(20):
        step = rng.normal(size=weights_FV.shape) * 1e-3
        assert error(weights_FV + step) > error(weights_FV) < error(weights_FV - step)


def test_by_hand():
    """Two images, one feature of 0 and 2.002: -1.001 and 1.001, of which a thousandth is 0.001001.

    The values are 1/2 from their mean.
    """
    features = Given(np.array([[0], [2.002]], np.float32), (1,))
    probe = fitted(features, labels_of(np.array([[True, False], [False, True]])))
    share = 1.001 / 1.002001
    weight = -2 * share * 0.5 / (2 * share**2 + 0.2) / 1.002001
    np.testing.assert_allclose(probe.linear.weight.detach(), [[weight], [-weight]], rtol=1e-6)
    bias = -1.001 * weight
    np.testing.assert_allclose(probe.linear.bias.detach(), [bias, -bias], rtol=1e-6)


def test_what_has_no_image_and_what_never_changes_says_nothing():
    features, labels = made_up(60, 4)
    constant = {3: 0, 20: 0.1, 40: 1000.1}  # means of which the last two are rounded
    rows_nF, values_nV = features.rows_nF.copy(), labels.values_nV
    rows_nF[:, [*constant]] = [*constant.values()]
    values_nV = np.insert(values_nV, [1, 4], [[False]], axis=1)
    probe = fitted(Given(rows_nF), labels_of(values_nV))
    weights_VF = probe.linear.weight.detach().abs().numpy()
    assert probe.shape.num_outputs == 6
    assert not weights_VF[[1, 5]].any()
    assert not probe.linear.bias[[1, 5]].any()
    with_images_VF = weights_VF[[0, 2, 3, 4]]
    assert with_images_VF[:, [*constant]].max() < 1e-6
    assert np.delete(with_images_VF, [*constant], axis=1).max(axis=0).min() > 1e-4


def test_a_map_that_never_changes_counts_for_nothing():
    """And the others for as much as they would have counted beside one that does."""
    features, labels = made_up(60, 4)
    rows_nF = features.rows_nF.copy()
    rows_nF[:, MAPS[0] : sum(MAPS[:2])] = 0
    probe = fitted(Given(rows_nF), labels)
    assert not probe.linear.weight[:, MAPS[0] : sum(MAPS[:2])].any()
    X_nF, Y_nV = standardised(features), labels.values_nV - labels.values_nV.mean(axis=0)
    X_nF[:, MAPS[0] : sum(MAPS[:2])] = 0
    expected = Ridge(alpha=RIDGE, fit_intercept=False).fit(X_nF, Y_nV).predict(X_nF)
    np.testing.assert_allclose(predicted(probe, rows_nF), expected, **FLOAT32)


def test_an_unseen_image_that_changes_what_hardly_changed_is_no_other():
    """A feature that moved by a millionth of the others may move as far as they do."""
    features, labels = made_up(60, 4)
    rows_nF = features.rows_nF.copy()
    rows_nF[:, 5] = 1e-6 * rows_nF[:, 5]
    probe = fitted(Given(rows_nF), labels)
    moved_nF = rows_nF.copy()
    moved_nF[:, 5] += 1
    change = np.abs(predicted(probe, moved_nF) - predicted(probe, rows_nF)).max()
    assert change < 0.1  # where values are 0 and 1


def test_an_image_may_have_several_values():
    """Each value is a regression of its own, by which it may be had beside others or not."""
    features, labels = made_up(30, 2)
    both_n = np.arange(30) % 3 == 0
    values_nV = labels.values_nV | both_n[:, None]
    assert set(values_nV.sum(axis=1)) == {1, 2}
    together = fitted(features, labels_of(values_nV))
    for value in range(2):
        alone = fitted(features, labels_of(values_nV[:, [value]]))
        for whole, part in zip(together.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(whole[value], part[0])


def test_images_that_are_there_twice_count_twice():
    """As two errors of which each is squared: half the penalty would give the same."""
    features, labels = made_up(20, 3)
    rows_nF, values_nV = np.tile(features.rows_nF, (2, 1)), np.tile(labels.values_nV, (2, 1))
    twice = fitted(Given(rows_nF), labels_of(values_nV))
    X_nF, Y_nV = standardised(features), labels.values_nV - labels.values_nV.mean(axis=0)
    expected = Ridge(alpha=RIDGE / 2, fit_intercept=False).fit(X_nF, Y_nV).predict(X_nF)
    np.testing.assert_allclose(predicted(twice, features.rows_nF), expected, **FLOAT32)


@pytest.mark.parametrize("num_images", [40, 90])
def test_of_more_values_than_dimensions_the_best_directions_are_kept(num_images):
    """No others of so few have vectors whose products are as close to those of all values.

    Source: Eckart and Young, 1936: those of the largest eigenvalues.
    """
    dim, num_values = 5, 12
    features, labels = made_up(num_images, num_values)
    whole = fitted(features, labels, dim=num_values)
    small = fitted(features, labels, dim=dim)
    assert (whole.shape.num_outputs, small.shape.num_outputs) == (num_values, dim)
    of_all_nV = predicted(whole, features.rows_nF)
    kept_nD = predicted(small, features.rows_nF)
    assert np.linalg.matrix_rank(of_all_nV, tol=1e-4) == num_values - 1, "they add up to nothing"
    eigenvalues, vectors_nn = np.linalg.eigh(of_all_nV @ of_all_nV.T)
    best_nn = (vectors_nn[:, -dim:] * eigenvalues[-dim:]) @ vectors_nn[:, -dim:].T
    np.testing.assert_allclose(kept_nD @ kept_nD.T, best_nn, **FLOAT32)
    unseen, _ = made_up(20, num_values, seed=7)
    of_unseen = predicted(whole, unseen.rows_nF), predicted(small, unseen.rows_nF)
    left = [np.linalg.norm(each, axis=1) for each in of_unseen]
    assert (left[1] < left[0]).all(), "it is a projection for other images too"


def test_similarities_stay_where_values_have_few_directions():
    """Of twelve values whose features lie in a plane, two dimensions have all there is."""
    rng = np.random.default_rng(3)
    values_n = rng.integers(0, 12, 300)
    places_V2 = rng.normal(size=(12, 2))
    rows_nF = places_V2[values_n] @ rng.normal(size=(2, NUM_FEATURES))
    features = Given(rows_nF.astype(np.float32))
    labels = labels_of(np.eye(12, dtype=bool)[values_n])
    whole, small = (fitted(features, labels, dim=dim) for dim in (12, 2))
    with torch.no_grad():
        found = [probe.double()(torch.from_numpy(rows_nF)).numpy() for probe in (whole, small)]
    np.testing.assert_allclose(found[0] @ found[0].T, found[1] @ found[1].T, atol=1e-3)


def test_labels_are_those_of_the_training_split():
    rng = np.random.default_rng(5)
    rows = [
        (int(image), int(attribute), int(value), split, "query")
        for image, attribute, value in rng.integers(0, [30, 3, 6], (200, 3))
        for split in [("train", "valid", "test")[image % 3]]
    ]
    rows += rows[:20]  # the same label twice
    splits = splits_table(rows)
    for attribute in range(3):
        expected: dict[int, set[int]] = {}
        for image, number, value, split, _ in rows:
            if (number, split) == (attribute, "train"):
                expected.setdefault(image, set()).add(value)
        found = training_labels(splits, attribute)
        assert found.images_n.tolist() == sorted(expected)
        for image, has_V in zip(found.images_n.tolist(), found.values_nV, strict=True):
            assert set(np.flatnonzero(has_V)) == expected[image]
        assert any(len(values) > 1 for values in expected.values())
    without = training_labels(splits, 3)
    assert without.values_nV.shape == (0, 0)


NUM_IMAGES = 80  # in three batches
IMAGES = np.arange(7, 7 + 3 * NUM_IMAGES, 3)


class Noise:
    """Pictures of which each is another, by number."""

    def gather(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
        return pixels[images]


@pytest.fixture(scope="module")
def network() -> BackboneNetwork:
    torch.manual_seed(2)
    built = build_network(small_run.MODEL, small_run.SCHEMA).eval()
    built(torch.randn(2, 3, 32, 32), torch.zeros(2, 1, dtype=torch.int64))
    assert isinstance(built, BackboneNetwork)
    return built


def new_features(folder: Path, network: BackboneNetwork) -> Features:
    return Features(
        folder,
        IMAGES,
        reading=COARSE,
        map_features=map_features(network, image_size_px=32, grid_size=3),
    )


def fill(features: Features, network: BackboneNetwork, on_progress: OnProgress = print) -> None:
    features.fill(
        network,
        Noise(),
        autocast=NOT_AUTOCAST,
        device=torch.device("cpu"),
        on_progress=on_progress,
    )


@pytest.fixture(scope="module")
def made(network, tmp_path_factory: pytest.TempPathFactory) -> Features:
    features = new_features(tmp_path_factory.mktemp("made"), network)
    fill(features, network)
    return features


def test_features_are_the_means_of_cells_of_each_map(made, network):
    """Of the maps of 8, 4 and 2 positions a side that the tiny backbone makes of 32 pixels."""
    assert [*made.map_features] == [9 * channels for channels in (16, 24, 32)]
    images = IMAGES[[0, 40, 79]]
    pixels = torch.from_numpy(Noise().gather(images))
    with torch.inference_mode():
        _, pyramid = network.with_pyramid(normalise(pixels, network.pixel_statistics))
    assert [each.shape[-1] for each in pyramid] == [8, 4, 2]
    expected = np.concatenate([each.numpy().reshape(3, -1) for each in map(cells, pyramid)], axis=1)
    np.testing.assert_allclose(made.of(images), expected, rtol=1e-4, atol=1e-5)


def cells(map_BCHW: torch.Tensor) -> torch.Tensor:
    """Returns the means of 3 x 3 cells, which overlap where 3 does not divide the side."""
    side = map_BCHW.shape[-1]
    ends = [(i * side // 3, -(-(i + 1) * side // 3)) for i in range(3)]
    means = [
        map_BCHW[:, :, top:bottom, left:right].mean(dim=(2, 3))
        for top, bottom in ends
        for left, right in ends
    ]
    return torch.stack(means, dim=-1)


def test_any_images_may_be_asked(made):
    every_nF = made.of(IMAGES)
    assert len(np.unique(every_nF, axis=0)) == NUM_IMAGES
    rng = np.random.default_rng(4)
    for num_asked in (0, 1, 32, 33, NUM_IMAGES):
        rows = np.sort(rng.choice(NUM_IMAGES, num_asked, replace=False))
        np.testing.assert_array_equal(made.of(IMAGES[rows]), every_nF[rows])
    np.testing.assert_array_equal(made.of(IMAGES[[9, 9, 3]]), every_nF[[9, 9, 3]])


class InterruptedError(Exception):
    pass


@pytest.mark.parametrize(
    "moment",
    [*product(["reading", "writing", "saying so", "telling"], [0, 1, 2])],
    ids=lambda moment: "-".join(map(str, moment)),
)
def test_what_was_interrupted_ends_with_the_same_bytes(
    made, network, tmp_path, monkeypatch, moment
):
    """After so many batches: while the next is read, before or after it is known as done."""
    place, num_batches = moment
    calls = []

    def interrupt(*_):
        calls.append(1)
        if len(calls) > num_batches:
            raise InterruptedError

    with monkeypatch.context() as patch:
        kind, name = {
            "reading": (Noise, "gather"),
            "writing": (np.memmap, "flush"),
            "saying so": (files, "write_json"),
            "telling": (None, ""),
        }[place]
        if kind is not None:
            go_on = getattr(kind, name)
            patch.setattr(kind, name, lambda *given: interrupt() or go_on(*given))
        first, tell = new_features(tmp_path, network), interrupt if kind is None else print
        with pytest.raises(InterruptedError):
            fill(first, network, tell)
    again, progress = new_features(tmp_path, network), []
    num_done = again.num_done
    assert num_done == 32 * num_batches
    fill(again, network, progress.append)
    assert progress[0] == num_done
    assert sum(progress) == NUM_IMAGES
    np.testing.assert_array_equal(
        again.of(IMAGES).view(np.int32), made.of(IMAGES).view(np.int32), strict=True
    )
    third, progress = new_features(tmp_path, network), []
    fill(third, network, progress.append)
    assert progress == [NUM_IMAGES], "nothing is left"


def test_what_was_filled_before_is_filled_again_where_it_is_damaged(made, network, tmp_path):
    batches = []

    def interrupt(num_images: int) -> None:
        batches.append(num_images)
        if len(batches) > 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fill(new_features(tmp_path, network), network, interrupt)
    flip_a_bit(tmp_path / "features.float32", share=0.1)
    again, progress = new_features(tmp_path, network), []
    fill(again, network, progress.append)
    assert (progress[0], sum(progress)) == (0, NUM_IMAGES)
    np.testing.assert_array_equal(again.of(IMAGES), made.of(IMAGES))


def test_features_of_no_image(tmp_path, network):
    """Where attributes are left out and none is added."""
    features = Features(tmp_path, np.empty(0, np.int64), reading=COARSE, map_features=[9, 18])
    fill(features, network)
    assert features.of(np.empty(0, np.int64)).shape == (0, 27)


@pytest.mark.parametrize(
    ("num_images", "mirrors", "expected"),
    [
        (FEW_IMAGES, True, Reading(grid_size=6, mirrors=True)),
        (FEW_IMAGES, False, Reading(grid_size=6, mirrors=False)),
        (FEW_IMAGES + 1, True, Reading(grid_size=3, mirrors=False)),
    ],
)
def test_few_images_are_read_finer_and_mirrored_where_that_means_the_same(
    num_images, mirrors, expected
):
    assert reading_of(labels_of(np.ones((num_images, 1), bool)), mirrors=mirrors) == expected


@pytest.mark.parametrize("killed_at", [None, 2, 4])
def test_mirror_images_follow_whatever_was_killed(network, tmp_path, killed_at):
    """Of 80 images, the third batch of 32 holds the last and the first of the mirror images."""
    reading = Reading(grid_size=6, mirrors=True)
    of_map = map_features(network, image_size_px=32, grid_size=6)
    assert of_map == [36 * channels for channels in (16, 24, 32)]

    def begin() -> Features:
        return Features(tmp_path, IMAGES, reading=reading, map_features=of_map)

    num_batches = 0

    def kill(num_images: int) -> None:
        nonlocal num_batches
        num_batches += 1
        if num_batches == killed_at:
            raise InterruptedError

    if killed_at:
        with pytest.raises(InterruptedError):
            fill(begin(), network, kill)
    features = begin()
    fill(features, network)
    assert features.num_done == features.num_rows == 2 * NUM_IMAGES
    asked = IMAGES[[3, 40, 79]]
    pixels = torch.from_numpy(Noise().gather(asked))
    both = torch.cat([pixels, torch.from_numpy(pixels.numpy()[:, :, ::-1].copy())])
    with torch.inference_mode():
        _, pyramid = network.with_pyramid(normalise(both, network.pixel_statistics))
    expected = grid_features(pyramid, 6).numpy()
    np.testing.assert_allclose(features.of(asked), expected, rtol=1e-4, atol=1e-5)


def test_a_mirror_image_has_its_images_values():
    """As if it were one more image, with labels of its own."""

    class Mirrored(Given):
        def of(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
            return self.rows_nF[np.concatenate([images, 30 + images])]

    given, labels = made_up(60, 3)
    values_nV = labels.values_nV[:30]
    twice = Mirrored(given.rows_nF, reading=Reading(grid_size=3, mirrors=True))
    mirrored = fitted(twice, labels_of(values_nV))
    plain = fitted(given, labels_of(np.tile(values_nV, (2, 1))))
    assert torch.equal(mirrored.linear.weight, plain.linear.weight)
    assert torch.equal(mirrored.linear.bias, plain.linear.bias)
