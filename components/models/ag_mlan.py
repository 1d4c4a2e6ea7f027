"""AG-MLAN: AG-MAN's predecessor, which masks the embedding where AG-MAN attends to channels again.

Source: Attribute-Guided Multi-Level Attention Network for Fine-Grained Fashion Retrieval, first
version (arXiv 2301.13014v1), section 3. It differs from AG-MAN in ACA's concatenation (Eq. 6) and
in the masked embedding (section 3.4) in place of the channel attention.
"""

from typing import Any

from torch import Tensor

from components.models.ag_man import AGMAN
from components.models.backbones import Backbone
from components.models.masks import AttributeMasks


class AGMLAN(AGMAN):
    """Attribute-guided multi-level attention network with a masked embedding.

    Args:
        backbone: as AG-MAN's.
        num_attributes: attributes of the schema, N.
        embedding_dim: length of an embedding, D.
        masks: learned or fixed.
        others: as AG-MAN's, but for `ca`, which this network has not.
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

    def embed(self, features_BDHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns branch 2's vectors, masked [B, K, D]."""
        return self.masks(super().embed(features_BDHW, attributes_BK), attributes_BK)
