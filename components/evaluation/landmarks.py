"""How far from where they are a network finds landmarks.

The normalised error of a landmark is the distance of the point that is found, over the side of the
square that the network sees. Means are over the visible landmarks of images, as the published error
of a landmark is (DeepFashion, AHBN's Figure 5): images that show more of them weigh more.

Shape letters: n images, B of a batch, M landmarks. Points are x and y as shares of the square.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.images.store import ImageStore

FindLandmarks = Callable[[Tensor], Tensor | None]
"""pixels uint8 [B, S, S, 3] -> points [B, M, 2]; None where the network finds no landmarks."""

Marked = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Numbers of images [n], and points and weights [n, M, 3], as `landmarks_in_square` gives them."""


@torch.inference_mode()
def landmark_error(
    find: FindLandmarks,
    store: ImageStore,
    marked: Marked,
    *,
    names: Sequence[str],
    trained: NDArray[np.int64],
    held_out: NDArray[np.int64],
    batch_size: int = 64,
) -> dict[str, Any]:
    """Returns the mean error of held-out images, overall and by landmark; empty without any.

    `error` is that of the network, `mean_place_error` that of answering with the landmark's mean
    place in the training images, whatever the image shows; `num_visible` is how many landmarks
    they are means over. Landmarks that no training image shows count in neither.

    Args:
        find: the network.
        store: pixels of the images.
        marked: landmarks of images.
        names: of the landmarks.
        trained: numbers of the training images.
        held_out: numbers of the images to measure.
        batch_size: number of images that the network sees at once.
    """
    images_n, points_nM3 = marked
    is_measured_n = np.isin(images_n, held_out) & points_nM3[..., 2].any(axis=1)
    found_nM2 = _found(find, store, images_n[is_measured_n], batch_size=batch_size)
    if found_nM2 is None:
        return {}
    learned_nM3 = points_nM3[np.isin(images_n, trained)].astype(np.float64)
    weights_nM1 = learned_nM3[..., 2:]
    seen_M = weights_nM1.sum(axis=(0, 2))
    places_M2 = (learned_nM3[..., :2] * weights_nM1).sum(axis=0) / np.maximum(seen_M, 1)[:, None]
    wanted_nM3 = points_nM3[is_measured_n]
    counts_nM = (wanted_nM3[..., 2] > 0) & (seen_M > 0)
    if not counts_nM.any():
        return {}
    errors_nM, others_nM = (
        np.linalg.norm(points - wanted_nM3[..., :2], axis=-1) for points in (found_nM2, places_M2)
    )
    return {
        **_means(errors_nM, others_nM, counts_nM),
        "landmarks": {
            name: _means(errors_nM[:, m], others_nM[:, m], counts_nM[:, m])
            for m, name in enumerate(names)
            if counts_nM[:, m].any()
        },
    }


def landmark_metrics(figures: Mapping[str, Any], *, prefix: str) -> dict[str, float]:
    """Returns the error of a report's landmarks by MLflow's name; none where it has none."""
    found = figures.get("landmarks")
    return {f"{prefix}/landmark_error": found["error"]} if found else {}


def _found(
    find: FindLandmarks, store: ImageStore, images_n: NDArray[np.int64], *, batch_size: int
) -> NDArray[np.float32] | None:
    """Returns the points that a network finds in images [n, M, 2]; None where it finds none."""
    parts = []
    for start in range(0, len(images_n), batch_size):
        points = find(torch.from_numpy(store.gather(images_n[start : start + batch_size])))
        if points is None:
            return None
        parts.append(points.float().numpy())
    return np.concatenate(parts) if parts else None


def _means(
    errors: NDArray[np.floating], others: NDArray[np.floating], counts: NDArray[np.bool_]
) -> dict[str, float]:
    return {
        "error": float(errors[counts].mean()),
        "mean_place_error": float(others[counts].mean()),
        "num_visible": int(counts.sum()),
    }
