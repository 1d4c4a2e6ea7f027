"""AttnFashion: spatial and channel attention, each guided by the attribute's embedding.

Source: Learning attribute-guided fashion similarity with spatial and channel attention, Wan et
al., Journal of Experimental & Theoretical Artificial Intelligence, 2022, whose text could not be
obtained. What is known is its title, and that the AG-MAN paper compares with it as one branch of
two attribute-aware attentions, without hierarchical features or classification. The rest is
inferred: where comes before which channels, as in ASEN; the embedded attribute guides both by
multiplication, where ASEN concatenates in the second; the map is a softmax over positions of a
scaled product; the channel gate is squeeze-and-excite's with a reduction by 16; one linear layer
sets the embedding's width.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of the backbone's third stage, H W positions of its map, E width of the attribute inside
the spatial attention.
"""

import torch
from torch import Tensor, nn

from components.models.asen import OneBranchNetwork
from components.models.attention import AttributeEncoder, ChannelAttention, spatial_softmax


class GuidedSpatialAttention(nn.Module):
    """softmax over positions of Σ_e ReLU(conv(I))_e · ReLU(W a)_e / sqrt(E)."""

    def __init__(self, num_attributes: int, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, kernel_size=1)
        self.encode = AttributeEncoder(num_attributes, width, activation=torch.relu)

    def forward(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]; a map sums to 1."""
        keys_BEHW = self.project(features_BCHW).relu()
        queries_BKE = self.encode(attributes_BK)
        scores_BKHW = torch.einsum("bke,behw->bkhw", queries_BKE, keys_BEHW)
        return spatial_softmax(scores_BKHW / queries_BKE.shape[-1] ** 0.5)


class GuidedChannelAttention(nn.Module):
    """v · g(v · ReLU(W a)), g squeeze and excite."""

    def __init__(self, num_attributes: int, channels: int) -> None:
        super().__init__()
        self.encode = AttributeEncoder(num_attributes, channels, activation=torch.relu)
        self.attention = ChannelAttention(channels)

    def forward(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the vectors with every channel weighted [B, K, C]."""
        return vectors_BKC * self.attention.gate(vectors_BKC * self.encode(attributes_BK))


class AttnFashion(OneBranchNetwork):
    """Attribute-guided spatial, then channel attention, which multiplies."""

    def _attentions(
        self, num_attributes: int, channels: int, width: int
    ) -> tuple[nn.Module, nn.Module]:
        attend = GuidedSpatialAttention(num_attributes, channels, width)
        return attend, GuidedChannelAttention(num_attributes, channels)
