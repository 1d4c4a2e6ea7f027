"""AG-MAN: two branches on one backbone, one that names the attribute and one that embeds.

Source: Attribute-Guided Multi-Level Attention Network for Fine-Grained Fashion Retrieval,
IEEE Access 2024, section 2 and Fig. 1. Departures: K attributes of an image share one backbone
pass (`attention.py` says how); branch 1 runs in training only, because inference never needs it.
AG-MLAN is the paper's first version (arXiv 2301.13014v1), section 3.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of the backbone's third stage, H W positions of its map.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from components.errors import HemlineError
from components.models.attention import (
    AttributeGuidedChannelAttention,
    AttributeGuidedSpatialAttention,
    ChannelAttention,
    SpatialAttention,
    UniformAttention,
)
from components.models.backbones import Backbone
from components.models.csn import AttributeMasks
from components.models.network import Maps, WeightingNetwork, feature_norm, unit_length


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


class AGMAN(WeightingNetwork):
    """Attribute-guided multi-level attention network; the switches are those of Tables 5 to 8.

    `attention_dim` is the width of the attribute-guided spatial attention, `normalise_features`
    BatchNorm after the 1x1 convolution that reduces the features. The switches:

    - hierarchical: false leaves F3 to both branches, in place of F23 and [F23; F3];
    - classification: false leaves branch 1 out, to which the backbone's last stage goes;
    - asa: false weighs all positions alike;
    - sa: false keeps the first spatial attention's map as it is;
    - spatial_kernel_size: 1 in the paper, 7 in the authors' code;
    - aca: addition or concatenation of vector and encoded attribute, or none;
    - ca: false leaves the channel attention out.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_attributes: int,
        embedding_dim: int,
        attention_dim: int,
        normalise_features: bool,
        hierarchical: bool,
        classification: bool,
        asa: bool,
        sa: bool,
        spatial_kernel_size: int,
        aca: str,
        ca: bool,
    ) -> None:
        super().__init__()
        last_stage, last_channels = backbone.take_last_stage(), backbone.last_channels
        self.backbone = backbone
        self.hierarchy = self.classifier = self.aca = None
        if hierarchical:
            if backbone.mid_channels is None:
                raise HemlineError(
                    "model.hierarchical: the hierarchical feature adds the map of 1/8 of the "
                    "image's side to that of 1/16, and this backbone has no such map: set "
                    "model.hierarchical false, or choose another model.backbone"
                )
            self.hierarchy = HierarchicalFeature(backbone.mid_channels, backbone.channels)
        if classification:
            self.classifier = AttributeClassifier(last_stage, last_channels, num_attributes)
        fused_channels = backbone.channels * (2 if hierarchical else 1)
        self.reduce = nn.Sequential(
            nn.Conv2d(fused_channels, embedding_dim, kernel_size=1),
            feature_norm(embedding_dim, normalise_features=normalise_features),
        )
        self.asa: nn.Module = UniformAttention()
        if asa:
            self.asa = AttributeGuidedSpatialAttention(num_attributes, embedding_dim, attention_dim)
        self.sa = SpatialAttention(spatial_kernel_size) if sa else None
        if aca != "none":
            self.aca = AttributeGuidedChannelAttention(num_attributes, embedding_dim, fusion=aca)
        self.ca = ChannelAttention(embedding_dim) if ca else None

    def features_of(self, maps: Maps) -> Tensor:
        """Returns the map that branch 2 attends to [B, D, H, W]."""
        return self._fuse(maps)[0]

    def attend(self, features_BDHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position, after both spatial attentions [B, K, H, W]."""
        maps_BKHW = self.asa(features_BDHW, attributes_BK)
        return self.sa(features_BDHW, maps_BKHW) if self.sa else maps_BKHW

    def embed_attended(self, vectors_BKD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns branch 2's vectors [B, K, D]."""
        if self.aca:
            vectors_BKD = self.aca(vectors_BKD, attributes_BK)
        return self.ca(vectors_BKD) if self.ca else vectors_BKD

    def forward_branches(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the embeddings [B, K, D] and branch 1's logits, `attributes` [B, N]."""
        features_BDHW, hierarchical = self._fuse(self.maps(images_B3HW))
        embeddings_BKD = unit_length(self.embed(features_BDHW, attributes_BK))
        return embeddings_BKD, (
            {"attributes": self.classifier(hierarchical)} if self.classifier else {}
        )

    def for_inference(self) -> "AGMAN":
        """Returns a copy without branch 1, whose stage of the backbone is most of the weights."""
        network = deepcopy(self)
        network.classifier = None
        return network

    def _fuse(self, maps: Maps) -> tuple[Tensor, Tensor]:
        """Returns branch 2's map [B, D, H, W] and branch 1's [B, C, H, W]."""
        mid, features_BCHW = maps
        if not self.hierarchy:
            return self.reduce(features_BCHW), features_BCHW
        hierarchical = self.hierarchy(mid, features_BCHW)  # F23
        return self.reduce(torch.cat([hierarchical, features_BCHW], dim=1)), hierarchical


class AGMLAN(AGMAN):
    """AG-MAN's predecessor, which masks the embedding (section 3.4) in place of channel attention.

    Its ACA concatenates (Eq. 6).
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_attributes: int,
        embedding_dim: int,
        masks: str,
        **others: Any,
    ) -> None:
        super().__init__(
            backbone, num_attributes=num_attributes, embedding_dim=embedding_dim, ca=False, **others
        )
        self.masks = AttributeMasks(num_attributes, embedding_dim, masks=masks)

    def embed_attended(self, vectors_BKD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns branch 2's vectors, masked [B, K, D]."""
        return self.masks(super().embed_attended(vectors_BKD, attributes_BK), attributes_BK)
