"""FashionSearchNet-v2: where each attribute shows, without boxes to learn from, and what is there.

Source: FashionSearchNet-v2: Learning Attribute Representations with Localization for Image
Retrieval with Attribute Manipulation, Ak et al., sections 3.1 and 3.2, Eq. 1-3; section 3.3 is in
`manipulation.py`. A classifier of values on pooled features gives an activation map for each
attribute; the box of the map's largest region cuts features out for the attribute's own branch.
Departures:

- trunk: the backbone's third stage, on which conv5, conv6 and conv7 stand, new as in the paper.
  With `alexnet` that is the paper's, whose trunk ends at conv4;
- Eq. 1's sum over positions is a mean; boxes are those of a positive map, so that they stay;
- a map with no positive cell makes a box of the whole map, as does an attribute that does not list
  its values, whose items nothing classifies;
- fc10.a is brought to unit length, as every embedding here: the paper's are of any length.

Not in the paper, and chosen here: kernels of 3 x 3 with ReLU, cuts of 3 x 3 cells, branches of
three layers with D hidden units, regions that touch at corners too.

Shape letters: B images, K attributes asked of an image, N attributes of the schema, D embedding,
V values of the attribute that has most, C channels of a map, H W its positions.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from components.models.backbones import Backbone
from components.models.manipulation import GlobalRepresentation
from components.models.network import (
    AttentionNetwork,
    FeatureNetwork,
    feature_norm,
    unit_length,
)
from components.models.regions import crop_and_resize, largest_region_boxes

_CONV5_CHANNELS = 384
_THRESHOLD = 0.2  # of a map's maximum
_CUT_SIZE = 3
_DROPOUT = 0.5
_NO_VALUE = -1e9  # the logit of a value that an attribute has not: its probability is 0


class Branch(nn.Module):
    """fc8.a, fc9.a and fc10.a: from what was cut out to an attribute's representation."""

    def __init__(self, num_inputs: int, embedding_dim: int) -> None:
        super().__init__()
        self.fc8 = nn.Linear(num_inputs, embedding_dim)
        self.fc9 = nn.Linear(embedding_dim, embedding_dim)
        self.fc10 = nn.Linear(embedding_dim, embedding_dim)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, cut_BI: Tensor) -> Tensor:
        """Returns fc10.a [B, D]."""
        hidden_BD = self.dropout(self.fc8(cut_BI).relu())
        return self.fc10(self.dropout(self.fc9(hidden_BD).relu()))


class FashionSearchNetV2(FeatureNetwork, AttentionNetwork):
    """A box and a branch for each attribute.

    `num_values` are the values of each attribute, in the schema's order, 0 of one that does not
    list them; `attention_dim` is the width of conv6 and conv7, whose maps say where an attribute
    shows (the paper: 512), `normalise_features` BatchNorm in conv5, from which all that knows an
    attribute is fed; in conv6 and conv7 it would spread the activation maps over the background.
    The switches:

    - localisation: false takes the whole map for every attribute's box;
    - feature_fusion: true sets the whole map beside what was cut out;
    - memory: fixed keeps the memory of values as it was when the last stage began.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_values: Sequence[int],
        embedding_dim: int,
        attention_dim: int,
        normalise_features: bool,
        localisation: bool,
        feature_fusion: bool,
        memory: str,
    ) -> None:
        super().__init__()
        backbone.take_last_stage()
        self.backbone = backbone
        norm = feature_norm(_CONV5_CHANNELS, normalise_features=normalise_features)
        self.conv5 = nn.Sequential(
            _convolution(backbone.channels, _CONV5_CHANNELS), norm, nn.ReLU()
        )
        self.conv6 = nn.Sequential(_convolution(_CONV5_CHANNELS, attention_dim), nn.ReLU())
        self.conv7 = nn.Sequential(_convolution(attention_dim, attention_dim), nn.ReLU())
        num_inputs = _CONV5_CHANNELS * _CUT_SIZE**2 * (2 if feature_fusion else 1)
        self.branches = nn.ModuleList(Branch(num_inputs, embedding_dim) for _ in num_values)
        self.classifiers = nn.ModuleList(  # w_a of Eq. 2 and 3
            nn.Linear(attention_dim, values, bias=False) if values else nn.Identity()
            for values in num_values
        )
        self.branch_classifiers: nn.ModuleList | None = nn.ModuleList(
            nn.Linear(embedding_dim, values) if values else nn.Identity() for values in num_values
        )
        self.representation: GlobalRepresentation | None = GlobalRepresentation(
            num_values, embedding_dim
        )
        self.num_values = list(num_values)
        self.updates_memory = memory == "updated"
        self._localises = localisation
        self._fuses = feature_fusion

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Returns conv5, from which branches are fed [B, C, H, W]."""
        return self.conv5(self.backbone(images_B3HW)[1])

    def attend(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the activation maps of the attributes asked [B, K, H, W], 0 or above."""
        return _of_attributes(self._locate(features_BCHW)[0], attributes_BK)

    def embed(self, features_BCHW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns fc10.a of the attributes asked [B, K, D]."""
        maps_BNHW, _ = self._locate(features_BCHW)
        return _of_attributes(self._represent(features_BCHW, maps_BNHW), attributes_BK)

    def forward_with_maps(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what `forward` returns, and the maps that led to it [B, K, H, W]."""
        features_BCHW = self.features(images_B3HW)
        maps_BNHW, _ = self._locate(features_BCHW)
        vectors_BND = self._represent(features_BCHW, maps_BNHW)
        embeddings_BKD = unit_length(_of_attributes(vectors_BND, attributes_BK))
        return embeddings_BKD, _of_attributes(maps_BNHW, attributes_BK)

    def spatial_attention(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the activation maps of the attributes asked [B, K, H, W], 0 or above."""
        return self.attend(self.features(images_B3HW), attributes_BK)

    def boxes(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the box of each attribute asked [B, K, 4].

        Left, top, right and bottom as shares of the image's sides.
        """
        maps_BKHW = self.spatial_attention(images_B3HW, attributes_BK)
        height, width = maps_BKHW.shape[2:]
        boxes_BK4 = largest_region_boxes(maps_BKHW, threshold=_THRESHOLD)
        return boxes_BK4 / boxes_BK4.new_tensor([width, height, width, height])

    def forward_branches(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the embeddings [B, K, D], and the logits of the values [B, K, V] of each.

        `map_values` come from conv7, `branch_values` from fc10.a. Values beyond those of an
        attribute have the probability 0.
        """
        features_BCHW = self.features(images_B3HW)
        maps_BNHW, from_map = self._locate(features_BCHW)
        vectors_BND = self._represent(features_BCHW, maps_BNHW)
        embeddings_BKD = unit_length(_of_attributes(vectors_BND, attributes_BK))
        if self.branch_classifiers is None:
            return embeddings_BKD, {}
        from_branch = self._classify(self.branch_classifiers, vectors_BND.unbind(1))
        logits = {"map_values": from_map, "branch_values": from_branch}
        return embeddings_BKD, {
            name: _of_attributes(_side_by_side(of_values), attributes_BK)
            for name, of_values in logits.items()
        }

    def for_inference(self) -> "FashionSearchNetV2":
        """Returns a copy without what only training needs."""
        network = deepcopy(self)
        network.branch_classifiers = network.representation = None
        return network

    def prototypes(self) -> list[Tensor] | None:
        """Returns the memory's vectors of each attribute N x [V_a, D]; None before it has any."""
        return self.representation.prototypes() if self.representation else None

    def _locate(self, features_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the activation map of each attribute [B, N, H, W], and logits N x [B, V_a].

        A map is that of the value with the highest logit; what speaks against it counts as 0. Where
        nothing speaks for it, and without localisation, all positions are 1.
        """
        conv7_BCHW = self.conv7(self.conv6(features_BCHW))
        pooled_BC = conv7_BCHW.mean(dim=(2, 3))  # Eq. 1
        logits = self._classify(self.classifiers, [pooled_BC] * len(self.num_values))  # Eq. 2
        weights_BNC = torch.stack(
            [
                nn.functional.embedding(
                    logits_BV.argmax(dim=-1), classifier.get_parameter("weight")
                )
                if logits_BV.shape[1]
                else torch.zeros_like(pooled_BC)
                for logits_BV, classifier in zip(logits, self.classifiers, strict=True)
            ],
            dim=1,
        )
        maps_BNHW = torch.einsum("bnc,bchw->bnhw", weights_BNC, conv7_BCHW).relu()  # Eq. 3
        is_blank = maps_BNHW.amax(dim=(2, 3), keepdim=True) <= 0
        if not self._localises:
            is_blank = torch.ones_like(is_blank)
        return torch.where(is_blank, torch.ones_like(maps_BNHW), maps_BNHW), logits

    def _classify(self, classifiers: nn.ModuleList, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Returns the logits of each attribute's input N x [B, V_a]."""
        each = zip(classifiers, inputs, self.num_values, strict=True)
        return [
            classifier(vectors_BI) if values else vectors_BI[:, :0]
            for classifier, vectors_BI, values in each
        ]

    def _represent(self, features_BCHW: Tensor, maps_BNHW: Tensor) -> Tensor:
        """Returns fc10.a of every attribute [B, N, D]."""
        boxes_BN4 = largest_region_boxes(maps_BNHW, threshold=_THRESHOLD)
        cuts = crop_and_resize(features_BCHW, boxes_BN4, size=_CUT_SIZE)
        if self._fuses:
            height, width = features_BCHW.shape[2:]
            whole_BN4 = torch.zeros_like(boxes_BN4) + boxes_BN4.new_tensor([0, 0, width, height])
            whole = crop_and_resize(features_BCHW, whole_BN4[:, :1], size=_CUT_SIZE)
            cuts = torch.cat([cuts, whole.expand_as(cuts)], dim=2)
        inputs = zip(self.branches, cuts.flatten(2).unbind(1), strict=True)
        return torch.stack([branch(cut_BI) for branch, cut_BI in inputs], dim=1)


def _convolution(channels: int, filters: int) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, kernel_size=3, padding=1)


def _of_attributes(everything: Tensor, attributes_BK: Tensor) -> Tensor:
    """Returns of what is there for every attribute [B, N, ...] that of those asked [B, K, ...]."""
    index = attributes_BK.view(*attributes_BK.shape, *[1] * (everything.ndim - 2))
    return everything.gather(1, index.expand(-1, -1, *everything.shape[2:]))


def _side_by_side(logits: list[Tensor]) -> Tensor:
    """Returns logits N x [B, V_a] as one tensor [B, N, V]."""
    most = max(logits_BV.shape[1] for logits_BV in logits)
    pad = nn.functional.pad
    return torch.stack([pad(x, (0, most - x.shape[1]), value=_NO_VALUE) for x in logits], dim=1)
