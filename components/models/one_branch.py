"""What ASEN, its second version and AttnFashion have in common: a map, two attentions, an end.

Shape letters: B images, K attributes asked of an image, D embedding, C channels of the backbone's
third stage, H W positions of its map.
"""

from torch import Tensor, nn

from components.models.attention import UniformAttention
from components.models.backbones import Backbone
from components.models.network import AttentionNetwork, feature_norm, weighted_sum


class OneBranchNetwork(AttentionNetwork):
    """The third stage's map, attended to by position and then by channel.

    Args:
        backbone: of which the first three stages are used.
        asa: from map and attributes to the weight of every position; None weighs all alike.
        aca: from vectors and attributes to vectors; None leaves them.
        last: from the attended vectors [B, K, C] to the embedding [B, K, D].
        normalise_features: BatchNorm on the map.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        asa: nn.Module | None,
        aca: nn.Module | None,
        last: nn.Module,
        normalise_features: bool,
    ) -> None:
        super().__init__()
        backbone.take_last_stage()
        self.backbone = backbone
        self.norm = feature_norm(backbone.channels, normalise_features=normalise_features)
        self.asa = asa or UniformAttention()
        self.aca = aca
        self.last = last

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
