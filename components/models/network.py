"""What all networks share: how they are called, and what they promise.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
C channels of a map, H W its positions.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from components.models.backbones import Backbone
from components.networks import IMAGENET_PIXELS, PixelStatistics

Maps = tuple[Tensor, ...]
"""Of a backbone, [B, C, H, W] each; the one that a network reads last is the last."""


class EmbeddingNetwork(nn.Module, ABC):
    """From images and attributes to embeddings.

    Attributes:
        pixel_statistics: what images are normalised with before the network sees them.
    """

    pixel_statistics: PixelStatistics = IMAGENET_PIXELS

    @abstractmethod
    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of unit length.

        Images are normalised, their sides divisible by 32; attributes are int64 in [0, N).
        """

    def forward_branches(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns what `forward` returns, and what else training has a loss for, by its name.

        Training wants both from one backbone pass. `training/auxiliary.py` has the losses; most
        networks have none beside the embeddings'.
        """
        return self(images_B3HW, attributes_BK), {}

    def for_inference(self) -> "EmbeddingNetwork":
        """Returns a network that embeds as this one does, without what only training needs."""
        return self

    def prototypes(self) -> list[Tensor] | None:
        """Returns a vector for every value of each attribute N x [V_a, D], of any length.

        None where the network has learned none.
        """
        return None


class AttentionNetwork(EmbeddingNetwork):
    """A network that says where in the image it looked."""

    @abstractmethod
    def forward_with_maps(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what `forward` returns, and the maps that led to it [B, K, H, W]."""

    def spatial_attention(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position of the map for each attribute [B, K, H, W]."""
        return self.forward_with_maps(images_B3HW, attributes_BK)[1]


class FeatureNetwork(EmbeddingNetwork):
    """A network in two steps: K attributes cost one backbone pass.

    `features` is what is read from an image once; `embed` asks it for any number of attributes.
    """

    @abstractmethod
    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns what `embed` needs of the images."""

    @abstractmethod
    def embed(self, features: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns a vector of any length for each image and attribute [B, K, D]."""

    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of unit length.

        Images are normalised, their sides divisible by 32; attributes are int64 in [0, N).
        """
        return unit_length(self.embed(self.features(images_B3HW), attributes_BK))


class BackboneNetwork(FeatureNetwork):
    """A network that reads maps of its backbone and nothing else of an image.

    So that what another attribute needs can be read in the same pass: `grown.py`.
    """

    backbone: Backbone

    def maps(self, images_B3HW: Tensor) -> Maps:
        """Returns the maps that `features_of` reads."""
        return self.backbone(images_B3HW)

    def with_pyramid(self, images_B3HW: Tensor) -> tuple[Maps, list[Tensor]]:
        """Returns what `maps` returns, and the last map of each size that was made on the way."""
        return self.backbone.with_pyramid(images_B3HW)

    @abstractmethod
    def features_of(self, maps: Maps) -> Tensor:
        """Returns what `embed` needs of the backbone's maps."""

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns what `embed` needs of the images."""
        return self.features_of(self.maps(images_B3HW))


class WeightingNetwork(BackboneNetwork, AttentionNetwork):
    """A network that looks by a weighted sum over the positions of its map."""

    @abstractmethod
    def attend(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position of the map [B, K, H, W]."""

    @abstractmethod
    def embed_attended(self, vectors_BKC: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns what `embed` does, from the attended features [B, K, D]."""

    def embed(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the vectors of the features that each attribute attends to [B, K, D]."""
        return self.embed_with_maps(features_BCHW, attributes_BK)[0]

    def embed_with_maps(
        self, features_BCHW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what `embed` returns, and the maps that led to it [B, K, H, W]."""
        maps_BKHW = self.attend(features_BCHW, attributes_BK)
        vectors_BKC = weighted_sum(maps_BKHW, features_BCHW)
        return self.embed_attended(vectors_BKC, attributes_BK), maps_BKHW

    def forward_with_maps(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what `forward` returns, and the maps that led to it [B, K, H, W]."""
        vectors_BKD, maps_BKHW = self.embed_with_maps(self.features(images_B3HW), attributes_BK)
        return unit_length(vectors_BKD), maps_BKHW

    def spatial_attention(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the weight of every position of the map for each attribute [B, K, H, W]."""
        return self.attend(self.features(images_B3HW), attributes_BK)


def unit_length(vectors_BKD: Tensor) -> Tensor:
    """Returns the vectors divided by their Euclidean length, in float32 even under autocast.

    In bfloat16, lengths would be 0.996 to 1.004. It is the lengths' type that makes the quotient
    float32: a cast of the vectors would be exported as a claim that they are float32 already, and
    the graph would fail under autocast.
    """
    dtype = torch.float64 if vectors_BKD.dtype == torch.float64 else torch.float32
    lengths_BK1 = torch.linalg.vector_norm(vectors_BKD, dim=-1, keepdim=True, dtype=dtype)
    return vectors_BKD / lengths_BK1.clamp_min(1e-12)


def weighted_sum(maps_BKHW: Tensor, features_BCHW: Tensor) -> Tensor:
    """Returns the sum of the features over positions, weighted by each map [B, K, C]."""
    return torch.einsum("bkhw,bchw->bkc", maps_BKHW, features_BCHW)


def feature_norm(channels: int, *, normalise_features: bool) -> nn.Module:
    """Returns BatchNorm for the map that attributes are asked of, or nothing.

    Not in the papers. All images share a large mean feature in an untrained backbone, so that their
    embeddings start at cosines near 0.93, where a loss on cosines learns slowly.
    """
    return nn.BatchNorm2d(channels) if normalise_features else nn.Identity()
