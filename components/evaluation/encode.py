"""Embeddings of stored images, all attributes of an image in one backbone pass."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Encoder = Callable[[Tensor, Tensor], Tensor]
"""(pixels uint8 [B, S, S, 3], attributes int64 [B, K]) -> embeddings [B, K, D] of unit length."""


class Pictures(Protocol):
    """Images as a network takes them, by number."""

    def gather(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns their pixels [n, S, S, 3]."""


@torch.inference_mode()
def encode(
    encoder: Encoder,
    pictures: Pictures,
    images: NDArray[np.int64],
    *,
    num_attributes: int,
    device: torch.device,
    batch_size: int = 64,
    on_progress: Callable[[int], None] = lambda num_images: None,
) -> NDArray[np.float32]:
    """Returns the embeddings of images [n] for every attribute [n, N, D]."""
    parts = []
    for start in range(0, len(images), batch_size):
        pixels = torch.from_numpy(pictures.gather(images[start : start + batch_size])).to(device)
        attributes_BK = torch.arange(num_attributes, device=device).expand(len(pixels), -1)
        parts.append(encoder(pixels, attributes_BK).float().cpu().numpy())
        on_progress(len(pixels))
    return np.concatenate(parts)
