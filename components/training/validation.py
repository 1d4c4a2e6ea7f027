"""MAP on the validation split, the work shared out among the workers; whether training learns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from components.evaluation.encode import encode
from components.evaluation.evaluation import evaluate_retrieval, held_out_images, overall_map
from components.evaluation.metrics import bootstrap_interval, gain
from components.evaluation.query_scores import mean_similarity
from components.images.store import ImageStore
from components.images.transforms import normalise
from components.models.network import EmbeddingNetwork
from components.training.plan import Place

_PATIENCE_EPOCHS = 3  # before then, a network may still be warming up
_COLLAPSED = 0.9  # the default of gate.max_mean_similarity


def validate(
    network: EmbeddingNetwork,
    store: ImageStore,
    splits: pa.Table,
    *,
    num_attributes: int,
    asked: Sequence[int],
    place: Place,
    autocast: torch.autocast,
) -> dict[str, float]:
    """Returns figures of the validation split by their columns of the learning curve.

    They are the same on every worker, of the attributes `asked` of all: over their queries, MAP,
    that of a random ranking, and the lower end of the gain's 95 % interval, in percent; and the
    mean similarity of two random embeddings for an attribute, mean over attributes.

    The network is left in evaluation mode; its buffers become those of the first worker.
    """
    network.eval()
    if place.world_size > 1:  # batch statistics are each worker's own; the first one's are saved
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)

    def encoder(pixels: Tensor, attributes_BK: Tensor) -> Tensor:
        with autocast:
            embeddings: Tensor = network(normalise(pixels, network.pixel_statistics), attributes_BK)
            return embeddings

    splits = splits.filter(pc.field("attribute").isin(asked))
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
    results = evaluate_retrieval(splits, "valid", images, embeddings)
    ap_Q, random_Q = (
        np.concatenate([result.scores[name] for result in results.values()])
        for name in ("map", "random_map")
    )
    low, _ = bootstrap_interval(ap_Q, random_Q, statistic=gain)
    similarities = [mean_similarity(embeddings[:, k].astype(np.float64)) for k in asked]
    return {
        "valid_map": overall_map(results),
        "valid_random_map": 100 * float(random_Q.mean()),
        "valid_gain_low": 100 * low,
        "valid_mean_similarity": float(np.mean(similarities)),
    }


def trouble(row: Mapping[str, float], *, epoch: int, num_epochs: int) -> str | None:
    """Returns why a network does not learn, with what usually helps; None where it does.

    Args:
        row: figures of `validate`, and `active_share`.
        epoch: how many epochs it was trained for.
        num_epochs: how many it is trained for in all.
    """
    if epoch < min(_PATIENCE_EPOCHS, num_epochs):
        return None
    similarity = row["valid_mean_similarity"]
    if similarity > _COLLAPSED:
        return (
            f"the embeddings have collapsed: after {epoch} epochs, two random ones have a mean "
            f"similarity of {similarity:.3f}. What usually helps: a lower train.learning_rate, a "
            "longer train.warmup_share, train.max_gradient_norm; instead of triplets, all pairs of "
            "a batch (`hemline preset hemline`)"
        )
    if row["valid_gain_low"] <= 0:
        return (
            f"no better than random after {epoch} epochs: validation MAP {row['valid_map']:.2f}, a "
            f"random ranking {row['valid_random_map']:.2f}, {row['active_share']:.0%} of triplets "
            "or pairs count. What usually helps: another train.learning_rate (a tenth, ten times), "
            "pretrained model.weights, a larger train.margin where few count, all pairs of a batch "
            "instead of triplets (`hemline preset hemline`); `hemline describe` shows "
            "whether the labels are as they should be"
        )
    return None


def _gather_rows(rows: NDArray[np.float32], num_rows: int, *, place: Place) -> NDArray[np.float32]:
    """Returns all rows [num_rows, ...], of which this worker has every W-th from its rank on."""
    parts: list[Any] = [None] * place.world_size
    torch.distributed.all_gather_object(parts, rows)
    gathered = np.empty((num_rows, *rows.shape[1:]), rows.dtype)
    for rank, part in enumerate(parts):
        gathered[rank :: place.world_size] = part
    return gathered
