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
    has the same number of images. `labels` has columns image, attribute and value.
    """

    def __init__(
        self,
        labels: pa.Table,
        *,
        attributes_per_batch: int,
        values_per_attribute: int,
        images_per_value: int,
    ) -> None:
        by = ["attribute", "value", "image"]  # sorted, or a seed would depend on the rows' order
        frame = labels.select(by).to_pandas().drop_duplicates().sort_values(by)
        self._images_of: dict[int, list[NDArray[np.int64]]] = {}
        for (attribute, _), images in frame.groupby(by[:2])["image"]:
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
        sampled: list[NDArray[np.int64]] = []
        for attribute in rng.permutation(self._attributes)[: self._attributes_per_batch]:
            values = self._images_of[attribute]
            chosen = rng.permutation(len(values))[: self._values_per_attribute]
            sampled += [rng.permutation(values[v])[: self._images_per_value] for v in chosen]
        batch = np.unique(np.concatenate(sampled))
        missing = self.images_per_batch - len(batch)
        if missing:
            others = np.setdiff1d(self._all_images, batch)
            batch = np.concatenate([batch, rng.choice(others, missing, replace=False)])
        return rng.permutation(batch)


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
