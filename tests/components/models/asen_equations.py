"""ASEN as its paper prints it (Eq. 1-8), its second version, and AttnFashion as it is inferred.

`paper_equations` says how they are read. `parts` are the switches of the ablations.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from paper_equations import (
    at_every_position,
    average,
    embedded,
    linear,
    normalised,
    softmax,
    transformed,
    unit_length,
    vectors,
)
from torch import Tensor

from components.models.asen import (
    ASEN,
    ASENV2,
    AttributeAwareSpatialAttention,
    OneBranchNetwork,
    ScaledSpatialAttention,
)
from components.models.attn_fashion import (
    AttnFashion,
    GuidedChannelAttention,
    GuidedSpatialAttention,
)

Parts = Mapping[str, Any]


def features(network: OneBranchNetwork, image_3HW: Tensor, parts: Parts) -> Tensor:
    """I, the third stage's map [C, H, W]."""
    _, third = network.backbone(image_3HW[None])  # torchvision's own
    if parts["normalise_features"]:  # not in the paper
        return at_every_position(lambda vector: normalised(network.norm, vector), third[0])
    return third[0]


def attended(image_CHW: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Eq. 4: the sum of the vectors, weighted by the softmax of their scores [C]."""
    weights = softmax([score(vector) for vector in vectors(image_CHW)])
    return sum(w * vector for w, vector in zip(weights, vectors(image_CHW), strict=True))


def gated(gate: torch.nn.Sequential, encoded: Tensor, vector_C: Tensor) -> Tensor:
    """Eq. 6 and 7 [C]."""
    hidden = torch.relu(linear(gate[0], torch.cat([encoded, vector_C])))
    return vector_C * torch.sigmoid(linear(gate[2], hidden))


def asen_score(asa: AttributeAwareSpatialAttention, vector_C: Tensor, attribute: int) -> Tensor:
    """Eq. 1-3: s at one position, before its softmax."""
    image_E = torch.tanh(linear(asa.project, vector_C))  # Eq. 1
    attribute_E = torch.tanh(embedded(asa.embedding, attribute))  # Eq. 2
    return torch.tanh(linear(asa.score, attribute_E * image_E))[0]


def asen(network: ASEN, image_CHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """Eq. 1-8: f(I, a) [D], of unit length."""
    if parts["asa"]:
        vector_C = attended(image_CHW, lambda v: asen_score(network.asa, v, attribute))
    else:
        vector_C = average(image_CHW)
    if parts["aca"] == "concatenation":
        encoded = torch.relu(embedded(network.aca.encode[0], attribute))  # Eq. 5
        vector_C = gated(network.aca.gate, encoded, vector_C)
    return unit_length(linear(network.last, vector_C))  # Eq. 8


def asen_v2_score(asa: ScaledSpatialAttention, vector_C: Tensor, attribute: int) -> Tensor:
    """The scaled dot product of tanh(BN(conv(I))) and tanh(W a) at one position."""
    image_E = torch.tanh(normalised(asa.project[1], linear(asa.project[0], vector_C)))
    attribute_E = torch.tanh(transformed(asa.encode, attribute))
    return (image_E * attribute_E).sum() / len(attribute_E) ** 0.5


def asen_v2(network: ASENV2, image_CHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """The second version: f(I, a) [C], of unit length; no layer follows ACA."""
    if parts["asa"]:
        vector_C = attended(image_CHW, lambda v: asen_v2_score(network.asa, v, attribute))
    else:
        vector_C = average(image_CHW)
    if parts["aca"] == "concatenation":
        encoded = torch.relu(transformed(network.aca.encode, attribute))
        vector_C = gated(network.aca.gate, encoded, vector_C)
    return unit_length(vector_C)


def attn_fashion_score(asa: GuidedSpatialAttention, vector_C: Tensor, attribute: int) -> Tensor:
    """The scaled dot product of ReLU(conv(I)) and ReLU(W a) at one position."""
    image_E = torch.relu(linear(asa.project, vector_C))
    attribute_E = torch.relu(transformed(asa.encode, attribute))
    return (image_E * attribute_E).sum() / len(attribute_E) ** 0.5


def guided_channels(aca: GuidedChannelAttention, vector_C: Tensor, attribute: int) -> Tensor:
    """Weights g(v * ReLU(W a)) times v, g squeeze and excite [C]."""
    first, last = aca.attention.gate[0], aca.attention.gate[2]
    squeezed = linear(first, vector_C * torch.relu(transformed(aca.encode, attribute)))
    hidden = torch.where(squeezed > 0, squeezed, 0.01 * squeezed)
    return vector_C * torch.sigmoid(linear(last, hidden))


def attn_fashion(network: AttnFashion, image_CHW: Tensor, attribute: int, parts: Parts) -> Tensor:
    """f(I, a) [D], of unit length."""
    if parts["asa"]:
        vector_C = attended(image_CHW, lambda v: attn_fashion_score(network.asa, v, attribute))
    else:
        vector_C = average(image_CHW)
    if parts["aca"] == "multiplication":
        vector_C = guided_channels(network.aca, vector_C, attribute)
    return unit_length(linear(network.last, vector_C))
