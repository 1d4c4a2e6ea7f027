"""ASEN: one branch, with a spatial and a channel attention that both know the attribute.

Source: Fine-Grained Fashion Similarity Learning by Attribute-Specific Embedding Network, AAAI 2020,
Eq. 1-8; ASEN_V2 after the description of the authors' second version, which has no paper.
Departures: K attributes of an image share one backbone pass and no map is made per attribute.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of the backbone's third stage, H W positions of its map, E width of the attribute inside
the spatial attention.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from components.errors import HemlineError
from components.models.attention import AttributeEncoder, UniformAttention, spatial_softmax
from components.models.backbones import Backbone
from components.models.network import Maps, WeightingNetwork, feature_norm

_REDUCTION = 2  # of the channel attention's hidden layer: 1024 to 512


class AttributeAwareSpatialAttention(nn.Module):
    """ASA of the paper: the score of a position is learned from p(a) * p(I) (Eq. 1-3)."""

    def __init__(self, num_attributes: int, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, kernel_size=1)
        self.embedding = nn.Embedding(num_attributes, width)
        self.score = nn.Linear(width, 1)

    def forward(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]; a map sums to 1."""
        keys_BEHW = self.project(features_BCHW).tanh()  # Eq. 1
        queries_BKE = self.embedding(attributes_BK).tanh()  # Eq. 2
        # Conv_1 of Eq. 3 is linear, so that its weights can go to the attribute's side
        weighted_BKE = queries_BKE * self.score.weight
        scores_BKHW = torch.einsum("bke,behw->bkhw", weighted_BKE, keys_BEHW) + self.score.bias
        return spatial_softmax(scores_BKHW.tanh())  # Eq. 3


class ScaledSpatialAttention(nn.Module):
    """ASA of the second version: BatchNorm before tanh, and a scaled dot product as the score."""

    def __init__(self, num_attributes: int, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1), nn.BatchNorm2d(width), nn.Tanh()
        )
        self.encode = AttributeEncoder(num_attributes, width, activation=torch.tanh)

    def forward(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]; a map sums to 1."""
        keys_BEHW = self.project(features_BCHW)
        queries_BKE = self.encode(attributes_BK)
        scores_BKHW = torch.einsum("bke,behw->bkhw", queries_BKE, keys_BEHW)
        return spatial_softmax(scores_BKHW / queries_BKE.shape[-1] ** 0.5)


class AttributeAwareChannelAttention(nn.Module):
    """ACA: which channels of the attended vector speak of the attribute? (Eq. 5-7).

    `encode` goes from attributes to q(a) [B, K, encoded_dim] (Eq. 5); `encoded_dim` is C in the
    paper, C / 2 in the second version.
    """

    def __init__(self, encode: nn.Module, *, encoded_dim: int, channels: int) -> None:
        super().__init__()
        hidden = channels // _REDUCTION
        self.encode = encode
        self.gate = nn.Sequential(
            nn.Linear(encoded_dim + channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )

    def forward(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the vectors with every channel weighted [B, K, C]."""
        fused = torch.cat([self.encode(attributes_BK), vectors_BKC], dim=-1)
        return vectors_BKC * self.gate(fused)  # Eq. 6 and 7


class OneBranchNetwork(WeightingNetwork):
    """The third stage's map, attended to by position and then by channel; the rest is a subclass's.

    `asa` false weighs all positions alike, `aca` none leaves the channel attention out.
    `attention_dim` is E, `normalise_features` BatchNorm on the map.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_attributes: int,
        embedding_dim: int,
        attention_dim: int,
        normalise_features: bool,
        asa: bool,
        aca: str,
    ) -> None:
        super().__init__()
        backbone.take_last_stage()
        self.backbone = backbone
        self.norm = feature_norm(backbone.channels, normalise_features=normalise_features)
        spatial, channel = self._attentions(num_attributes, backbone.channels, attention_dim)
        self.asa = spatial if asa else UniformAttention()
        self.aca = channel if aca != "none" else None
        self.last = self._last(backbone.channels, embedding_dim)

    @abstractmethod
    def _attentions(
        self, num_attributes: int, channels: int, width: int
    ) -> tuple[nn.Module, nn.Module]:
        """Returns both attentions.

        The first goes from map and attributes to the weight of every position, the second from
        vectors and attributes to vectors.
        """

    def _last(self, channels: int, embedding_dim: int) -> nn.Module:
        """Returns what makes the embedding [B, K, D] of the attended vectors [B, K, C]."""
        return nn.Linear(channels, embedding_dim)

    def features_of(self, maps: Maps) -> Tensor:
        """Returns the third stage's map [B, C, H, W]."""
        return self.norm(maps[-1])

    def attend(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]."""
        return self.asa(features_BCHW, attributes_BK)

    def embed_attended(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the attribute-specific vectors [B, K, D]."""
        if self.aca is not None:
            vectors_BKC = self.aca(vectors_BKC, attributes_BK)
        return self.last(vectors_BKC)


class ASEN(OneBranchNetwork):
    """Attribute-specific embedding network; the switches are those of the paper's Tables 1 to 3."""

    def _attentions(
        self, num_attributes: int, channels: int, width: int
    ) -> tuple[nn.Module, nn.Module]:
        encode = nn.Sequential(nn.Embedding(num_attributes, channels), nn.ReLU())  # Eq. 5
        attend = AttributeAwareSpatialAttention(num_attributes, channels, width)
        gate = AttributeAwareChannelAttention(encode, encoded_dim=channels, channels=channels)
        return attend, gate  # Eq. 8 is the last layer


class ASENV2(OneBranchNetwork):
    """The authors' second version: the embedding is the attended vector itself, so that D is C."""

    def _attentions(
        self, num_attributes: int, channels: int, width: int
    ) -> tuple[nn.Module, nn.Module]:
        hidden = channels // _REDUCTION
        encode = AttributeEncoder(num_attributes, hidden, activation=torch.relu)
        attend = ScaledSpatialAttention(num_attributes, channels, width)
        gate = AttributeAwareChannelAttention(encode, encoded_dim=hidden, channels=channels)
        return attend, gate

    def _last(self, channels: int, embedding_dim: int) -> nn.Module:
        if embedding_dim != channels:
            raise HemlineError(
                f"model.embedding_dim: the embedding of asen_v2 is its backbone's third map, "
                f"{channels} channels wide (got {embedding_dim}); set it to {channels}"
            )
        return nn.Identity()
