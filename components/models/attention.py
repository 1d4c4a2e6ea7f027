"""The four attentions of AG-MAN and AG-MLAN, for several attributes of one image at once.

Source: AG-MAN (IEEE Access 2024), section 2.3, Eq. 1-6 and Fig. 3. The paper attends to one
attribute at a time. Here every module takes K attributes per image, and nothing of shape
[B, K, C, H, W] is made: an attended map is the image's map times one scalar per position, so its
channel mean, channel maximum and sum over positions all follow from the image's map.

Shape letters: B images, K attributes asked of an image, C channels, H W positions of the map,
E width of the attribute embedding inside the spatial attention.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class AttributeEncoder(nn.Module):
    """W a, W an embedding followed by a linear layer, then an activation (Eq. 2 and 5).

    AG-MAN's activation is sigmoid(x) * x, which torch calls SiLU.
    """

    def __init__(
        self,
        num_attributes: int,
        width: int,
        *,
        activation: Callable[[Tensor], Tensor] = nn.functional.silu,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_attributes, width)
        self.linear = nn.Linear(width, width)
        self._activation = activation

    def forward(self, attributes_BK: Tensor) -> Tensor:
        """Returns the encoded attributes [B, K, width]."""
        return self._activation(self.linear(self.embedding(attributes_BK)))


class UniformAttention(nn.Module):
    """Every position counts the same: what is left where a spatial attention is taken out."""

    def forward(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight 1 / (H W) of every position [B, K, H, W]."""
        num_images, _, height, width = features_BCHW.shape
        shape = (num_images, attributes_BK.shape[1], height, width)
        return features_BCHW.new_full(shape, 1 / (height * width))


def spatial_softmax(scores_BKHW: Tensor) -> Tensor:
    """Returns weights that sum to 1 over the positions of each map [B, K, H, W]."""
    return scores_BKHW.flatten(2).softmax(dim=-1).view_as(scores_BKHW)


class AttributeGuidedSpatialAttention(nn.Module):
    """ASA: where in the image does the attribute show? (Eq. 1-3).

    The scores are divided by sqrt(E), as the authors' code does and the paper leaves out.
    W_1 of Eq. 3 is one scalar, as in the authors' code.
    """

    def __init__(self, num_attributes: int, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1), nn.BatchNorm2d(width), nn.Tanh()
        )
        self.encode = AttributeEncoder(num_attributes, width)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position [B, K, H, W]; a map sums to the learned scale."""
        keys_BEHW = self.project(features_BCHW)  # Eq. 1
        queries_BKE = self.encode(attributes_BK)  # Eq. 2
        scores_BKHW = torch.einsum("bke,behw->bkhw", queries_BKE, keys_BEHW)
        scores_BKHW = scores_BKHW / queries_BKE.shape[-1] ** 0.5
        return self.scale * spatial_softmax(scores_BKHW)  # Eq. 3


class SpatialAttention(nn.Module):
    """SA: a second look at the attended map, from its channel mean and maximum (Eq. 4).

    For a map value w at a position, mean_c(w x_c) = w mean_c(x_c), and max_c(w x_c) is
    w max_c(x_c) where w >= 0 and w min_c(x_c) where w < 0.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, features_BCHW: Tensor, maps_BKHW: Tensor) -> Tensor:
        """Returns the given maps, each position weighted again [B, K, H, W]."""
        mean_BKHW = maps_BKHW * features_BCHW.mean(dim=1, keepdim=True)
        highest_B1HW = features_BCHW.amax(dim=1, keepdim=True)
        lowest_B1HW = features_BCHW.amin(dim=1, keepdim=True)
        max_BKHW = maps_BKHW * torch.where(maps_BKHW >= 0, highest_B1HW, lowest_B1HW)
        pooled = torch.stack([mean_BKHW, max_BKHW], dim=2).flatten(0, 1)  # [B*K, 2, H, W]
        return maps_BKHW * self.conv(pooled).sigmoid().view_as(maps_BKHW)


class AttributeGuidedChannelAttention(nn.Module):
    """ACA: which channels of the attended vector speak of the attribute? (Eq. 5-6).

    W_2 of Eq. 6b is one scalar, as in the authors' code. AG-MAN's Eq. 6a adds the encoded attribute
    to the vector (`fusion` addition); AG-MLAN's, and the code of both, set one beside the other
    (`fusion` concatenation).
    """

    def __init__(self, num_attributes: int, channels: int, *, fusion: str) -> None:
        super().__init__()
        self._adds = fusion == "addition"
        self.encode = AttributeEncoder(num_attributes, channels)
        self.gate = nn.Sequential(
            nn.Linear(channels if self._adds else 2 * channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.Sigmoid(),
        )
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the vectors with every channel weighted [B, K, C]."""
        encoded_BKC = self.encode(attributes_BK)  # Eq. 5
        if self._adds:
            fused = encoded_BKC + vectors_BKC
        else:
            fused = torch.cat([encoded_BKC, vectors_BKC], dim=-1)
        gates_BKC = self.gate(fused)  # Eq. 6a
        return vectors_BKC * self.scale * gates_BKC  # Eq. 6b


class ChannelAttention(nn.Module):
    """CA: squeeze and excite on the attended vector (Fig. 3d)."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(channels // reduction, 1)
        self.gate = nn.Sequential(
            nn.Linear(channels, squeezed),
            nn.LeakyReLU(),
            nn.Linear(squeezed, channels),
            nn.Sigmoid(),
        )

    def forward(self, vectors_BKC: Tensor) -> Tensor:
        """Returns the vectors with every channel weighted [B, K, C]."""
        return vectors_BKC * self.gate(vectors_BKC)
