"""Probes of a frozen network's maps: features computed once, then fitted in closed form.

Shape letters: n images, F features, V values of an attribute, D embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from zlib_ng import zlib_ng

from components import files
from components.evaluation.encode import Pictures
from components.images.transforms import normalise
from components.models.grown import LinearProbe, ProbeShape, grid_features
from components.models.network import BackboneNetwork

RIDGE = 0.2
"""The penalty r for any number of images, whose similarity with themselves is 1: docs/log.md."""

FEW_IMAGES = 1000
"""Up to so many labelled images are read on a finer grid, and mirrored as well (docs/log.md)."""

_BATCH_SIZE = 32
_LEAST_DEVIATION = 1e-3  # of a feature, beside its map's: one that hardly changes says nothing


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The training labels of an attribute: values_nV says which values each of the images has."""

    images_n: NDArray[np.int64]
    values_nV: NDArray[np.bool_]


class Reading(NamedTuple):
    """How features are read: on a grid of how many cells a side, and of mirror images as well."""

    grid_size: int
    mirrors: bool


def reading_of(labels: Labels, *, mirrors: bool) -> Reading:
    """Returns how features are read for labels; `mirrors` says whether mirror images mean the same.

    A finer grid has more to fit, and mirror images take as long again, for nothing where many
    images are labelled.
    """
    is_few = len(labels.images_n) <= FEW_IMAGES
    return Reading(grid_size=6 if is_few else 3, mirrors=is_few and mirrors)


def training_labels(splits: pa.Table, attribute: int) -> Labels:
    """Returns an attribute's labels in the training split, `splits` as `tables.SPLITS`."""
    wanted = (pc.field("split") == "train") & (pc.field("attribute") == attribute)
    rows = splits.filter(wanted)
    images_n, row = np.unique(rows["image"].to_numpy(), return_inverse=True)
    values = rows["value"].to_numpy()
    values_nV = np.zeros((len(images_n), int(values.max(initial=-1)) + 1), bool)
    values_nV[row, values] = True
    return Labels(images_n=images_n, values_nV=values_nV)


def map_features(network: BackboneNetwork, *, image_size_px: int, grid_size: int) -> list[int]:
    """Returns the number of features of each map of a network in evaluation mode; F in all."""
    with torch.inference_mode():
        _, pyramid = network.with_pyramid(torch.zeros(1, 3, image_size_px, image_size_px))
    return [grid_features([each], grid_size).shape[1] for each in pyramid]


class Features:
    """Features of images by the frozen network, in a memory map that is filled once.

    Where they are read of mirror images too, those follow in the same order: n is twice the number
    of images. What a killed run has filled is kept where it is as it was written.

    Attributes:
        num_done: how many rows are filled; the others follow in order.
    """

    def __init__(
        self,
        folder: Path,
        images: NDArray[np.int64],
        *,
        reading: Reading,
        map_features: Sequence[int],
    ) -> None:
        """`map_features` is the number of features of each map, one map after the other."""
        folder.mkdir(parents=True, exist_ok=True)
        self.images, self.reading, self.map_features = images, reading, map_features
        self._progress = folder / "filled.json"
        path, shape = folder / "features.float32", (self.num_rows, sum(map_features))
        self.num_done, self._crc32 = 0, 0
        if self._progress.exists():
            self._rows_nF = np.memmap(path, np.float32, "r+", shape=shape)
            remedy = f"remove {folder}, and run again"
            num_done, crc32 = files.read_json(self._progress, remedy=remedy)
            if zlib_ng.crc32(self._rows_nF[:num_done]) == crc32:
                self.num_done, self._crc32 = num_done, crc32
        else:
            self._rows_nF = np.memmap(path, np.float32, "w+", shape=shape)

    @property
    def num_rows(self) -> int:
        """How many images are read, mirror images among them."""
        return len(self.images) * (2 if self.reading.mirrors else 1)

    def fill(
        self,
        network: BackboneNetwork,
        pictures: Pictures,
        *,
        autocast: torch.autocast,
        device: torch.device,
        on_progress: Callable[[int], None] = lambda num_images: None,
    ) -> None:
        """Computes what is missing."""
        on_progress(self.num_done)
        for start in range(self.num_done, self.num_rows, _BATCH_SIZE):
            rows = np.arange(start, min(start + _BATCH_SIZE, self.num_rows))
            pixels = torch.from_numpy(pictures.gather(self.images[rows % len(self.images)]))
            is_mirrored = torch.from_numpy(rows >= len(self.images))[:, None, None, None]
            pixels = torch.where(is_mirrored, pixels.flip(2), pixels).to(device)
            with torch.inference_mode(), autocast:
                _, pyramid = network.with_pyramid(normalise(pixels, network.pixel_statistics))
                found_BF = grid_features(pyramid, self.reading.grid_size).float()
            features_BF = np.ascontiguousarray(found_BF.cpu())
            self._rows_nF[rows] = features_BF
            self._rows_nF.flush()
            self.num_done = int(rows[-1]) + 1
            self._crc32 = zlib_ng.crc32(features_BF, self._crc32)
            files.write_json([self.num_done, self._crc32], self._progress)
            on_progress(len(rows))

    def of(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the features of some images [n, F]; those of their mirror images follow."""
        rows = np.searchsorted(self.images, images)
        if self.reading.mirrors:
            rows = np.concatenate([rows, len(self.images) + rows])
        return np.asarray(self._rows_nF[rows])


def fit_probe(features: Features, labels: Labels, *, embedding_dim: int) -> LinearProbe:
    """Returns the probe whose predictions of the values are closest in squares, with a penalty.

    With X the features and Y the values, both of mean 0, the weights are X'(XX' + r I)^-1 Y, which
    equals (X'X + r I)^-1 X'Y: whichever is smaller is solved. Features are scaled so that every map
    counts alike, whatever its number of channels, and the diagonal of XX' has the mean 1.
    Of more values than the embedding has dimensions, the directions are kept in which the
    predictions of the training images vary most.
    """
    X_nF = features.of(labels.images_n).astype(np.float64)
    Y_nV = np.tile(labels.values_nV.astype(np.float64), (2 if features.reading.mirrors else 1, 1))
    mean_F, mean_V = X_nF.mean(axis=0), Y_nV.mean(axis=0)
    scale_F = _scales(X_nF.std(axis=0), features.map_features)
    X_nF = (X_nF - mean_F) * scale_F
    Y_nV -= mean_V
    num_images, num_features = X_nF.shape
    if num_images <= num_features:
        weights_FV = X_nF.T @ _solved(X_nF @ X_nF.T, Y_nV)
    else:
        weights_FV = _solved(X_nF.T @ X_nF, X_nF.T @ Y_nV)
    if weights_FV.shape[1] > embedding_dim:
        directions = np.linalg.svd(X_nF @ weights_FV, full_matrices=False)[2][:embedding_dim]
        weights_FV = weights_FV @ directions.T
    weights_FV *= scale_F[:, None]
    shape = ProbeShape(features.reading.grid_size, num_features, weights_FV.shape[1])
    probe = LinearProbe(shape, embedding_dim)
    with torch.no_grad():
        probe.linear.weight.copy_(torch.from_numpy(weights_FV.T))
        probe.linear.bias.copy_(torch.from_numpy(-mean_F @ weights_FV))
    return probe


def _scales(deviation_F: NDArray[np.float64], map_features: Sequence[int]) -> NDArray[np.float64]:
    """Returns what features are multiplied by, so that their squares sum to about 1, a map's alike.

    A map whose features never change counts for nothing.
    """
    scales = []
    for deviation in np.split(deviation_F, np.cumsum(map_features)[:-1]):
        least = _LEAST_DEVIATION * np.sqrt(np.square(deviation).mean())
        share = 1 / np.sqrt(len(map_features) * len(deviation))
        scales.append(share / np.where(least > 0, deviation + least, np.inf))
    return np.concatenate(scales)


def _solved(kernel: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the solution of (kernel + r I) x = right."""
    kernel[np.diag_indices_from(kernel)] += RIDGE
    solution: NDArray[np.float64] = cho_solve(cho_factor(kernel, overwrite_a=True), right)
    return solution
