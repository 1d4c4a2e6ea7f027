"""Balanced batches for objectives that compare every image of a batch with every other.

A batch is attributes x values x images: within each of its attributes, several images of each of
several values, so that every image meets positives and negatives.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError


class BatchSampler:
    """Samples batches of distinct images, balanced over attributes and values.

    Attributes, then values of each, then images of each are sampled without replacement, uniformly.
    Where an attribute has too few values, a value too few images, or an image serves two
    attributes, the batch is filled up with images sampled uniformly from all, so that every batch
    has the same number of images.

    Args of the constructor:
        labels: columns image, attribute, value.
        attributes_per_batch: at most as many as there are.
        values_per_attribute: of each sampled attribute.
        images_per_value: of each sampled value.
    """

    def __init__(
        self,
        labels: pa.Table,
        *,
        attributes_per_batch: int,
        values_per_attribute: int,
        images_per_value: int,
    ) -> None:
        cell = ["attribute", "value"]
        frame = labels.select([*cell, "image"]).to_pandas().drop_duplicates()
        # the order of rows would otherwise be part of what a seed gives
        frame = frame.sort_values([*cell, "image"])
        self._images_of: dict[int, list[NDArray[np.int64]]] = {}
        for (attribute, _), images in frame.groupby(cell)["image"]:
            if len(images) > 1:
                self._images_of.setdefault(attribute, []).append(images.to_numpy())
        self._attributes = [a for a, values in self._images_of.items() if len(values) > 1]
        self._all_images = np.unique(frame["image"])
        self._attributes_per_batch = min(attributes_per_batch, len(self._attributes))
        self._values_per_attribute = values_per_attribute
        self._images_per_value = images_per_value
        self.images_per_batch = attributes_per_batch * values_per_attribute * images_per_value
        if not self._attributes:
            raise HemlineError("no attribute has two values with two training images each")
        if self.images_per_batch > len(self._all_images):
            raise HemlineError(
                f"sampling: a batch of {self.images_per_batch} images "
                "(attributes_per_batch x values_per_attribute x images_per_value) "
                f"is more than the {len(self._all_images)} training images"
            )

    def sample(self, *, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns the image numbers of one batch [images_per_batch], in random order."""
        sampled = [
            rng.permutation(images)[: self._images_per_value]
            for attribute in rng.permutation(self._attributes)[: self._attributes_per_batch]
            for images in self._some_values(attribute, rng=rng)
        ]
        batch = np.unique(np.concatenate(sampled))
        missing = self.images_per_batch - len(batch)
        if missing:
            others = np.setdiff1d(self._all_images, batch)
            batch = np.concatenate([batch, rng.choice(others, missing, replace=False)])
        return rng.permutation(batch)

    def _some_values(self, attribute: int, *, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        values = self._images_of[attribute]
        return [values[v] for v in rng.permutation(len(values))[: self._values_per_attribute]]


def plan_batches(
    sampler: BatchSampler, *, num_epochs: int, batches_per_epoch: int, seed: int
) -> Iterator[pa.Table]:
    """Yields the batches of each epoch as `tables.BATCHES`; an epoch depends on (seed, epoch)."""
    for epoch in range(num_epochs):
        rng = np.random.default_rng([seed, epoch])
        sampled = np.stack([sampler.sample(rng=rng) for _ in range(batches_per_epoch)])
        batch = np.repeat(np.arange(batches_per_epoch), sampler.images_per_batch)
        columns = {"epoch": np.full(sampled.size, epoch), "batch": batch, "image": sampled.ravel()}
        yield pa.table(columns).cast(tables.BATCHES)
