"""The triplet network: one embedding of the whole image, the same for every attribute.

The baseline of the ASEN and AG-MAN papers, which do not say which stage they pool; here the last.

Shape letters: B images, K attributes asked of an image, D embedding.
"""

from torch import Tensor, nn

from components.models.backbones import Backbone
from components.models.network import EmbeddingNetwork, feature_norm


class TripletNetwork(EmbeddingNetwork):
    """Backbone, global average pooling, one linear layer.

    Args:
        backbone: all stages of which are used.
        embedding_dim: length of an embedding, D.
        normalise_features: BatchNorm on the last stage's map.
    """

    def __init__(self, backbone: Backbone, *, embedding_dim: int, normalise_features: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.norm = feature_norm(backbone.last_channels, normalise_features=normalise_features)
        self.linear = nn.Linear(backbone.last_channels, embedding_dim)

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns one vector per image [B, D]."""
        last = self.norm(self.backbone.last_stage(self.backbone(images_B3HW)[1]))
        return self.linear(last.mean(dim=(2, 3)))

    def embed(self, features_BD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the image's vector for each attribute [B, K, D]."""
        return features_BD[:, None].expand(-1, attributes_BK.shape[1], -1)
