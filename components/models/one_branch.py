"""What ASEN, its second version and AttnFashion have in common: a map, two attentions, an end.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of the backbone's third stage, H W positions of its map.
"""

from abc import abstractmethod

from torch import Tensor, nn

from components.models.attention import UniformAttention
from components.models.backbones import Backbone
from components.models.network import AttentionNetwork, feature_norm, weighted_sum


class OneBranchNetwork(AttentionNetwork):
    """The third stage's map, attended to by position and then by channel.

    Args:
        backbone: of which the first three stages are used.
        num_attributes: attributes of the schema, N.
        embedding_dim: length of an embedding, D.
        attention_dim: width of the attribute inside the spatial attention.
        normalise_features: BatchNorm on the map.
        asa: false weighs all positions alike.
        aca: `none` leaves the channel attention out.
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
        channels = backbone.channels
        backbone.take_last_stage()
        self.backbone = backbone
        self.norm = feature_norm(channels, normalise_features=normalise_features)
        spatial, channel = self._attentions(num_attributes, channels, attention_dim)
        self.asa = spatial if asa else UniformAttention()
        self.aca = channel if aca != "none" else None
        self.last = self._last(channels, embedding_dim)

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

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns the third stage's map [B, C, H, W]."""
        return self.norm(self.backbone(images_B3HW)[1])

    def attend(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]."""
        return self.asa(features_BCHW, attributes_BK)

    def embed(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the attribute-specific vectors [B, K, D]."""
        vectors_BKC = weighted_sum(self.attend(features_BCHW, attributes_BK), features_BCHW)
        if self.aca is not None:
            vectors_BKC = self.aca(vectors_BKC, attributes_BK)
        return self.last(vectors_BKC)
