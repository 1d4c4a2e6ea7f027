"""From planned rows to tensors: pixels and labels, one batch ahead in a thread."""

from collections.abc import Callable, Iterator
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
        values: bool [B, K, V], which values each image has of its K attributes.
    """

    pixels: Tensor
    draws: Tensor
    attributes: Tensor
    labelled: Tensor
    values: Tensor

    def __len__(self) -> int:
        """The number of images."""
        return len(self.pixels)

    def split(self, num_images: int) -> list["Batch"]:
        """Returns batches of so many neighbouring images, the last one perhaps of fewer."""
        columns = {name: tensor.split(num_images) for name, tensor in vars(self).items()}
        parts = zip(*columns.values(), strict=True)
        return [Batch(**dict(zip(columns, part, strict=True))) for part in parts]


Gather = Callable[[NDArray[np.int64]], Tensor]
"""Gives the pixels of images [n] on the device, in the order asked for, uint8 [n, S, S, 3]."""


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

    `labels` has the columns image, attribute and value of the training split.
    """

    def __init__(
        self,
        plan: Plan,
        gather: Gather,
        labels: pa.Table,
        *,
        schema: AttributeSchema,
        device: torch.device,
    ) -> None:
        self._plan = plan
        self._gather = gather
        self._device = device
        self._images, row = np.unique(labels["image"].to_numpy(), return_inverse=True)
        shape = (len(self._images), len(schema.attributes), schema.max_num_values)
        self._values = np.zeros(shape, bool)
        self._values[row, labels["attribute"].to_numpy(), labels["value"].to_numpy()] = True

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
        values_BNV = self._values[np.searchsorted(self._images, images_B)]
        num_attributes = values_BNV.shape[1]
        if rows.attributes is None:
            attributes_BK = np.tile(np.arange(num_attributes), (len(images_B), 1))
            labelled_BN = np.asarray(values_BNV.any(axis=2))
        else:
            slots = rows.images.shape[1]
            attributes_BK = np.repeat(rows.attributes, slots)[:, None]
            values_BNV = np.take_along_axis(values_BNV, attributes_BK[:, :, None], axis=1)
            labelled_BN = np.asarray(np.arange(num_attributes) == attributes_BK)
        return Batch(
            pixels=self._gather(images_B),
            draws=send(rows.draws.reshape(len(images_B), -1), self._device),
            attributes=send(attributes_BK, self._device),
            labelled=send(labelled_BN, self._device),
            values=send(values_BNV, self._device),
        )
