"""CSN: one embedding of the whole image, and a mask over it for every attribute.

Source: Conditional Similarity Networks, Veit et al., CVPR 2017, section 3; the baseline of the ASEN
and AG-MAN papers, which do not say which stage they pool. Here it is the last one, as in CSN.

Shape letters: B images, K attributes asked of an image, D embedding.
"""

from torch import Tensor

from components.models.backbones import Backbone
from components.models.masks import AttributeMasks
from components.models.triplet_network import TripletNetwork


class CSN(TripletNetwork):
    """Conditional similarity network.

    Args:
        backbone: all stages of which are used.
        num_attributes: attributes of the schema, N.
        embedding_dim: length of an embedding, D.
        normalise_features: BatchNorm on the last stage's map.
        masks: learned or fixed.
    """

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
