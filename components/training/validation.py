"""MAP on the validation split, the work shared out among the workers."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn

from components.evaluation.encode import encode
from components.evaluation.evaluation import evaluate_retrieval, held_out_images, overall_map
from components.images.store import ImageStore
from components.images.transforms import normalise
from components.training.plan import Place


def validate(
    network: nn.Module,
    store: ImageStore,
    splits: pa.Table,
    *,
    num_attributes: int,
    place: Place,
    autocast: torch.autocast,
) -> float:
    """Returns the overall validation MAP in percent, the same on every worker.

    The network is left in evaluation mode; its buffers become those of the first worker.
    """
    network.eval()
    if place.world_size > 1:  # batch statistics are each worker's own; the first one's are saved
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)

    def encoder(pixels: Tensor, attributes_BK: Tensor) -> Tensor:
        with autocast:
            embeddings: Tensor = network(normalise(pixels), attributes_BK)
            return embeddings

    images = held_out_images(splits, "valid")
    embeddings = encode(
        encoder,
        store,
        images[place.rank :: place.world_size],
        num_attributes=num_attributes,
        device=place.device,
    )
    if place.world_size > 1:
        embeddings = _gather_rows(embeddings, len(images), place=place)
    return overall_map(evaluate_retrieval(splits, "valid", images, embeddings))


def _gather_rows(rows: NDArray[np.float32], num_rows: int, *, place: Place) -> NDArray[np.float32]:
    """Returns all rows [num_rows, ...], of which this worker has every W-th from its rank on."""
    parts: list[Any] = [None] * place.world_size
    torch.distributed.all_gather_object(parts, rows)
    gathered = np.empty((num_rows, *rows.shape[1:]), rows.dtype)
    for rank, part in enumerate(parts):
        gathered[rank :: place.world_size] = part
    return gathered
