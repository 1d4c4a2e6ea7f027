"""From planned rows to tensors: pixels and labels, one batch ahead in a thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.images.store import ImageStore
from components.training.plan import Plan, StepRows

_IMAGES_AT_ONCE = 1024  # of the host's memory while a store is copied to the device


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network sees of one step; B images (a triplet's three are neighbours), K attributes.

    Attributes:
        pixels: uint8 [B, S, S, 3].
        draws: float32 [B, NUM_DRAWS], uniform numbers that decide how images are augmented.
        attributes: int64 [B, K], which attributes each image is embedded for.
        labelled: bool [B, N], which attributes branch 1 is to name.
        values: bool [B, K, V], which values each image has of its K attributes. Items are counted
            anew, from 0, among those of the step's images of all workers.
        listed: bool [B, L], which values each image has, those of one attribute that lists its
            values after those of another.
        known: bool [B, L], whether the image has a label of the value's attribute.
        items: int64 [B], the place of the image's item among all training items; -1: none.
        candidates: int64, ascending, places of the items that those of the batch are told apart
            from; empty: all. It is shared by the images, as is nothing else.
        landmarks: float32 [B, M, 3], x and y as shares of the square, and 1 where it is visible.
    """

    pixels: Tensor
    draws: Tensor
    attributes: Tensor
    labelled: Tensor
    values: Tensor
    listed: Tensor
    known: Tensor
    items: Tensor
    candidates: Tensor
    landmarks: Tensor

    def __len__(self) -> int:
        """The number of images."""
        return len(self.pixels)

    def split(self, num_images: int) -> list["Batch"]:
        """Returns batches of so many neighbouring images, the last one perhaps of fewer."""
        columns = {
            name: tensor.split(num_images)
            for name, tensor in vars(self).items()
            if name != "candidates"
        }
        parts = zip(*columns.values(), strict=True)
        return [
            Batch(candidates=self.candidates, **dict(zip(columns, part, strict=True)))
            for part in parts
        ]


Gather = Callable[[NDArray[np.int64]], Tensor]
"""Gives the pixels of images [n] on the device, in the order asked for, uint8 [n, S, S, 3]."""


Landmarks = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Numbers of images [n], and their points [n, M, 3] as `Batch.landmarks` has them."""


def mapped_pixels(store: ImageStore, *, device: torch.device) -> Gather:
    """Returns what gathers pixels from the memory map and sends them to the device."""
    return lambda images: send(store.gather(images), device)


def resident_pixels(
    store: ImageStore, images: NDArray[np.int64], *, device: torch.device
) -> Gather:
    """Returns what gathers pixels on the device, where those of all images are sent once.

    FashionAI's 144,000 images of 224 px take 21.7 GB.

    Raises:
        HemlineError: they do not fit into the device's memory.
    """
    known = np.unique(images)
    size = store.image_size_px
    shape = (len(known), size, size, 3)
    try:
        pixels = torch.empty(shape, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        raise HemlineError(
            f"{len(known)} images of {size} px ({np.prod(shape) / 1e9:.1f} GB) do not fit into the "
            f"memory of {device}: train.store_residency mapped"
        ) from error
    for start in range(0, len(known), _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        pixels[part] = torch.from_numpy(store.gather(known[part])).to(device)

    def gather(asked: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(np.searchsorted(known, asked))
        return pixels[rows.to(device, non_blocking=True)]

    return gather


def send(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Returns an array as a tensor, on its way to the device where that is a GPU."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


class Feed:
    """Batches of a plan's steps on a device; the plan's epoch is loaded before each `batches`.

    Attributes:
        num_classes: of each attribute, the values that it lists, or the training images' items.
    """

    def __init__(
        self,
        plan: Plan,
        gather: Gather,
        labels: pa.Table,
        *,
        schema: AttributeSchema,
        device: torch.device,
        asked: Sequence[int] | None = None,
        landmarks: Landmarks | None = None,
        sampled_items: int | None = None,
    ) -> None:
        """Indexes labels and landmarks.

        Args:
            plan: which images are of which step.
            gather: gives their pixels.
            labels: columns image, attribute and value of the training split.
            schema: schema of the catalog.
            device: where batches are sent.
            asked: the attributes asked of every image of a planned batch; None: all.
            landmarks: those that are known, of any images.
            sampled_items: how many items to tell those of a step apart from; None: all.
        """
        self._plan = plan
        self._gather = gather
        self._device = device
        self._sampled_items = sampled_items
        self._labels = _Labels(labels, schema)
        num_items = self._labels.num_items
        self.num_classes = [
            num_items if each.is_identity else len(each.values) for each in schema.attributes
        ]
        everything = range(len(schema.attributes))
        self._asked = np.array(everything if asked is None else asked)
        shape = (len(self._labels.images), len(schema.landmarks), 3)
        self._landmarks = np.zeros(shape, np.float32)
        if landmarks is not None:
            numbers, points = landmarks
            is_trained = np.isin(numbers, self._labels.images)
            rows = self._labels.rows(numbers[is_trained])
            self._landmarks[rows] = points[is_trained]

    def batches(self, *, first_step: int, rank: int, world_size: int) -> Iterator[Batch]:
        """Yields this worker's batches of the loaded epoch, the next one made meanwhile."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = None
            for step in range(first_step, self._plan.num_steps):
                rows = self._plan.step(step, rank=rank, world_size=world_size)
                made, ahead = ahead, pool.submit(self._make, rows)
                if made:
                    yield made.result()
            if ahead:
                yield ahead.result()

    def _make(self, rows: StepRows) -> Batch:
        images_B = rows.images.ravel()
        labels, at_B = self._labels, self._labels.rows(images_B)
        in_step = labels.items[labels.rows(rows.images_of_all.ravel())]
        values_BNV = labels.values_in_step(at_B, in_step)
        num_attributes = values_BNV.shape[1]
        if rows.attributes is None:
            attributes_BK = np.tile(self._asked, (len(images_B), 1))
            labelled_BN = np.asarray(values_BNV.any(axis=2))
            values_BKV = values_BNV[:, self._asked]
        else:
            slots = rows.images.shape[1]
            attributes_BK = np.repeat(rows.attributes, slots)[:, None]
            values_BKV = np.take_along_axis(values_BNV, attributes_BK[:, :, None], axis=1)
            labelled_BN = np.asarray(np.arange(num_attributes) == attributes_BK)
        listed_BL, known_BL = labels.listed(at_B)
        arrays = {
            "draws": rows.draws.reshape(len(images_B), -1),
            "attributes": attributes_BK,
            "labelled": labelled_BN,
            "values": values_BKV,
            "listed": listed_BL,
            "known": known_BL,
            "items": labels.items[at_B],
            "candidates": self._candidates(in_step, seed=rows.seed),
            "landmarks": self._landmarks[at_B],
        }
        sent = {name: send(array, self._device) for name, array in arrays.items()}
        return Batch(pixels=self._gather(images_B), **sent)

    def _candidates(self, in_step: NDArray[np.int64], *, seed: Sequence[int]) -> NDArray[np.int64]:
        """Returns the items of a step with random others, ascending; none where all are asked."""
        if self._sampled_items is None:
            return np.empty(0, np.int64)
        present = np.unique(in_step[in_step >= 0])
        others = np.setdiff1d(np.arange(self._labels.num_items), present, assume_unique=True)
        num_others = min(max(self._sampled_items - len(present), 0), len(others))
        drawn = np.random.default_rng(seed).choice(others, num_others, replace=False)
        return np.sort(np.concatenate([present, drawn]))


class _Labels:
    """The labels of training images, an image a row.

    Attributes:
        images: their numbers, ascending.
        items: the place of each image's item among the items; -1 of an image without one.
        num_items: different items.
    """

    def __init__(self, labels: pa.Table, schema: AttributeSchema) -> None:
        image, attribute, value = (
            labels[name].to_numpy() for name in ("image", "attribute", "value")
        )
        self.images, row = np.unique(image, return_inverse=True)
        of_item = attribute == (-1 if schema.identity is None else schema.identity)
        shape = (len(self.images), len(schema.attributes), schema.max_num_values)
        self._values = np.zeros(shape, bool)
        self._values[row[~of_item], attribute[~of_item], value[~of_item]] = True
        items, place = np.unique(value[of_item], return_inverse=True)
        self.items = np.full(len(self.images), -1)
        self.items[row[of_item]] = place
        self.num_items = len(items)
        self._identity = schema.identity
        self._listed_NV = np.arange(schema.max_num_values) < [
            [len(each.values)] for each in schema.attributes
        ]

    def rows(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the rows of images."""
        return np.searchsorted(self.images, images)

    def values_in_step(
        self, rows_B: NDArray[np.int64], in_step: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Returns the values of images [B, N, V], items counted among those of a step."""
        values_BNV = self._values[rows_B]
        if self._identity is None:
            return values_BNV
        more = max(len(in_step) - values_BNV.shape[2], 0)
        values_BNV = np.pad(values_BNV, ((0, 0), (0, 0), (0, more)))
        items_B = self.items[rows_B]
        has_item = np.flatnonzero(items_B >= 0)
        present = np.unique(in_step[in_step >= 0])
        values_BNV[has_item, self._identity, np.searchsorted(present, items_B[has_item])] = True
        return values_BNV

    def listed(self, rows_B: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns which listed values images have, and which they could have [B, L] each."""
        values_BNV = self._values[rows_B]
        known_BNV = np.broadcast_to(values_BNV.any(axis=2, keepdims=True), values_BNV.shape)
        return values_BNV[:, self._listed_NV], known_BNV[:, self._listed_NV]
