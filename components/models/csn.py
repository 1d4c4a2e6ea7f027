"""The triplet network, one embedding of the whole image, and CSN, which masks it per attribute.

Source: Conditional Similarity Networks, Veit et al., CVPR 2017, section 3. Both are baselines of
the ASEN and AG-MAN papers, which do not say which stage they pool. Here it is the last, as in CSN.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding.
"""

import torch
from torch import Tensor, nn

from components.models.backbones import Backbone
from components.models.network import BackboneNetwork, Maps, feature_norm

_ELSEWHERE = 0.1  # where a learned mask starts outside its attribute's own block


class TripletNetwork(BackboneNetwork):
    """Backbone, global average pooling, one linear layer: the same vector for every attribute.

    `normalise_features` is BatchNorm on the last stage's map.
    """

    def __init__(self, backbone: Backbone, *, embedding_dim: int, normalise_features: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.norm = feature_norm(backbone.last_channels, normalise_features=normalise_features)
        self.linear = nn.Linear(backbone.last_channels, embedding_dim)

    def maps(self, images_B3HW: Tensor) -> Maps:
        """Returns the map of the last stage."""
        return (self.backbone.last_stage(super().maps(images_B3HW)[-1]),)

    def with_pyramid(self, images_B3HW: Tensor) -> tuple[Maps, list[Tensor]]:
        """Returns what `maps` returns, and the last map of each size that was made on the way."""
        (_, third), pyramid = self.backbone.with_pyramid(images_B3HW)
        last = self.backbone.last_stage(third)
        # a transformer's third stage is its last
        return (last,), pyramid if last is third else [*pyramid, last]

    def features_of(self, maps: Maps) -> Tensor:
        """Returns one vector per image [B, D]."""
        return self.linear(self.norm(maps[-1]).mean(dim=(2, 3)))

    def embed(self, features_BD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the image's vector for each attribute [B, K, D]."""
        return features_BD[:, None].expand(-1, attributes_BK.shape[1], -1)


class CSN(TripletNetwork):
    """Conditional similarity network: the triplet network's vector, masked (learned or fixed)."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_attributes: int,
        embedding_dim: int,
        normalise_features: bool,
        masks: str,
    ) -> None:
        super().__init__(
            backbone, embedding_dim=embedding_dim, normalise_features=normalise_features
        )
        self.masks = AttributeMasks(num_attributes, embedding_dim, masks=masks)

    def embed(self, features_BD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the masked vectors [B, K, D]."""
        return self.masks(super().embed(features_BD, attributes_BK), attributes_BK)


class AttributeMasks(nn.Module):
    """m_a = ReLU(beta_a), multiplied with the vectors of attribute a; beta is [N, D].

    Each attribute owns a block of D / N dimensions. Fixed masks are 1 there and 0 elsewhere;
    learned ones start at 1 there and at 0.1 elsewhere, as in AG-MLAN's code (CSN's draws
    N(0.9, 0.7)).
    """

    def __init__(self, num_attributes: int, embedding_dim: int, *, masks: str) -> None:
        super().__init__()
        owner_D = torch.arange(embedding_dim) * num_attributes // embedding_dim
        own_ND = nn.functional.one_hot(owner_D, num_attributes).T.contiguous().float()
        if masks == "learned":
            self.beta = nn.Parameter(own_ND.clamp(min=_ELSEWHERE))
        else:
            self.register_buffer("beta", own_ND)

    def forward(self, vectors_BKD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the masked vectors [B, K, D]."""
        return vectors_BKD * nn.functional.embedding(attributes_BK, self.beta).relu()
