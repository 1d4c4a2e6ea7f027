"""The normalised error of landmarks, against distances worked by hand."""

import numpy as np
import pytest
import torch

from components.evaluation.landmarks import landmark_error, landmark_metrics

NAMES = ("left hem", "right hem", "collar")
IMAGES = np.array([0, 1, 2, 5, 7])
POINTS = np.array(
    [
        [[0.2, 0.2, 1], [0.0, 0.0, 0], [0.5, 0.5, 1]],  # to train with
        [[0.4, 0.2, 1], [0.8, 0.8, 1], [0.0, 0.0, 0]],
        [[0.5, 0.5, 1], [0.5, 0.9, 1], [0.0, 0.0, 0]],  # held out
        [[0.3, 0.2, 1], [0.0, 0.0, 0], [0.0, 0.0, 0]],
        [[0.0, 0.0, 0], [0.0, 0.0, 0], [0.0, 0.0, 0]],
    ],
    np.float32,
)
TRAINED, HELD_OUT = np.array([0, 1, 3]), np.array([2, 5, 6, 7])


class Store:
    """Each picture says its number."""

    def gather(self, images):
        return np.tile(images[:, None, None, None].astype(np.uint8), (1, 4, 4, 3))


def find(pixels):
    """0.3 to the left of the middle in image 2, and 0.4 below it; the middle in all others."""
    points = torch.full((len(pixels), 3, 2), 0.5)
    points[pixels[:, 0, 0, 0] == 2] += torch.tensor([-0.3, 0.4])
    return points


def measured(found=find, *, points=POINTS, **changes):
    options = {"names": NAMES, "trained": TRAINED, "held_out": HELD_OUT} | changes
    return landmark_error(found, Store(), (IMAGES, points), **options)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_errors_are_those_worked_by_hand(batch_size):
    """Of image 2, (0.2, 0.9) is found, of image 5 the middle.

    Mean places: (0.3, 0.2) and (0.8, 0.8).
    """
    left = [0.5, np.hypot(0.2, 0.3)]
    right = [0.3]
    left_mean, right_mean = [np.hypot(0.2, 0.3), 0.0], [np.hypot(0.3, 0.1)]
    assert measured(batch_size=batch_size) == {
        "error": pytest.approx(np.mean(left + right)),
        "mean_place_error": pytest.approx(np.mean(left_mean + right_mean)),
        "num_visible": 3,
        "landmarks": {
            "left hem": {
                "error": pytest.approx(np.mean(left)),
                "mean_place_error": pytest.approx(np.mean(left_mean), abs=1e-6),
                "num_visible": 2,
            },
            "right hem": {
                "error": pytest.approx(0.3),
                "mean_place_error": pytest.approx(right_mean[0]),
                "num_visible": 1,
            },
        },
    }


def test_a_network_that_is_right_has_no_error():
    right = {2: POINTS[2, :, :2], 5: POINTS[3, :, :2]}

    def know(pixels):
        return torch.from_numpy(np.stack([right[int(p[0, 0, 0])] for p in pixels]))

    assert measured(know)["error"] == 0


def test_a_landmark_that_no_training_image_shows_is_not_counted():
    unseen = POINTS.copy()
    unseen[:2, 0, 2] = 0
    assert measured(points=unseen)["landmarks"].keys() == {"right hem"}
    assert measured(points=unseen, trained=np.array([0])) == {}


@pytest.mark.parametrize(
    ("found", "held_out"), [(lambda pixels: None, HELD_OUT), (find, np.array([7, 9]))]
)
def test_without_landmarks_there_are_no_figures(found, held_out):
    assert measured(found, held_out=held_out) == {}


def test_mlflow_gets_the_overall_error():
    assert landmark_metrics({"landmarks": {"error": 0.25}}, prefix="test") == {
        "test/landmark_error": 0.25
    }
    assert landmark_metrics({}, prefix="test") == {}
