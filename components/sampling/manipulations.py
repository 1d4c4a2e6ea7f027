"""Every manipulation of the training images: an attribute's value is asked to be another.

Source: FashionSearchNet-v2, section 3.3: the positive has all values that the image would have, the
negative is random. Shape letters: n images, N attributes, C values of all attributes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class Manipulated(NamedTuple):
    """Manipulations and an image that satisfies each, and one that does not.

    Attributes:
        anchors: rows of images [m].
        attributes: the attribute that is changed [m].
        values: what it becomes [m], counted over the values of all attributes.
        positives: rows of images [m].
        negatives: rows of images [m].
    """

    anchors: Numbers
    attributes: Numbers
    values: Numbers
    positives: Numbers
    negatives: Numbers


class ManipulationSampler:
    """Samples positives and negatives for every manipulation that can be answered.

    An image is asked for every value that it has not of every attribute that it is labelled for. An
    answer has exactly the values that it would have then, labels that are missing included;
    manipulations without an answer are counted and left out. Memory: 8 bytes for each image and
    value, and 32 for each manipulation.

    Attributes:
        images: the images' numbers, in order; others name them by their place here.
        num_left_out: manipulations that no image answers.
    """

    def __init__(self, labels: pa.Table, *, num_values: Sequence[int]) -> None:
        """Indexes labels (columns image, attribute, value)."""
        self.images, row = np.unique(labels["image"].to_numpy(), return_inverse=True)
        firsts = np.cumsum([0, *num_values[:-1]])
        self.values_of_image = np.zeros((len(self.images), sum(num_values)), bool)
        place = firsts[labels["attribute"].to_numpy()] + labels["value"].to_numpy()
        self.values_of_image[row, place] = True
        # sums of random numbers tell sets of values apart, but for one pair in 2^64
        codes_C = np.random.default_rng(0).integers(2**64, size=sum(num_values), dtype=np.uint64)
        self._code_of_image = (self.values_of_image * codes_C).sum(axis=1, dtype=np.uint64)
        self._by_code = np.argsort(self._code_of_image, kind="stable")
        self._codes = self._code_of_image[self._by_code]
        anchors, attributes, values, targets = [], [], [], []
        for attribute, (first, number) in enumerate(zip(firsts, num_values, strict=True)):
            block = slice(first, first + number)
            has_nV = self.values_of_image[:, block]
            anchor, value = np.nonzero(~has_nV & has_nV.any(axis=1, keepdims=True))
            others_n = self._code_of_image - (has_nV * codes_C[block]).sum(axis=1, dtype=np.uint64)
            anchors.append(anchor)
            attributes.append(np.full(len(anchor), attribute))
            values.append(first + value)
            targets.append(others_n[anchor] + codes_C[first + value])
        self._targets = np.concatenate(targets)
        self._first = np.searchsorted(self._codes, self._targets, side="left")
        self._count = np.searchsorted(self._codes, self._targets, side="right") - self._first
        self._kept = np.flatnonzero(self._count)
        self.num_left_out = len(self._count) - len(self._kept)
        self._asked = tuple(map(np.concatenate, (anchors, attributes, values)))

    def __len__(self) -> int:
        """The number of manipulations that have an answer."""
        return len(self._kept)

    def batches(self, size: int, *, rng: np.random.Generator) -> Iterator[Manipulated]:
        """Yields all manipulations once in random order, each with a positive and a negative.

        Both are uniform: among the images that satisfy it, and among those that do not.
        """
        order = rng.permutation(self._kept)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            chosen = self._first[rows] + rng.integers(self._count[rows])
            anchors, attributes, values = (column[rows] for column in self._asked)
            yield Manipulated(
                anchors,
                attributes,
                values,
                positives=self._by_code[chosen],
                negatives=self._negatives(self._targets[rows], rng),
            )

    def _negatives(self, targets: NDArray[np.uint64], rng: np.random.Generator) -> Numbers:
        """Returns random images, drawn again where they satisfy the target; anchors never do."""
        drawn = rng.integers(len(self.images), size=len(targets))
        while len(wrong := np.flatnonzero(self._code_of_image[drawn] == targets)):
            drawn[wrong] = rng.integers(len(self.images), size=len(wrong))
        return drawn
