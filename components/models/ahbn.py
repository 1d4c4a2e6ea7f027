"""AHBN: how a garment is described times where it is looked at, for the same product in a shop.

Source: AHBN, sections III-A to III-D, Eq. 3-8 and algorithm 1: an attribute branch and a landmark
branch, each of which says which of its channels, and of the other's, count; the products of their
channels; one vector of the whole image, whatever is asked. Departures:

- the attribute branch is the project's backbone, in place of Inception-ResNet-v2;
- both branches see the same image; the paper resizes one crop to 299 and to 256 pixels;
- a grid that a map cannot give is interpolated: 8 x 8 of an image of less than 256 pixels;
- the descriptor is brought to unit length, as every embedding here: the paper's is of any length;
- the signed square root is sign(x) (sqrt(|x| + e) - sqrt(e)), continuous and of finite slope at 0.

Not in the paper, and chosen here: hidden layers of gates a sixteenth as wide as what they are asked
of, the mean of a map before the layer that names values, root and length also where the fusion is
not bilinear, or none.

Shape letters: B images, K attributes asked of an image, D embedding, C channels of the attribute
branch's map V^a, E of the landmark branch's V^l, G positions of a side of the grid, H W of a map, L
values of all attributes that list theirs, T blocks of the hourglass, M landmarks.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from components.errors import HemlineError
from components.models.backbones import Backbone
from components.models.bilinear import (
    Bilinear,
    ChannelWise,
    CompactBilinear,
    Concatenation,
    Fusion,
)
from components.models.hourglass import StackedHourglass, maxima
from components.models.network import FeatureNetwork, feature_norm, unit_length

_REDUCTION = 16  # of SE networks
_MOST_WEIGHTS = 100_000_000  # of the layer that follows a full bilinear product
_EPSILON = 1e-6  # of the signed square root


class CoAttention(nn.Module):
    """Which channels of each branch count (Eq. 3-6): gates in (0, 1), asked of the mean of both.

    Where it is not `joint`, each branch is asked of its own mean alone.
    """

    def __init__(self, channels: int, others: int, *, joint: bool) -> None:
        super().__init__()
        self._joint = joint
        both = channels + others
        self.of_first = _gate(both if joint else channels, channels)
        self.of_second = _gate(both if joint else others, others)

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weights of the channels [B, C, 1, 1] and [B, E, 1, 1]."""
        first_BC, second_BE = first_BCHW.mean(dim=(2, 3)), second_BEHW.mean(dim=(2, 3))  # Eq. 3-4
        if self._joint:
            first_BC = second_BE = torch.cat([first_BC, second_BE], dim=1)
        alpha_BC, alpha_BE = self.of_first(first_BC), self.of_second(second_BE)  # Eq. 5-6
        return alpha_BC[:, :, None, None], alpha_BE[:, :, None, None]


class AHBN(FeatureNetwork):
    """Attributes and landmarks, learned beside the embedding, and their products.

    `num_values` are the values of each attribute, 0 of one that does not list them;
    `normalise_features` is BatchNorm on V^a. The switches:

    - branches: both, or one alone, whose mean is the descriptor;
    - attribute_supervision, landmark_supervision: false leaves out what names values, or finds
      landmarks;
    - fusion: how the two maps become one vector;
    - co_attention: gates that know both branches, or their own alone, or none;
    - grid_size: G;
    - landmark_maps: V^l is the hourglass's features, or the heat maps that it makes of them.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_values: Sequence[int],
        num_landmarks: int,
        embedding_dim: int,
        normalise_features: bool,
        bilinear_dim: int,
        landmark_channels: int,
        branches: str,
        attribute_supervision: bool,
        landmark_supervision: bool,
        fusion: str,
        co_attention: str,
        grid_size: int,
        landmark_maps: str,
        num_hourglasses: int,
    ) -> None:
        super().__init__()
        self.backbone = self.hourglass = self.values = None
        if branches != "landmark":
            self.backbone = backbone
            self.norm = feature_norm(backbone.last_channels, normalise_features=normalise_features)
            if attribute_supervision:
                self.values = _value_head(backbone.last_channels, sum(num_values))
        if branches != "attribute":
            self.hourglass = StackedHourglass(
                landmark_channels,
                num_blocks=num_hourglasses,
                num_landmarks=_marked(num_landmarks) if landmark_supervision else 0,
            )
        self._takes_heat_maps = landmark_maps == "heat_maps"
        others = num_landmarks if self._takes_heat_maps else landmark_channels
        width = others if branches == "landmark" else backbone.last_channels
        self.co_attention = self.fusion = None
        if branches == "both":
            if co_attention != "none":
                self.co_attention = CoAttention(width, others, joint=co_attention == "joint")
            self.fusion = _fusion(fusion, width, others, bilinear_dim=bilinear_dim)
            width = self.fusion.width
            if fusion == "bilinear":
                _check_size(width, embedding_dim)
        self._grid_size = grid_size
        self.linear = nn.Linear(width, embedding_dim)

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns one vector per image [B, D], of any length."""
        return self._describe(*self._look(images_B3HW)[:2])

    def embed(self, features_BD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the image's vector for each attribute [B, K, D]."""
        return features_BD[:, None].expand(-1, attributes_BK.shape[1], -1)

    def forward_branches(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the embeddings [B, K, D], and what the branches are supervised by.

        `values`: logits [B, L], the values of one attribute after those of another. `landmarks`:
        heat maps [B, T, M, H, W].
        """
        first, second, heat_maps = self._look(images_B3HW)
        outputs = {}
        if self.values is not None and first is not None:
            outputs["values"] = self.values(first.mean(dim=(2, 3)))
        if heat_maps:
            outputs["landmarks"] = torch.stack(heat_maps, dim=1)
        embedded_BKD = self.embed(self._describe(first, second), attributes_BK)
        return unit_length(embedded_BKD), outputs

    def find_landmarks(self, images_B3HW: Tensor) -> Tensor | None:
        """Returns where the last block's heat maps are highest [B, M, 2].

        x and y are shares of the image's sides; None of a network that finds no landmarks.
        """
        if self.hourglass is None or not self.hourglass.heads:
            return None
        return maxima(self.hourglass(images_B3HW)[1][-1])

    def for_inference(self) -> "AHBN":
        """Returns a copy without what only training needs."""
        network = deepcopy(self)
        network.values = None
        if network.hourglass is not None and not self._takes_heat_maps:
            network.hourglass.drop_last_head()
        return network

    def _look(self, images_B3HW: Tensor) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Returns V^a [B, C, H, W], V^l [B, E, H, W], and all heat maps T x [B, M, H, W]."""
        first = second = None
        heat_maps: list[Tensor] = []
        if self.backbone is not None:
            first = self.norm(self.backbone.last_stage(self.backbone(images_B3HW)[1]))
        if self.hourglass is not None:
            second, heat_maps = self.hourglass(images_B3HW)
            if self._takes_heat_maps:
                second = heat_maps[-1]
        return first, second, heat_maps

    def _describe(self, first: Tensor | None, second: Tensor | None) -> Tensor:
        """Returns f of one branch's map, or of both [B, D].

        What weighs a channel weighs its mean as well, so that maps are made small first.
        """
        if first is not None and second is not None and self.fusion is not None:
            small = [_resample(each, self._grid_size) for each in (first, second)]
            if self.co_attention is not None:
                weights = self.co_attention(first, second)
                small = [each * alpha for each, alpha in zip(small, weights, strict=True)]
            pooled = self.fusion(*small)  # Eq. 7-11
        else:
            alone = second if first is None else first
            assert alone is not None, "a network has a branch"
            pooled = alone.mean(dim=(2, 3))
        return self.linear(unit_length(signed_root(pooled)))


def signed_root(vectors: Tensor) -> Tensor:
    """Returns the square root of every number's size, with its sign.

    x / (sqrt(|x| + e) + sqrt(e)) is sign(x) (sqrt(|x| + e) - sqrt(e)), with a slope at 0 as well.
    """
    return vectors / ((vectors.abs() + _EPSILON).sqrt() + _EPSILON**0.5)


def _resample(map_BCHW: Tensor, grid_size: int) -> Tensor:
    """Returns means of a map over a grid [B, C, G, G], interpolated first where it has fewer."""
    height, width = (max(side, grid_size) for side in map_BCHW.shape[2:])
    if map_BCHW.shape[2:] != (height, width):
        map_BCHW = interpolate(map_BCHW, size=(height, width), mode="bilinear")
    return adaptive_avg_pool2d(map_BCHW, grid_size)


def _gate(num_inputs: int, channels: int) -> nn.Module:
    """Returns sigmoid(W2 relu(W1 x))."""
    hidden = max(num_inputs // _REDUCTION, 1)
    return nn.Sequential(
        nn.Linear(num_inputs, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
    )


def _fusion(name: str, channels: int, others: int, *, bilinear_dim: int) -> Fusion:
    if name == "compact_bilinear":
        return CompactBilinear(channels, others, dim=bilinear_dim)
    if name == "bilinear":
        return Bilinear(channels, others)
    if name == "concatenation":
        return Concatenation(channels, others)
    return ChannelWise(channels, others, multiplies=name == "product")


def _value_head(channels: int, num_values: int) -> nn.Linear:
    """Returns what names values; HemlineError where there are none."""
    if not num_values:
        raise HemlineError(
            "model.attribute_supervision names values of attributes, and the data set has none but "
            "items: false"
        )
    return nn.Linear(channels, num_values)


def _marked(num_landmarks: int) -> int:
    """Returns the number of landmarks; HemlineError where there are none."""
    if not num_landmarks:
        raise HemlineError(
            "model.landmark_supervision needs landmarks, and the data set marks none in its "
            "images: false, or model.branches attribute"
        )
    return num_landmarks


def _check_size(num_products: int, embedding_dim: int) -> None:
    """Raises a HemlineError where the layer after all products would be too large."""
    num_weights = num_products * embedding_dim
    if num_weights > _MOST_WEIGHTS:
        raise HemlineError(
            f"model.fusion bilinear: {num_products} products times model.embedding_dim "
            f"{embedding_dim} are {num_weights / 1e6:.0f} million weights, more than "
            f"{_MOST_WEIGHTS / 1e6:.0f} million: a lower embedding_dim or landmark_channels, or "
            "fusion compact_bilinear"
        )
