"""AG-MAN and AG-MLAN as their papers print them; `paper_equations` says how they are read.

`parts` are the switches of the ablations, under the names that params give them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from paper_equations import (
    at_every_position,
    average,
    from_vectors,
    linear,
    masked,
    normalised,
    positions,
    softmax,
    transformed,
    unit_length,
    vectors,
)
from torch import Tensor, nn

from components.models import attention
from components.models.ag_man import AGMAN, AGMLAN, HierarchicalFeature

Parts = Mapping[str, Any]


def encoded_attribute(encoder: attention.AttributeEncoder, attribute: int) -> Tensor:
    """Eq. 2 and 5: sigma(W a) * W a."""
    return torch.sigmoid(transformed(encoder, attribute)) * transformed(encoder, attribute)


def attribute_guided_spatial_attention(
    module: attention.AttributeGuidedSpatialAttention, image_CHW: Tensor, attribute: int
) -> Tensor:
    """Eq. 1-3: the attended map [C, H, W]."""
    convolution, norm = module.project[0], module.project[1]
    attribute_E = encoded_attribute(module.encode, attribute)
    scores = []
    for vector_C in vectors(image_CHW):
        image_E = torch.tanh(normalised(norm, linear(convolution, vector_C)))  # Eq. 1
        scores.append((image_E * attribute_E).sum() / len(attribute_E) ** 0.5)
    attended = [
        vector_C * module.scale * weight
        for vector_C, weight in zip(vectors(image_CHW), softmax(scores), strict=True)
    ]
    return from_vectors(attended, image_CHW)


def spatial_attention(module: attention.SpatialAttention, attended_CHW: Tensor) -> Tensor:
    """Eq. 4: the attended map, weighted again [C, H, W]."""
    size = module.conv.kernel_size[0]
    pooled = torch.stack([attended_CHW.mean(dim=0), attended_CHW.amax(dim=0)])
    padded = nn.functional.pad(pooled, [size // 2] * 4)
    weighted = [
        attended_CHW[:, y, x]
        * torch.sigmoid(
            (module.conv.weight[0] * padded[:, y : y + size, x : x + size]).sum()
            + module.conv.bias[0]
        )
        for y, x in positions(attended_CHW)
    ]
    return from_vectors(weighted, attended_CHW)


def attribute_guided_channel_attention(
    module: attention.AttributeGuidedChannelAttention,
    vector_C: Tensor,
    attribute: int,
    *,
    fusion: str,
) -> Tensor:
    """Eq. 5-6 of AG-MAN (addition) and of AG-MLAN (concatenation) [C]."""
    encoded = encoded_attribute(module.encode, attribute)  # Eq. 5
    fused = {
        "addition": lambda: encoded + vector_C,
        "concatenation": lambda: torch.cat([encoded, vector_C]),
    }[fusion]()
    hidden = torch.relu(linear(module.gate[0], fused))
    weights = torch.sigmoid(linear(module.gate[2], hidden))  # Eq. 6a
    return vector_C * module.scale * weights  # Eq. 6b


def channel_attention(module: attention.ChannelAttention, vector_C: Tensor) -> Tensor:
    """Fig. 3d: squeeze, LeakyReLU, expand, sigmoid, multiply [C]."""
    squeezed = linear(module.gate[0], vector_C)
    hidden = torch.where(squeezed > 0, squeezed, 0.01 * squeezed)
    return vector_C * torch.sigmoid(linear(module.gate[2], hidden))


def hierarchical_feature(module: HierarchicalFeature, mid: Tensor, features_CHW: Tensor) -> Tensor:
    """Section 2.2: F23 = F3 + projected F2 at half the resolution (3x3 maximum, stride 2)."""
    padded = nn.functional.pad(mid, [1] * 4, value=-torch.inf)
    added = [
        features_CHW[:, y, x]
        + linear(
            module.project, padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].flatten(1).amax(dim=1)
        )
        for y, x in positions(features_CHW)
    ]
    return from_vectors(added, features_CHW)


def branch_inputs(network: AGMAN, image_3HW: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
    """Section 2.2: the map of branch 2 before it is reduced, and that of branch 1."""
    mid, third = (stage[0] for stage in network.backbone(image_3HW[None]))  # torchvision's own
    if not parts["hierarchical"]:
        return third, third
    hierarchical = hierarchical_feature(network.hierarchy, mid, third)
    return torch.cat([hierarchical, third]), hierarchical


def features(network: AGMAN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """Section 2.2: f(I), the map that branch 2 attends to [D, H, W]."""
    fused, _ = branch_inputs(network, image_3HW, parts)
    convolution, norm = network.reduce
    reduced = at_every_position(lambda vector: linear(convolution, vector), fused)
    if parts["normalise_features"]:  # not in the paper
        reduced = at_every_position(lambda vector: normalised(norm, vector), reduced)
    return reduced


def attended_map(network: AGMAN, features_DHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """Eq. 1-4: the map after both spatial attentions [D, H, W]."""
    attended = features_DHW / len(positions(features_DHW))
    if parts["asa"]:
        attended = attribute_guided_spatial_attention(network.asa, features_DHW, attribute)
    return spatial_attention(network.sa, attended) if parts["sa"] else attended


def attended_vector(network: AGMAN, features_DHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """Section 2.3 up to ACA [D]."""
    vector_D = sum(vectors(attended_map(network, features_DHW, attribute, parts)))
    if parts["aca"] == "none":
        return vector_D
    return attribute_guided_channel_attention(network.aca, vector_D, attribute, fusion=parts["aca"])


def ag_man(network: AGMAN, features_DHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """Section 2.3: f(I, a) [D], of unit length."""
    vector_D = attended_vector(network, features_DHW, attribute, parts)
    return unit_length(channel_attention(network.ca, vector_D) if parts["ca"] else vector_D)


def ag_mlan(network: AGMLAN, features_DHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """Sections 3.3 and 3.4: f(I, a) [D], of unit length."""
    vector_D = attended_vector(network, features_DHW, attribute, parts)
    return unit_length(masked(vector_D, network.masks.beta, attribute))


def attribute_logits(network: AGMAN, image_3HW: Tensor, parts: Parts) -> Tensor:
    """Section 2.2: branch 1, fourth stage, average over positions, FC layer [N]."""
    _, hierarchical = branch_inputs(network, image_3HW, parts)
    last = network.classifier.last_stage(hierarchical[None])[0]
    return linear(network.classifier.linear, average(last))
