"""AG-MAN: two branches on one backbone, one that names the attribute and one that embeds.

Source: Attribute-Guided Multi-Level Attention Network for Fine-Grained Fashion Retrieval,
IEEE Access 2024, section 2 and Fig. 1. Departures: K attributes of an image share one backbone
pass (`attention.py` says how); branch 1 is a method of its own, because inference never needs it.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of the backbone's third stage, H W positions of its map.
"""

import torch
from torch import Tensor, nn

from components.models.attention import (
    AttributeGuidedChannelAttention,
    AttributeGuidedSpatialAttention,
    ChannelAttention,
    SpatialAttention,
)
from components.models.backbones import ResNetBackbone


class HierarchicalFeature(nn.Module):
    """F23 = F3 + projected, pooled F2: the second stage's detail added to the third's map."""

    def __init__(self, mid_channels: int, channels: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.project = nn.Conv2d(mid_channels, channels, kernel_size=1)

    def forward(self, mid: Tensor, features_BCHW: Tensor) -> Tensor:
        """Returns F23 [B, C, H, W]."""
        return features_BCHW + self.project(self.pool(mid))


class AttributeClassifier(nn.Module):
    """Branch 1: which attribute was the image labelled for? Its task disturbs branch 2's features.

    Fourth stage of the backbone, global average pooling, one linear layer.
    """

    def __init__(self, last_stage: nn.Module, last_channels: int, num_attributes: int) -> None:
        super().__init__()
        self.last_stage = last_stage
        self.linear = nn.Linear(last_channels, num_attributes)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Returns one logit per attribute [B, N]."""
        return self.linear(self.last_stage(features_BCHW).mean(dim=(2, 3)))


class AGMAN(nn.Module):
    """Attribute-guided multi-level attention network.

    `forward` embeds; `spatial_attention` shows where it looked; `forward_branches` serves
    training, which wants both branches from one backbone pass.

    Args:
        backbone: third-stage features and the fourth stage, which branch 1 takes over.
        num_attributes: attributes of the schema, N.
        embedding_dim: length of an embedding, D.
        attention_dim: width of the attribute-guided spatial attention.
        normalise_features: BatchNorm after the 1x1 convolution that reduces the features; not in
            the paper. All images share a large mean feature there, so that with random weights
            their embeddings start at cosines near 0.93, where a loss on cosines learns slowly.
        spatial_kernel_size: of the spatial attention; 1 in the paper, 7 in the authors' code.
    """

    def __init__(
        self,
        backbone: ResNetBackbone,
        *,
        num_attributes: int,
        embedding_dim: int,
        attention_dim: int,
        normalise_features: bool = False,
        spatial_kernel_size: int = 1,
    ) -> None:
        super().__init__()
        last_stage, backbone.last_stage = backbone.last_stage, nn.Identity()
        self.backbone = backbone
        self.hierarchy = HierarchicalFeature(backbone.mid_channels, backbone.channels)
        self.classifier = AttributeClassifier(last_stage, backbone.last_channels, num_attributes)
        self.reduce = nn.Sequential(
            nn.Conv2d(2 * backbone.channels, embedding_dim, kernel_size=1),
            nn.BatchNorm2d(embedding_dim) if normalise_features else nn.Identity(),
        )
        self.asa = AttributeGuidedSpatialAttention(num_attributes, embedding_dim, attention_dim)
        self.sa = SpatialAttention(spatial_kernel_size)
        self.aca = AttributeGuidedChannelAttention(num_attributes, embedding_dim)
        self.ca = ChannelAttention(embedding_dim)

    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of unit length.

        Args:
            images_B3HW: normalised images, sides divisible by 16.
            attributes_BK: which attributes to embed each image for, int64 in [0, N).
        """
        features_BDHW, _ = self._features(images_B3HW)
        return self._embed(features_BDHW, attributes_BK)

    def forward_branches(self, images_B3HW: Tensor, attributes_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `forward` returns, and branch 1's logits [B, N], from one backbone pass."""
        features_BDHW, hierarchical = self._features(images_B3HW)
        return self._embed(features_BDHW, attributes_BK), self.classifier(hierarchical)

    def spatial_attention(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W], after both spatial attentions."""
        features_BDHW, _ = self._features(images_B3HW)
        return self._attend(features_BDHW, attributes_BK)

    def _features(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        mid, features_BCHW = self.backbone(images_B3HW)
        hierarchical = self.hierarchy(mid, features_BCHW)  # F23
        return self.reduce(torch.cat([hierarchical, features_BCHW], dim=1)), hierarchical

    def _attend(self, features_BDHW: Tensor, attributes_BK: Tensor) -> Tensor:
        return self.sa(features_BDHW, self.asa(features_BDHW, attributes_BK))

    def _embed(self, features_BDHW: Tensor, attributes_BK: Tensor) -> Tensor:
        maps_BKHW = self._attend(features_BDHW, attributes_BK)
        vectors_BKD = torch.einsum("bkhw,bdhw->bkd", maps_BKHW, features_BDHW)
        vectors_BKD = self.ca(self.aca(vectors_BKD, attributes_BK))
        return nn.functional.normalize(vectors_BKD, dim=-1)
