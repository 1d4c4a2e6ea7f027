"""Balanced batches for objectives that compare every image of a batch with every other.

A batch is attributes x values x images: within each of its attributes, several images of each of
several values, so that every image meets positives and negatives.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import tables
from components.errors import HemlineError


class BatchSampler:
    """Samples batches of distinct images, balanced over attributes and values.

    Attributes, then values of each, then images of each are sampled without replacement, uniformly.
    Where an attribute has too few values, a value too few images, or an image serves two
    attributes, the batch is filled up, so that every batch has the same number of images: with
    images of further items, as many of each, where items are one of its attributes, and then with
    images sampled uniformly from all. Items have few images each, and a single one of an item is a
    positive of nothing.

    Args:
        labels: columns image, attribute and value.
        attributes_per_batch: at most so many attributes.
        values_per_attribute: at most so many values of each, and further items.
        images_per_value: at most so many images of each value.
        identity: the attribute whose values are items, where there is one.
    """

    def __init__(
        self,
        labels: pa.Table,
        *,
        attributes_per_batch: int,
        values_per_attribute: int,
        images_per_value: int,
        identity: int | None = None,
    ) -> None:
        by = ["attribute", "value", "image"]  # sorted, or a seed would depend on the rows' order
        frame = labels.select(by).to_pandas().drop_duplicates().sort_values(by)
        self._images_of: dict[int, list[NDArray[np.int64]]] = {}
        attribute_N, value_N, image_N = (frame[name].to_numpy() for name in by)
        starts = np.flatnonzero((np.diff(attribute_N) != 0) | (np.diff(value_N) != 0)) + 1
        of_values = np.split(image_N, starts)
        for start, images in zip([0, *starts.tolist()], of_values, strict=True):
            if len(images) > 1:
                self._images_of.setdefault(int(attribute_N[start]), []).append(images)
        self._attributes = [a for a, values in self._images_of.items() if len(values) > 1]
        self._all_images, self._identity = np.unique(image_N), identity
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
        further: Iterable[NDArray[np.int64]] = ()
        for attribute in rng.permutation(self._attributes)[: self._attributes_per_batch]:
            values = self._images_of[attribute]
            shuffled = rng.permutation(len(values))
            chosen = shuffled[: self._values_per_attribute]
            sampled += [rng.permutation(values[v])[: self._images_per_value] for v in chosen]
            if attribute == self._identity:
                further = map(values.__getitem__, shuffled[self._values_per_attribute :])
        batch = self._filled_up(np.unique(np.concatenate(sampled)), further, rng=rng)
        missing = self.images_per_batch - len(batch)
        if missing:
            others = np.setdiff1d(self._all_images, batch)
            batch = np.concatenate([batch, rng.choice(others, missing, replace=False)])
        return rng.permutation(batch)

    def _filled_up(
        self,
        batch: NDArray[np.int64],
        items: Iterable[NDArray[np.int64]],
        *,
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Returns a batch with images of one item after the other until it is full."""
        for images in items:
            missing = self.images_per_batch - len(batch)
            if not missing:
                break
            new = np.setdiff1d(rng.permutation(images)[: self._images_per_value], batch)
            batch = np.concatenate([batch, new[:missing]])
        return batch


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
