"""The losses of what a network gives beside its embeddings, by the names that it has for them."""

from collections.abc import Callable, Mapping

from torch import Tensor

from components.attributes import AttributeSchema
from components.images.augmentation import Augmentation, mirrored_names
from components.losses.combined import (
    attribute_classification_loss,
    value_classification_loss,
    value_naming_loss,
)
from components.losses.landmarks import landmark_loss
from components.training.feed import Batch

AuxiliaryLoss = Callable[[Tensor, Batch], Tensor]
"""(what the network gave, the batch) -> a scalar."""

LANDMARKS = "landmarks"


def auxiliary_losses(
    schema: AttributeSchema, augmentation: Augmentation
) -> Mapping[str, AuxiliaryLoss]:
    """Returns the loss of every output that a network may name.

    - `attributes`: logits [B, N] of the attributes that an image is labelled for (AG-MAN);
    - `map_values`, `branch_values`: logits [B, K, V] of the one value that an image has of each
      attribute asked (FashionSearchNet-v2); items are not classified;
    - `values`: logits [B, L] of all listed values, each a question of its own (AHBN);
    - `landmarks`: heat maps [B, T, M, H, W] of the augmented images (AHBN).
    """
    identity = -1 if schema.identity is None else schema.identity
    mirrored = mirrored_names(schema.landmarks)

    def of_attributes(logits_BN: Tensor, batch: Batch) -> Tensor:
        return attribute_classification_loss(logits_BN, batch.labelled)

    def of_values_asked(logits_BKV: Tensor, batch: Batch) -> Tensor:
        is_listed_BK1 = (batch.attributes != identity)[:, :, None]
        values_BKV = batch.values[:, :, : logits_BKV.shape[2]] & is_listed_BK1
        return value_classification_loss(logits_BKV, values_BKV)

    def of_all_values(logits_BL: Tensor, batch: Batch) -> Tensor:
        return value_naming_loss(logits_BL, batch.listed, batch.known)

    def of_landmarks(heat_maps_BTMHW: Tensor, batch: Batch) -> Tensor:
        height, width = batch.pixels.shape[1:3]
        points_BM3 = augmentation.move(
            batch.landmarks, batch.draws, size_px=(height, width), mirrored=mirrored
        )
        return landmark_loss(heat_maps_BTMHW, points_BM3)

    return {
        "attributes": of_attributes,
        "map_values": of_values_asked,
        "branch_values": of_values_asked,
        "values": of_all_values,
        LANDMARKS: of_landmarks,
    }
