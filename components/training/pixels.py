"""Where training takes pixels from: the memory map, or a copy in the device's memory."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.errors import HemlineError
from components.images.store import ImageStore

_IMAGES_AT_ONCE = 1024  # of the host's memory while a store is copied to the device


class Pixels(Protocol):
    """Gives the pixels of images [n] on the device, uint8 [n, S, S, 3]."""

    def gather(self, images: NDArray[np.int64]) -> Tensor:
        """Returns the pixels, in the order asked for."""


class MappedPixels:
    """Pixels gathered from the memory map and sent to the device."""

    def __init__(self, store: ImageStore, *, device: torch.device) -> None:
        self._store = store
        self._device = device

    def gather(self, images: NDArray[np.int64]) -> Tensor:
        """Returns the pixels, on their way to the device where that is a GPU."""
        return send(self._store.gather(images), self._device)


class ResidentPixels:
    """Pixels of all images of training in the device's memory, sent there once.

    FashionAI's 144,000 images of 224 px take 21.7 GB.
    """

    def __init__(
        self, store: ImageStore, images: NDArray[np.int64], *, device: torch.device
    ) -> None:
        """Copies the images.

        Raises:
            HemlineError: they do not fit into the device's memory.
        """
        self._images = np.unique(images)
        size = store.image_size_px
        shape = (len(self._images), size, size, 3)
        try:
            self._pixels = torch.empty(shape, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            raise HemlineError(
                f"{len(self._images)} images of {size} px ({np.prod(shape) / 1e9:.1f} GB) do not "
                f"fit into the memory of {device}: train.store_residency mapped"
            ) from error
        for start in range(0, len(self._images), _IMAGES_AT_ONCE):
            part = slice(start, start + _IMAGES_AT_ONCE)
            self._pixels[part] = torch.from_numpy(store.gather(self._images[part])).to(device)

    def gather(self, images: NDArray[np.int64]) -> Tensor:
        """Returns the pixels, gathered on the device."""
        rows = torch.from_numpy(np.searchsorted(self._images, images))
        return self._pixels[rows.to(self._pixels.device, non_blocking=True)]


def send(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Returns an array as a tensor, on its way to the device where that is a GPU."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
